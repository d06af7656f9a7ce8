//! What nobody uses goes after 30 days (sections 4 and 5).

use moorline_server::registry::model::{PublicKey, Timestamp};

use crate::bed::{Bed, public_key};
use crate::openport_client::client::{device, granted, registered, string};

/// As far as the registry can tell, all that was done until now is longer ago than it is kept.
fn now() -> Timestamp {
    Timestamp(Timestamp::now().0 + 1)
}

pub(crate) async fn what_is_used_stays(bed: &Bed) {
    let (known, anonymous) = (registered(bed, "keeper").await, public_key());
    let begin = now();
    for key in [&known, &anonymous] {
        granted(bed, &[("public_key", key)]).await;
    }
    bed.registry.release_sessions(begin).await.unwrap();
    bed.registry.forget_anonymous(begin).await.unwrap();
    for key in [&known, &anonymous] {
        assert_eq!(device(bed, key).await.forwards.len(), 1);
    }
    // A tunnel that is up keeps its session, and the device with it.
    let held = device(bed, &anonymous).await;
    let later = now();
    let at = Timestamp(later.0 + 1);
    let used = [held.forwards[0].id];
    bed.registry.touch_sessions(&used, at).await.unwrap();
    bed.registry.release_sessions(later).await.unwrap();
    bed.registry.forget_anonymous(later).await.unwrap();
    assert_eq!(device(bed, &anonymous).await.forwards.len(), 1);
    assert!(device(bed, &known).await.forwards.is_empty());
}

pub(crate) async fn what_is_unused_goes(bed: &Bed) {
    let (known, anonymous, made) = (registered(bed, "idle").await, public_key(), public_key());
    let created = bed.create(&[("public_key", &made)]).await;
    let sessions = [
        granted(bed, &[("public_key", &known)]).await,
        granted(bed, &[("public_key", &anonymous)]).await,
        granted(bed, &[("public_key", &made)]).await,
    ];
    let gone = now();
    let released = bed.registry.release_sessions(gone).await.unwrap();
    assert!(released >= 3, "{released}");
    assert!(bed.registry.forget_anonymous(gone).await.unwrap() >= 1);
    assert!(device(bed, &known).await.forwards.is_empty());
    let first = device(bed, &made).await.forwards;
    assert_eq!((first.len(), first[0].first), (1, true));
    assert_eq!(created["ports_id"], first[0].id.0);
    let key = PublicKey::parse(&anonymous).unwrap();
    assert!(bed.registry.device_by_key(&key).await.unwrap().is_none());
    // Whoever comes back later gets another port.
    for (key, session) in [&known, &anonymous, &made].into_iter().zip(&sessions) {
        let port = session["server_port"].to_string();
        let token = string(session, "session_token");
        let wish = [
            ("public_key", key.as_str()),
            ("request_port", &port),
            ("restart_session_token", &token),
        ];
        let again = granted(bed, &wish).await;
        assert_ne!(again["server_port"], session["server_port"]);
    }
}
