//! Who gets no port (section 5).

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::model::Wanted;

use crate::bed::{Bed, public_key};
use crate::http;
use crate::openport_client::client::{FORM, device, form, granted, refused, registered};

pub(crate) async fn states_refuse_and_heal(bed: &Bed) {
    let key = registered(bed, "states").await;
    let pairs = [("public_key", key.as_str())];
    let first = granted(bed, &pairs).await;
    let id = device(bed, &key).await.id;
    let token = first["session_token"].as_str().unwrap();
    let port = first["server_port"].to_string();
    let restart = [
        ("public_key", key.as_str()),
        ("request_port", &port),
        ("restart_session_token", token),
        ("automatic_restart", "true"),
    ];
    let forward = [
        ("public_key", key.as_str()),
        ("request_port", &port),
        ("forward_tunnel", "true"),
    ];
    for (state, text) in [
        (DeviceState::Blocked, "Client blocked"),
        (DeviceState::Inactive, "Client inactive"),
    ] {
        assert!(bed.registry.set_state(id, state).await.unwrap());
        for wish in [&pairs[..], &restart, &forward] {
            assert_eq!(refused(bed, wish).await, (text.to_owned(), false));
        }
        assert!(
            bed.registry
                .set_state(id, DeviceState::Active)
                .await
                .unwrap()
        );
        assert_eq!(granted(bed, &restart).await, first);
    }
    assert!(bed.registry.set_wanted(id, Wanted::Closed).await.unwrap());
    let text = "Client disconnected by the operator".to_owned();
    assert_eq!(refused(bed, &pairs).await, (text, false));
    assert!(bed.registry.set_wanted(id, Wanted::Open).await.unwrap());
    assert_eq!(granted(bed, &restart).await, first);

    let suspend = async |suspended| {
        let done = bed.registry.suspend_account(bed.account, suspended).await;
        assert!(done.unwrap());
    };
    suspend(true).await;
    let text = "Account is inactive".to_owned();
    assert_eq!(refused(bed, &restart).await, (text, false));
    suspend(false).await;
    assert_eq!(granted(bed, &restart).await, first);
    assert_eq!(
        device(bed, &key).await.forwards.len(),
        1,
        "nothing was made"
    );
}

pub(crate) async fn requests_are_limited_per_key(bed: &Bed) {
    let key = registered(bed, "eager").await;
    let body = form(&[("public_key", &key), ("forward_tunnel", "true")]);
    let ask = async || {
        let path = "/api/v1/request-port";
        http::send(bed.http, bed.from, "POST", path, FORM, body.as_bytes()).await
    };
    let mut served = 0;
    let limited = loop {
        let reply = ask().await;
        if reply.status != 200 {
            break reply;
        }
        served += 1;
        assert!(served < 100, "there is no limit");
    };
    // The budget fills again by one a second.
    assert!(served >= 60, "{served}");
    assert_eq!(limited.status, 429);
    assert_eq!(limited.body, r#"{"error":"Too many requests"}"#);
    assert!(limited.header("retry-after").is_some());
    granted(bed, &[("public_key", &public_key())]).await;
}

pub(crate) async fn requests_are_limited_per_address(bed: &Bed) {
    // Many at once: the budget fills again by ten a second.
    let burst = async |path| {
        let ask = |_| http::send(bed.http, bed.from, "POST", path, FORM, b"");
        futures::future::join_all((0..64).map(ask)).await
    };
    let mut served = 0;
    loop {
        let replies = burst("/api/v1/kill-session").await;
        let through = replies.iter().filter(|reply| reply.status == 404).count();
        served += through;
        if through < replies.len() {
            break;
        }
        assert!(served < 6000, "there is no limit");
    }
    assert!(served >= 600, "{served}");
    let replies = burst("/api/v1/request-port").await;
    let limited: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(!limited.is_empty());
    for reply in limited {
        assert_eq!(reply.body, r#"{"error":"Too many requests"}"#);
    }
}
