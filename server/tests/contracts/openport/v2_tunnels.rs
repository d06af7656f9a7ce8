//! What the calls show and do while tunnels are up, held by stock OpenSSH.

use std::net::IpAddr;

use moorline_server::registry::model::KeyContext;
use serde_json::{Value, json};

use crate::bed::{Bed, KeyWish, device_id, public_key, text};
use crate::openport::v2;
use crate::tunnel::{Device, Held, until, visit};

/// Holds the tunnel of `device` until it is listed; gives its session.
async fn up(bed: &Bed, device: &Device) -> (Held, Value) {
    let held = device.hold(bed);
    let mut found = Value::Null;
    until("a session", async || {
        let sessions = v2::results(bed, &bed.key, "sessions/").await;
        let session = sessions.iter().find(|one| one["port"] == device.port);
        found = session.cloned().unwrap_or_default();
        !found.is_null()
    })
    .await;
    (held, found)
}

async fn none_is_up(bed: &Bed) {
    until("no session", async || {
        v2::results(bed, &bed.key, "sessions/").await.is_empty()
    })
    .await;
}

/// A visitor that no other story has been.
fn visitor(bed: &Bed, number: u8) -> IpAddr {
    let IpAddr::V4(from) = bed.from else {
        panic!("the stories come from IPv4");
    };
    let [_, _, _, story] = from.octets();
    IpAddr::from([127, 1, story, number])
}

pub(crate) async fn a_session_is_listed_while_its_tunnel_is_up(bed: &Bed) {
    let device = Device::enrolled(bed).await;
    let number = v2::number_of(bed, &device.client_id).await;
    let item = v2::key(bed, &number.into()).await;
    assert_eq!(item["last_connection_time"], Value::Null);
    assert!(v2::results(bed, &bed.key, "sessions/").await.is_empty());
    let (held, session) = up(bed, &device).await;
    let expected = json!({
        "key": format!("http://x/api/v2/keys/{number}/"),
        "port": device.port,
        "local_port": device.service,
        "server": "127.0.0.1",
        "http_forwarding_address": null,
        "open_port_for_ip_link": null,
        "redirect_url": format!("http://x/r/{}/{}", text(&item, "redirect_token"), device.service),
    });
    assert_eq!(session, expected);
    let connected = text(&v2::key(bed, &number.into()).await, "last_connection_time");
    assert!(connected >= text(&item, "creation_time"), "{connected}");
    let second = Device::enrolled(bed).await;
    let (second_held, _) = up(bed, &second).await;
    let query = [("token", bed.key.as_str()), ("limit", "1"), ("offset", "1")];
    let page = v2::bare(bed, "GET", "sessions/", &query).await.json();
    assert_eq!(page["count"], 2);
    assert_eq!(page["results"][0]["port"], second.port);
    let narrow = KeyWish {
        context: KeyContext::Devices(vec![device_id(&device.client_id)]),
        ..KeyWish::default()
    };
    let narrow = bed.make_key(narrow).await;
    let seen = v2::results(bed, &narrow, "sessions/").await;
    assert_eq!(seen, [session]);
    let account = bed.registry.create_account("v2-sessions").await.unwrap().id;
    let foreign = bed.key_of(account, KeyWish::default()).await;
    assert!(v2::results(bed, &foreign, "sessions/").await.is_empty());
    drop((held, second_held));
    none_is_up(bed).await;
    let after = v2::key(bed, &number.into()).await;
    assert_eq!(after["last_connection_time"], connected);
}

pub(crate) async fn bytes_are_counted_both_ways(bed: &Bed) {
    let device = Device::enrolled(bed).await;
    let number = v2::number_of(bed, &device.client_id).await;
    let (_held, _) = up(bed, &device).await;
    let sent = vec![b'm'; 100_000];
    let bytes = async || v2::key(bed, &number.into()).await["bytes_this_month"].clone();
    for round in 1..=2 {
        assert_eq!(visit(visitor(bed, round), device.port, &sent).await, sent);
        assert_eq!(bytes().await, 200_000 * u64::from(round));
    }
    let other = v2::made(bed, &json!({"public_key": public_key()})).await;
    assert_eq!(other["bytes_this_month"], 0);
    let listed = v2::results(bed, &bed.key, "keys/").await;
    assert_eq!(listed[0]["bytes_this_month"], 400_000);
}

pub(crate) async fn settings_reach_open_ports_at_once(bed: &Bed) {
    let device = Device::enrolled(bed).await;
    let number = v2::number_of(bed, &device.client_id).await;
    let settings = format!("keys/{number}/settings/");
    let set = async |change: Value| {
        let reply = v2::send(bed, "PATCH", &settings, &change).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    };
    let (mut held, session) = up(bed, &device).await;
    assert_eq!(session["open_port_for_ip_link"], Value::Null);
    let echo = async |number| {
        let got = visit(visitor(bed, number), device.port, b"ahoy").await;
        assert!(got.is_empty() || got == b"ahoy");
        !got.is_empty()
    };
    assert!(echo(1).await);
    set(json!({"ip_link_protection": true})).await;
    assert!(!echo(1).await, "closed without the click");
    let sessions = v2::results(bed, &bed.key, "sessions/").await;
    let link = text(&sessions[0], "open_port_for_ip_link");
    let token = link.strip_prefix(&format!("http://x/l/{}/", device.port));
    let token = token.unwrap_or_else(|| panic!("{link}"));
    assert!(token.len() == 16 && token.chars().all(|c| c.is_ascii_alphanumeric()));
    set(json!({"ip_link_protection": false})).await;
    assert!(echo(1).await);
    set(json!({"max_connections_per_minute": 1})).await;
    assert!(echo(2).await);
    assert!(!echo(2).await, "one a minute");
    set(json!({"max_connections_per_minute": 0})).await;
    assert!(echo(2).await);
    for state in ["blocked", "inactive"] {
        set(json!({ "state": state })).await;
        assert!(v2::results(bed, &bed.key, "sessions/").await.is_empty());
        until("the end of the client", async || held.ended()).await;
        set(json!({"state": "active"})).await;
        (held, _) = up(bed, &device).await;
        assert!(echo(3).await, "the port stayed reserved");
    }
}

pub(crate) async fn a_new_key_cuts_the_tunnel_and_keeps_the_port(bed: &Bed) {
    let device = Device::enrolled(bed).await;
    let number = v2::number_of(bed, &device.client_id).await;
    let path = format!("keys/{number}/");
    let (mut held, session) = up(bed, &device).await;
    let same = json!({"name": "other", "public_key": device.public_key()});
    let put = v2::send(bed, "PUT", &path, &same).await;
    assert_eq!(put.status, 200);
    let sessions = v2::results(bed, &bed.key, "sessions/").await;
    assert_eq!(sessions, std::slice::from_ref(&session));
    let change = json!({"public_key": public_key()});
    let patched = v2::send(bed, "PATCH", &path, &change).await;
    assert_eq!(patched.status, 200);
    assert!(v2::results(bed, &bed.key, "sessions/").await.is_empty());
    until("the end of the client", async || held.ended()).await;
    let back = json!({"public_key": device.public_key()});
    assert_eq!(v2::send(bed, "PATCH", &path, &back).await.status, 200);
    let (mut held, again) = up(bed, &device).await;
    assert_eq!(again, session, "port and addresses stay");
    let gone = v2::send(bed, "DELETE", &path, &Value::Null).await;
    assert_eq!(gone.status, 204);
    assert!(v2::results(bed, &bed.key, "sessions/").await.is_empty());
    until("the end of the client", async || held.ended()).await;
}
