//! `/v1/admin/sessions` and `/v1/admin/nodes`, with a tunnel of stock OpenSSH.

use std::net::IpAddr;

use moorline_server::registry::model::Role;
use serde_json::{Value, json};

use crate::bed::{Bed, device_id};
use crate::operator::{ask, refused, token, user};
use crate::tunnel::{Device, take_own_ports, until, visit};

const SESSIONS: &str = "/v1/admin/sessions";
const NODES: &str = "/v1/admin/nodes";

pub(crate) async fn sessions_and_nodes_are_seen(bed: &Bed) {
    take_own_ports(bed).await;
    let anna = token(bed, "anna").await;
    let see = async |token: &str, path: &str| {
        let reply = ask(bed, token, "GET", path, Value::Null).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    };
    let none = json!({"sessions": [], "total": 0});
    assert_eq!(see(&anna, SESSIONS).await, none);
    let node = bed.node().await;
    let expected = json!({"nodes": [{
        "name": "local",
        "status": "active",
        "host": "127.0.0.1",
        "ssh_port": node.ssh_port,
        "first_port": node.ports.0,
        "last_port": node.ports.1,
    }]});
    assert_eq!(see(&anna, NODES).await, expected);
    let device = Device::enrolled(bed).await;
    let held = device.hold(bed);
    let total = async || see(&anna, SESSIONS).await["total"].clone();
    until("a session", async || total().await == 1).await;
    let got = visit(IpAddr::from([127, 1, 0, 1]), device.port, b"ahoy").await;
    assert_eq!(got, b"ahoy");
    let id = device_id(&device.client_id);
    let kept = bed.registry.device(id).await.unwrap().unwrap();
    let expected = json!({
        "id": kept.forwards[0].id.0,
        "device": kept.name,
        "device_id": device.client_id,
        "node": "local",
        "server": "127.0.0.1",
        "public_port": device.port,
        "device_port": device.service,
        "protected": false,
        "bytes": 8,
    });
    assert_eq!(see(&anna, SESSIONS).await["sessions"], json!([expected]));
    let past = format!("{SESSIONS}?limit=1&offset=1");
    assert_eq!(see(&anna, &past).await, json!({"sessions": [], "total": 1}));
    let odd = ask(
        bed,
        &anna,
        "GET",
        &format!("{SESSIONS}?limit=x"),
        Value::Null,
    )
    .await;
    refused(&odd, 400, "limit and offset must be numbers");
    let stranger = bed.registry.create_account("sessions-2").await.unwrap().id;
    user(bed, stranger, "erik", Role::Admin).await;
    let erik = token(bed, "erik").await;
    assert_eq!(see(&erik, SESSIONS).await, none);
    let udo = token(bed, "udo").await;
    for path in [SESSIONS, NODES] {
        let reply = ask(bed, &udo, "GET", path, Value::Null).await;
        refused(&reply, 403, "insufficient permissions");
        let reply = ask(bed, "x", "GET", path, Value::Null).await;
        refused(&reply, 401, "invalid token");
    }
    drop(held);
    until("no session", async || total().await == 0).await;
}
