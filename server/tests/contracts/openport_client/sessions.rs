//! Which session a client gets (section 5).

use std::collections::HashSet;

use moorline_server::registry::MAX_SESSIONS;
use moorline_server::registry::model::{Node, NodeStatus};
use serde_json::{Value, json};

use crate::bed::{Bed, public_key};
use crate::openport_client::client::{device, granted, number, refused, registered, string};

/// Asks again with what an earlier answer gave.
async fn again(bed: &Bed, key: &str, earlier: &Value, more: &[(&str, &str)]) -> Value {
    let (port, token) = (
        earlier["server_port"].to_string(),
        string(earlier, "session_token"),
    );
    let pairs = [
        ("public_key", key),
        ("request_port", &port),
        ("restart_session_token", &token),
    ];
    granted(bed, &[&pairs, more].concat()).await
}

pub(crate) async fn the_earlier_session_comes_back(bed: &Bed) {
    let key = registered(bed, "restart").await;
    let first = granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    for automatic in ["true", "false"] {
        let more = [("local_port", "22"), ("automatic_restart", automatic)];
        assert_eq!(again(bed, &key, &first, &more).await, first);
    }
    // The token alone does as well, whatever stands for "no port".
    let token = string(&first, "session_token");
    for none in ["0", "-1", ""] {
        let pairs = [
            ("public_key", key.as_str()),
            ("restart_session_token", &token),
            ("request_port", none),
        ];
        assert_eq!(granted(bed, &pairs).await, first, "{none}");
    }
    // A client that tells another port gets the same session for it.
    let moved = again(bed, &key, &first, &[("local_port", "80")]).await;
    assert_eq!(moved["session_id"], first["session_id"]);
    let forwards = device(bed, &key).await.forwards;
    assert_eq!((forwards.len(), forwards[0].device_port), (1, 80));
}

pub(crate) async fn any_other_case_is_a_new_session(bed: &Bed) {
    let key = registered(bed, "forgetful").await;
    let first = granted(bed, &[("public_key", &key)]).await;
    let (port, token) = (
        first["server_port"].to_string(),
        string(&first, "session_token"),
    );
    let other_port = (number(&first, "server_port") + 1).to_string();
    let mut ports = HashSet::from([number(&first, "server_port")]);
    let mut tokens = HashSet::from([token.clone()]);
    let mut links = HashSet::from([string(&first, "open_port_for_ip_link")]);
    for pairs in [
        vec![],
        vec![("request_port", port.as_str())],
        vec![
            ("request_port", &port),
            ("restart_session_token", "AAAAAAAAAAAAAAAA"),
        ],
        vec![
            ("request_port", &other_port),
            ("restart_session_token", &token),
        ],
        vec![("request_port", &other_port)],
    ] {
        let wish = [&[("public_key", key.as_str())], &pairs[..]].concat();
        let json = granted(bed, &wish).await;
        let given = number(&json, "server_port");
        assert!(ports.insert(given), "{pairs:?} gave {given} again");
        assert!(tokens.insert(string(&json, "session_token")));
        assert!(links.insert(string(&json, "open_port_for_ip_link")));
        let asked = wish.iter().find(|(name, _)| *name == "request_port");
        assert!(asked.is_none_or(|(_, port)| *port != given.to_string()));
    }
    assert_eq!(device(bed, &key).await.forwards.len(), 6);
}

pub(crate) async fn a_token_of_another_key_is_none(bed: &Bed) {
    let (own, other) = (registered(bed, "own").await, registered(bed, "other").await);
    let theirs = granted(bed, &[("public_key", &other)]).await;
    let mine = again(bed, &own, &theirs, &[]).await;
    assert_ne!(mine["server_port"], theirs["server_port"]);
    assert_ne!(mine["session_token"], theirs["session_token"]);
    assert_eq!(again(bed, &other, &theirs, &[]).await, theirs);
}

pub(crate) async fn an_http_name_stays_for_the_next_time(bed: &Bed) {
    let key = registered(bed, "web").await;
    let plain = granted(bed, &[("public_key", &key), ("local_port", "80")]).await;
    assert_eq!(plain["http_forward_address"], json!(null));
    let on = [("local_port", "80"), ("http_forward", "on")];
    let named = again(bed, &key, &plain, &on).await;
    let name = string(&named, "http_forward_address");
    let (label, domain) = name.split_once('.').unwrap();
    assert_eq!((label.len(), domain), (8, "u.127.0.0.1"));
    assert!(
        label
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    );
    assert_eq!(named["server_port"], plain["server_port"]);
    // With protection on the link is still given.
    assert_eq!(
        named["open_port_for_ip_link"],
        plain["open_port_for_ip_link"]
    );
    let plain_again = again(bed, &key, &plain, &[("local_port", "80")]).await;
    assert_eq!(plain_again, plain);
    assert_eq!(again(bed, &key, &plain, &on).await, named);
    // Another session has another name.
    let other = granted(bed, &[&[("public_key", key.as_str())], &on[..]].concat()).await;
    assert_ne!(string(&other, "http_forward_address"), name);
}

pub(crate) async fn protection_is_as_said_else_as_set(bed: &Bed) {
    let key = registered(bed, "protected").await;
    let first = granted(bed, &[("public_key", &key)]).await;
    assert!(first["open_port_for_ip_link"].is_string(), "on by default");
    for off in ["false", "", "no"] {
        let open = again(bed, &key, &first, &[("ip_link_protection", off)]).await;
        assert_eq!(open["open_port_for_ip_link"], json!(null), "{off}");
        assert_eq!(open["message"], "You are now connected.");
    }
    for on in ["true", "ON", "1", "yes"] {
        let closed = again(bed, &key, &first, &[("ip_link_protection", on)]).await;
        assert_eq!(closed, first, "{on}");
    }
    // A device of `create_new_client` is open unless its client says otherwise.
    let made = public_key();
    let made_device = bed.device(&[("public_key", &made)]).await;
    let open = granted(bed, &[("public_key", &made)]).await;
    assert_eq!(open["open_port_for_ip_link"], json!(null));
    let closed = again(bed, &made, &open, &[("ip_link_protection", "true")]).await;
    assert!(closed["open_port_for_ip_link"].is_string());
    assert_eq!(device(bed, &made).await.id.to_string(), made_device);
}

pub(crate) async fn the_one_unused_longest_gives_way(bed: &Bed) {
    let key = public_key();
    let made = bed.create(&[("public_key", &key)]).await;
    let mut given = Vec::new();
    for _ in 1..MAX_SESSIONS {
        given.push(granted(bed, &[("public_key", &key)]).await);
    }
    assert_eq!(device(bed, &key).await.forwards.len(), MAX_SESSIONS);
    // The oldest was used again just now, so it is the second that goes.
    let oldest = again(bed, &key, &given[0], &[]).await;
    assert_eq!(oldest, given[0]);
    let newest = granted(bed, &[("public_key", &key)]).await;
    let left = device(bed, &key).await.forwards;
    assert_eq!(left.len(), MAX_SESSIONS);
    let is_left = |json: &Value| left.iter().any(|one| json["session_id"] == one.id.0);
    assert!(is_left(&given[0]) && is_left(&newest) && !is_left(&given[1]));
    assert_eq!(made["ports_id"], left[0].id.0, "the first forward stays");
    assert!(left[0].first);
    // Its port is not reserved any more: its token is a wrong one now.
    let after = again(bed, &key, &given[1], &[]).await;
    assert_ne!(after["server_port"], given[1]["server_port"]);
}

pub(crate) async fn nodes_are_chosen(bed: &Bed) {
    let far = Node {
        name: "far".into(),
        public_host: "far.example.net".into(),
        ports: (50_000, 50_001),
        ..bed.node().await
    };
    let put = async |status| {
        let node = Node {
            status,
            ..far.clone()
        };
        bed.registry.put_node(node).await.unwrap();
    };
    let key = registered(bed, "traveller").await;
    let home = granted(bed, &[("public_key", &key)]).await;
    assert_eq!(home["server_ip"], "127.0.0.1", "the only node");
    put(NodeStatus::Active).await;
    let ask = async |server: &str| {
        granted(bed, &[("public_key", &key), ("request_server", server)]).await
    };
    let there = ask("FAR.example.net").await;
    assert_eq!(there["server_ip"], "far.example.net");
    assert_eq!(there["fallback_ssh_server_ip"], "far.example.net");
    assert_eq!(ask("far").await["server_ip"], "far.example.net");
    assert_eq!(ask("mars").await["server_ip"], "127.0.0.1", "its region");
    assert_eq!(ask("far").await["server_ip"], "127.0.0.1", "far is full");
    // A session stays on its node, and is given up only when that is down.
    let stay = again(bed, &key, &there, &[("request_server", "127.0.0.1")]).await;
    assert_eq!(stay, there);
    put(NodeStatus::Draining).await;
    assert_eq!(again(bed, &key, &there, &[]).await, there);
    put(NodeStatus::Down).await;
    let elsewhere = again(bed, &key, &there, &[]).await;
    assert_eq!(elsewhere["server_ip"], "127.0.0.1");
    assert_ne!(elsewhere["session_token"], there["session_token"]);

    bed.set_node(NodeStatus::Draining).await;
    let none = ("No forwarding server is available".to_owned(), false);
    assert_eq!(refused(bed, &[("public_key", &key)]).await, none);
    let stranger = public_key();
    assert_eq!(refused(bed, &[("public_key", &stranger)]).await, none);
    bed.set_node(NodeStatus::Active).await;
}
