//! Bodies in, objects out (sections 4, 5 and 13).

use std::process::Command;

use serde_json::json;

use crate::bed::{Bed, public_key};
use crate::http;
use crate::openport_client::client::{
    FORM, ask, form, granted, number, refused, registered, string,
};

const REQUEST_PORT: &str = "/api/v1/request-port";

pub(crate) async fn the_answer_has_its_shape(bed: &Bed) {
    let key = registered(bed, "shape").await;
    let json = granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    for name in ["server_port", "account_id", "key_id", "session_id"] {
        assert!(json[name].as_u64().unwrap() > 0, "{name}: {json}");
    }
    assert_eq!(json["account_id"], bed.account.0);
    let port = number(&json, "server_port");
    assert!((20_000..=40_000).contains(&port));
    let token = string(&json, "session_token");
    let alphanumeric = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    assert!(token.len() == 16 && alphanumeric(&token), "{token}");
    assert_eq!(string(&json, "server_ip"), "127.0.0.1");
    assert_eq!(string(&json, "fallback_ssh_server_ip"), "127.0.0.1");
    assert_eq!(json["fallback_ssh_server_port"], 443);
    assert_eq!(json["session_end_time"], json!(null));
    assert_eq!(json["session_max_bytes"], -1);
    assert_eq!(json["http_forward_address"], json!(null));
    let link = string(&json, "open_port_for_ip_link");
    let (base, link_token) = link.rsplit_once('/').unwrap();
    assert!(base.ends_with(&format!("/l/{port}")), "{link}");
    assert!(link_token.len() == 16 && alphanumeric(link_token), "{link}");
    assert_ne!(link_token, token);
    let message = format!(
        "You are now connected.\nBefore connecting, the visitor opens {link} to let their IP address in for 24 hours."
    );
    assert_eq!(string(&json, "message"), message);
    let names = json.as_object().unwrap().len();
    assert_eq!(names, 13, "{json}");

    let device = crate::openport_client::client::device(bed, &key).await;
    assert_eq!(json["key_id"], device.number);
    assert_eq!(json["session_id"], device.forwards[0].id.0);
    assert_eq!(device.forwards[0].device_port, 22);
    // At rest there is a hash of the token alone.
    let kept = device.forwards[0].session_token.as_ref().unwrap();
    assert_ne!(*kept.expose(), token);
}

pub(crate) async fn form_and_json_say_the_same(bed: &Bed) {
    let key = registered(bed, "forms").await;
    let first = granted(bed, &[("public_key", &key), ("local_port", "8080")]).await;
    let wish = json!({
        "public_key": key,
        "local_port": 8080,
        "request_port": first["server_port"],
        "restart_session_token": first["session_token"],
        "http_forward": false,
        "automatic_restart": true,
        "request_server": null,
    });
    for (path, kind) in [
        (REQUEST_PORT, Some("application/json")),
        ("/api/v1/request-port/", Some("application/json")),
        (REQUEST_PORT, None),
    ] {
        let body = wish.to_string();
        let reply = http::send(bed.http, bed.from, "POST", path, kind, body.as_bytes()).await;
        assert_eq!((reply.status, reply.json()), (200, first.clone()), "{path}");
    }
    let wish = [
        ("public_key", key.as_str()),
        ("local_port", "8080"),
        ("request_port", &first["server_port"].to_string()),
        ("restart_session_token", &string(&first, "session_token")),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let pairs: Vec<_> = wish.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(ask(bed, &pairs).await, first);
}

pub(crate) async fn answers_are_200_and_json_whatever_comes(bed: &Bed) {
    let missing = ("public_key is required".to_owned(), true);
    assert_eq!(refused(bed, &[]).await, missing);
    assert_eq!(refused(bed, &[("public_key", "")]).await, missing);
    let invalid = ("public_key is not valid".to_owned(), true);
    for key in ["x", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3MAAAAA"] {
        assert_eq!(refused(bed, &[("public_key", key)]).await, invalid, "{key}");
    }
    let key = public_key();
    let long = format!("{}&x={}", form(&[("public_key", &key)]), "x".repeat(70_000));
    for (kind, body) in [
        (FORM, long.as_bytes()),
        (Some("application/json"), &b"{\"public_key\":"[..]),
        (Some("application/json"), b"[]"),
        (Some("application/json"), b"\xff\xfe"),
    ] {
        let reply = http::send(bed.http, bed.from, "POST", REQUEST_PORT, kind, body).await;
        let json = reply.json();
        assert_eq!(reply.status, 200, "{json}");
        assert!(
            json["error"].is_string() && json.get("fatal_error").is_none(),
            "{json}"
        );
    }
    // Numbers that are none are as if they were not sent.
    let pairs = [
        ("public_key", key.as_str()),
        ("local_port", "70000"),
        ("request_port", "abc"),
    ];
    let json = granted(bed, &pairs).await;
    let device = crate::openport_client::client::device(bed, &key).await;
    assert_eq!(json["session_id"], device.forwards[0].id.0);
    assert_eq!(device.forwards[0].device_port, 0);
}

pub(crate) async fn every_kind_of_key_is_taken(bed: &Bed) {
    let folder = tempfile::tempdir().unwrap();
    let kinds = [
        ("ed25519", "256"),
        ("ecdsa", "256"),
        ("ecdsa", "384"),
        ("ecdsa", "521"),
        ("rsa", "1024"),
        ("rsa", "4096"),
    ];
    for (kind, bits) in kinds {
        let path = folder.path().join(format!("{kind}{bits}"));
        let made = Command::new("ssh-keygen")
            .args([
                "-q",
                "-N",
                "",
                "-C",
                "a comment",
                "-t",
                kind,
                "-b",
                bits,
                "-f",
            ])
            .arg(&path)
            .status();
        assert!(made.unwrap().success(), "{kind} {bits}");
        let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let first = granted(bed, &[("public_key", line.trim())]).await;
        // The same key with line breaks in its data, and without its comment.
        let mut words = line.split(' ');
        let (name, data) = (words.next().unwrap(), words.next().unwrap());
        let middle = data.len() / 2;
        let broken = format!("{name} {}\n{}\r\n", &data[..middle], &data[middle..]);
        let again = granted(bed, &[("public_key", &broken)]).await;
        assert_eq!(again["key_id"], first["key_id"], "{kind} {bits}");
    }
}

pub(crate) async fn the_second_address_is_as_set(bed: &Bed) {
    let key = registered(bed, "fallback").await;
    let json = granted(bed, &[("public_key", &key)]).await;
    assert_eq!(string(&json, "server_ip"), "127.0.0.1");
    assert_eq!(string(&json, "fallback_ssh_server_ip"), "ssh.example.net");
    assert_eq!(json["fallback_ssh_server_port"], 8443);
    // The link stands under the public address, and a client finds it in the message.
    let link = string(&json, "open_port_for_ip_link");
    let port = number(&json, "server_port");
    assert!(link.starts_with(&format!("https://api.example.net/l/{port}/")));
    assert!(string(&json, "message").contains(&format!(" {link} ")));
}
