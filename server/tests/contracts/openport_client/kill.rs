//! Sessions that are ended for good (sections 5 and 7).

use serde_json::json;

use crate::bed::{Bed, public_key};
use crate::openport_client::client::{granted, post, refused, string};

const KILL: &str = "/api/v1/kill-session";

pub(crate) async fn a_killed_session_is_refused_until_a_person_restarts_it(bed: &Bed) {
    let key = public_key();
    let first = granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    let (port, token) = (
        first["server_port"].to_string(),
        string(&first, "session_token"),
    );
    let pair = [("port", port.as_str()), ("session_token", &token)];
    let restart = |automatic| {
        vec![
            ("public_key", key.as_str()),
            ("request_port", &port),
            ("restart_session_token", &token),
            ("automatic_restart", automatic),
        ]
    };
    for path in [KILL, "/api/v1/kill-session/"] {
        let killed = post(bed, path, &pair).await;
        assert_eq!(
            (killed.status, killed.json()),
            (200, json!({"status": "ok"}))
        );
    }
    let text = ("Session killed".to_owned(), true);
    assert_eq!(refused(bed, &restart("true")).await, text);
    assert_eq!(refused(bed, &restart("true")).await, text, "it stays so");
    assert_eq!(
        granted(bed, &restart("false")).await,
        first,
        "the mark is off"
    );
    assert_eq!(granted(bed, &restart("true")).await, first);
    let events = bed
        .registry
        .events(moorline_server::registry::model::EventFilter {
            kind: Some("device.session.killed".into()),
            limit: 1,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(events[0].metadata["port"], first["server_port"]);
}

pub(crate) async fn what_does_not_match_is_404(bed: &Bed) {
    let (one, other) = (public_key(), public_key());
    let one = granted(bed, &[("public_key", &one)]).await;
    let other = granted(bed, &[("public_key", &other)]).await;
    let port = one["server_port"].to_string();
    let (own, theirs) = (
        string(&one, "session_token"),
        string(&other, "session_token"),
    );
    for pairs in [
        vec![],
        vec![("port", port.as_str())],
        vec![("session_token", own.as_str())],
        vec![("port", "1"), ("session_token", &own)],
        vec![("port", &port), ("session_token", &theirs)],
        vec![("port", &port), ("session_token", "")],
    ] {
        let reply = post(bed, KILL, &pairs).await;
        assert_eq!(reply.status, 404, "{pairs:?}");
        assert_eq!(reply.json(), json!({"error": "No session found"}));
    }
    // The token of forward tunnels ends no session.
    let key = crate::openport_client::client::registered(bed, "both ways").await;
    let reverse = granted(bed, &[("public_key", &key)]).await;
    let port = reverse["server_port"].to_string();
    let wish = [
        ("public_key", key.as_str()),
        ("request_port", &port),
        ("forward_tunnel", "true"),
    ];
    let forward = granted(bed, &wish).await;
    let token = string(&forward, "session_token");
    assert_ne!(token, string(&reverse, "session_token"));
    let reply = post(bed, KILL, &[("port", &port), ("session_token", &token)]).await;
    assert_eq!(reply.status, 404);
}
