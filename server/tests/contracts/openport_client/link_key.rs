//! Keys are registered and move (section 7).

use moorline_server::registry::model::{AccountId, EventFilter};
use serde_json::json;

use crate::bed::{Bed, public_key};
use crate::openport_client::client::{
    binding_token, device, granted, link, post, registered, string,
};

const LINK_KEY: &str = "/linkKey";

pub(crate) async fn a_key_is_registered(bed: &Bed) {
    let token = binding_token(bed).await;
    assert!(token.len() == 32 && token.chars().all(|c| c.is_ascii_alphanumeric()));
    let key = format!("{} root@pi", public_key());
    let pairs = [
        ("public_key", key.as_str()),
        ("key_binding_token", &token),
        ("key_name", ""),
        ("client_version", "2.2"),
        ("platform", "armv7"),
    ];
    for path in [LINK_KEY, "/linkKey/"] {
        let reply = post(bed, path, &pairs).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"status": "ok"})));
    }
    let made = device(bed, &key).await;
    assert_eq!((made.account, made.name.as_str()), (bed.account, "root@pi"));
    assert!(made.forwards.is_empty(), "until it asks for one");
    assert!(made.ip_link_protection);
    let session = granted(bed, &[("public_key", &key)]).await;
    assert_eq!(session["key_id"], made.number);
    assert_eq!(session["account_id"], bed.account.0);
    // Without name and comment it is named by its number.
    let plain = registered(bed, "").await;
    let plain = device(bed, &plain).await;
    assert_eq!(plain.name, format!("key{}", plain.number));
    // A name renames, none keeps the present one.
    link(bed, &key, "kitchen").await;
    link(bed, &key, "").await;
    assert_eq!(device(bed, &key).await.name, "kitchen");
}

pub(crate) async fn a_key_moves_between_accounts(bed: &Bed) {
    let key = public_key();
    let session = granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    let anonymous = device(bed, &key).await;
    link(bed, &key, "porch").await;
    let first = device(bed, &key).await;
    assert_eq!((first.account, first.name.as_str()), (bed.account, "porch"));
    let other = bed.registry.create_account("movers").await.unwrap().id;
    let token = bed.registry.binding_token(other).await.unwrap().unwrap();
    let pairs = [
        ("public_key", key.as_str()),
        ("key_binding_token", token.expose()),
    ];
    let reply = post(bed, LINK_KEY, &pairs).await;
    assert_eq!(reply.json(), json!({"status": "ok"}));
    let moved = device(bed, &key).await;
    assert_eq!((moved.account, moved.name.as_str()), (other, "porch"));
    assert_eq!((moved.id, moved.number), (anonymous.id, anonymous.number));
    assert_eq!(moved.forwards, anonymous.forwards, "ports and links stay");
    assert_eq!(moved.redirect_token, anonymous.redirect_token);
    // The former account cannot use what it knew of the device.
    assert_ne!(moved.dbid.expose(), first.dbid.expose());
    let code = bed
        .code("client_status", &[("client_id", &moved.id.to_string())])
        .await;
    assert_eq!(code, 31);
    let token = string(&session, "session_token");
    let restart = [
        ("public_key", key.as_str()),
        ("restart_session_token", &token),
    ];
    let again = granted(bed, &restart).await;
    assert_eq!(again["server_port"], session["server_port"]);
    assert_eq!(again["account_id"], other.0);
    for (account, kind, times) in [
        (AccountId(0), "device.unlinked", 1),
        (bed.account, "device.linked", 1),
        (bed.account, "device.unlinked", 1),
        (other, "device.linked", 1),
    ] {
        let filter = EventFilter {
            account: Some(account),
            device: Some(moved.id),
            kind: Some(kind.into()),
            limit: 10,
            ..EventFilter::default()
        };
        let events = bed.registry.events(filter).await.unwrap();
        assert_eq!(events.len(), times, "{kind} of {account}");
    }
}

pub(crate) async fn taken_names_get_a_number(bed: &Bed) {
    let mut names = Vec::new();
    for name in ["Cam", "cam", "CAM", " cam ", "cam-2"] {
        let key = registered(bed, name).await;
        names.push(device(bed, &key).await.name);
    }
    assert_eq!(names, ["Cam", "cam-2", "CAM-3", "cam-4", "cam-2-2"]);
    let long = "x".repeat(80);
    let key = registered(bed, &long).await;
    assert_eq!(device(bed, &key).await.name, "x".repeat(64));
    let key = registered(bed, &long).await;
    assert_eq!(
        device(bed, &key).await.name,
        format!("{}-2", "x".repeat(62))
    );
}

pub(crate) async fn bad_tokens_are_told_and_limited(bed: &Bed) {
    let error = |text: &str| json!({"status": "error", "error": text});
    let token = binding_token(bed).await;
    let wish = |key: &str, token: &str| {
        [
            ("public_key", key.to_owned()),
            ("key_binding_token", token.to_owned()),
        ]
    };
    let ask = async |[key, token]: [(&'static str, String); 2]| {
        post(bed, LINK_KEY, &[(key.0, &key.1), (token.0, &token.1)]).await
    };
    for key in ["", "x", "ssh-ed25519 AAAA"] {
        let reply = ask(wish(key, &token)).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, error("public_key is not valid"))
        );
    }
    // A token of a suspended account registers nothing.
    let other = bed.registry.create_account("closed").await.unwrap().id;
    let closed = bed.registry.binding_token(other).await.unwrap().unwrap();
    bed.registry.suspend_account(other, true).await.unwrap();
    let key = public_key();
    for wrong in ["", "nonsense", closed.expose()] {
        let reply = ask(wish(&key, wrong)).await;
        assert_eq!(
            (reply.status, reply.json()),
            (200, error("Invalid key binding token"))
        );
    }
    let limited = {
        let mut tries = 3;
        loop {
            let reply = ask(wish(&key, "nonsense")).await;
            if reply.status != 200 {
                break reply;
            }
            tries += 1;
            assert!(tries < 20, "there is no limit");
        }
    };
    assert_eq!(
        (limited.status, limited.json()),
        (429, error("Too many requests"))
    );
    let parsed = moorline_server::registry::model::PublicKey::parse(&key).unwrap();
    assert!(bed.registry.device_by_key(&parsed).await.unwrap().is_none());
}
