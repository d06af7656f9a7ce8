//! Keys that nobody has registered (section 4).

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::model::{AccountId, EventFilter};

use crate::bed::{Bed, KeyWish, public_key};
use crate::openport_client::client::{device, granted, link, refused, string};

pub(crate) async fn a_new_key_is_served_and_known_again(bed: &Bed) {
    let key = public_key();
    let first = granted(bed, &[("public_key", &key), ("platform", "linux")]).await;
    assert_eq!(first["account_id"], 0);
    let again = granted(bed, &[("public_key", &key)]).await;
    assert_eq!(again["key_id"], first["key_id"]);
    let found = device(bed, &key).await;
    assert_eq!(found.name, format!("key{}", found.number));
    assert_eq!((found.account, found.forwards.len()), (AccountId(0), 2));
    assert!(found.ip_link_protection && found.max_connections_per_minute == 10);
    // Two requests at once make one device.
    let other = public_key();
    let wish = [("public_key", other.as_str())];
    let (one, two) = tokio::join!(granted(bed, &wish), granted(bed, &wish));
    assert_eq!(one["key_id"], two["key_id"]);
    assert_ne!(one["server_port"], two["server_port"]);
}

pub(crate) async fn create_new_client_adopts_a_key(bed: &Bed) {
    let key = public_key();
    let session = granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    let before = device(bed, &key).await;
    let limited = bed
        .make_key(KeyWish {
            limits: moorline_server::registry::model::KeyLimits {
                uses: Some(1),
                ..Default::default()
            },
            ..KeyWish::default()
        })
        .await;
    let wish = [
        ("api_key", limited.as_str()),
        ("prefix", "ada"),
        ("public_key", &key),
        ("username", "pi"),
    ];
    let made = bed.bare("create_new_client", &wish).await.json();
    assert_eq!(made["error_code"], 0, "{made}");
    assert_eq!(made["created"], false);
    assert_eq!(made["client_name"], "ada000001");
    assert_eq!(made["port"], session["server_port"]);
    assert_eq!(made["ports_id"], session["session_id"]);
    let after = device(bed, &key).await;
    assert_eq!((after.id, after.number), (before.id, before.number));
    assert_eq!(made["client_id"], after.id.to_string());
    assert_eq!(
        (after.account, after.username.as_deref()),
        (bed.account, Some("pi"))
    );
    assert_eq!(after.redirect_token, before.redirect_token);
    assert_eq!(after.forwards, before.forwards, "ports and links stay");
    // Its client goes on as before, now in the account.
    let token = string(&session, "session_token");
    let restart = [
        ("public_key", key.as_str()),
        ("restart_session_token", &token),
    ];
    let again = granted(bed, &restart).await;
    assert_eq!(again["session_id"], session["session_id"]);
    assert_eq!(again["account_id"], bed.account.0);
    // It is a device like any other: the same call finds it, another account is refused, the use is spent.
    let found = bed.bare("create_new_client", &wish).await.json();
    assert_eq!(
        (&found["client_id"], &found["created"]),
        (&made["client_id"], &made["created"])
    );
    let stranger = bed.registry.create_account("adopter").await.unwrap().id;
    let foreign = bed.key_of(stranger, KeyWish::default()).await;
    let wish = [("api_key", foreign.as_str()), ("public_key", &key)];
    let refused = bed.bare("create_new_client", &wish).await.verdict();
    assert_eq!(
        refused,
        (31, "Wrong data: public_key is already in use".into())
    );
    let another = public_key();
    granted(bed, &[("public_key", &another)]).await;
    let wish = [("api_key", limited.as_str()), ("public_key", &another)];
    assert_eq!(bed.bare("create_new_client", &wish).await.verdict().0, 32);
    assert_eq!(device(bed, &another).await.account, AccountId(0));
    for (account, kind) in [
        (AccountId(0), "device.unlinked"),
        (bed.account, "device.linked"),
    ] {
        let filter = EventFilter {
            account: Some(account),
            device: Some(after.id),
            kind: Some(kind.into()),
            limit: 10,
            ..EventFilter::default()
        };
        assert_eq!(
            bed.registry.events(filter).await.unwrap().len(),
            1,
            "{kind}"
        );
    }
}

pub(crate) async fn a_blocked_key_is_not_adopted(bed: &Bed) {
    let key = public_key();
    granted(bed, &[("public_key", &key)]).await;
    let before = device(bed, &key).await;
    for (state, code) in [(DeviceState::Blocked, 23), (DeviceState::Inactive, 24)] {
        bed.registry.set_state(before.id, state).await.unwrap();
        let wish = [("public_key", key.as_str()), ("prefix", "bar")];
        assert_eq!(bed.code("create_new_client", &wish).await, code);
        let after = device(bed, &key).await;
        assert_eq!((after.account, &after.name), (AccountId(0), &before.name));
    }
    // No serial number was used.
    let fresh = bed.create(&[("prefix", "bar")]).await;
    assert_eq!(fresh["client_name"], "bar000001");
}

pub(crate) async fn unregistered_keys_are_refused_where_that_is_set(bed: &Bed) {
    let key = public_key();
    let text = ("Key is not registered".to_owned(), false);
    assert_eq!(refused(bed, &[("public_key", &key)]).await, text);
    let forward = [
        ("public_key", key.as_str()),
        ("forward_tunnel", "true"),
        ("request_port", "20001"),
    ];
    assert_eq!(refused(bed, &forward).await, text);
    link(bed, &key, "").await;
    let json = granted(bed, &[("public_key", &key)]).await;
    assert_eq!(json["account_id"], bed.account.0);
}
