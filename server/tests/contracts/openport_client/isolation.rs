//! Forward tunnels end at the account (section 6).

use serde_json::json;

use crate::bed::{Bed, public_key};
use crate::openport_client::client::{granted, link, number, refused, registered, string};

pub(crate) async fn forward_tunnels_stay_in_their_account(bed: &Bed) {
    let (target, caller) = (
        registered(bed, "target").await,
        registered(bed, "caller").await,
    );
    let session = granted(bed, &[("public_key", &target), ("local_port", "5900")]).await;
    let port = session["server_port"].to_string();
    let wish = |key| {
        vec![
            ("public_key", key),
            ("request_port", port.as_str()),
            ("local_port", "15900"),
            ("forward_tunnel", "true"),
        ]
    };
    let way = granted(bed, &wish(&caller)).await;
    assert_eq!(number(&way, "server_port"), number(&session, "server_port"));
    assert_eq!(way["server_ip"], session["server_ip"]);
    assert_eq!(way["account_id"], bed.account.0);
    assert_ne!(way["key_id"], session["key_id"], "that of the caller");
    for name in ["open_port_for_ip_link", "http_forward_address"] {
        assert_eq!(way[name], json!(null));
    }
    assert_eq!(
        string(&way, "message"),
        "You are now connected. You can access the remote pc's port 5900 on localhost:15900"
    );
    assert_eq!(string(&way, "session_token").len(), 16);
    assert_eq!(
        granted(bed, &wish(&caller)).await,
        way,
        "any number of them"
    );
    let device = crate::openport_client::client::device(bed, &caller).await;
    assert!(device.forwards.is_empty(), "no port is taken for it");
    for (server, there) in [("127.0.0.1", true), ("local", true), ("elsewhere", false)] {
        let pairs = [wish(&caller), vec![("request_server", server)]].concat();
        let json = crate::openport_client::client::ask(bed, &pairs).await;
        assert_eq!(json.get("error").is_none(), there, "{server}");
    }

    let text = (format!("No session found for port {port}"), false);
    let stranger = public_key();
    assert_eq!(refused(bed, &wish(&stranger)).await, text, "never seen");
    granted(bed, &[("public_key", &stranger)]).await;
    assert_eq!(refused(bed, &wish(&stranger)).await, text, "unregistered");
    let other = bed.registry.create_account("neighbours").await.unwrap().id;
    let token = bed.registry.binding_token(other).await.unwrap().unwrap();
    let pairs = [
        ("public_key", stranger.as_str()),
        ("key_binding_token", token.expose()),
    ];
    crate::openport_client::client::post(bed, "/linkKey", &pairs).await;
    assert_eq!(
        refused(bed, &wish(&stranger)).await,
        text,
        "another account"
    );
    let nowhere = [
        ("public_key", caller.as_str()),
        ("forward_tunnel", "true"),
        ("request_port", "1"),
    ];
    let text = ("No session found for port 1".to_owned(), false);
    assert_eq!(refused(bed, &nowhere).await, text);
    link(bed, &stranger, "").await;
    granted(bed, &wish(&stranger)).await;
}

pub(crate) async fn unregistered_keys_reach_only_themselves(bed: &Bed) {
    let (one, other) = (public_key(), public_key());
    let session = granted(bed, &[("public_key", &one)]).await;
    granted(bed, &[("public_key", &other)]).await;
    let port = session["server_port"].to_string();
    let wish = |key| {
        vec![
            ("public_key", key),
            ("request_port", port.as_str()),
            ("forward_tunnel", "true"),
        ]
    };
    granted(bed, &wish(&one)).await;
    let text = (format!("No session found for port {port}"), false);
    assert_eq!(refused(bed, &wish(&other)).await, text);
}
