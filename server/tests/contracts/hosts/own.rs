//! What users see of their own hosts.

use serde_json::{Value, json};

use crate::hosts::place::{device_host, ended, make, task};
use crate::world::{World, keys, text};

pub(crate) async fn users_see_their_hosts(world: &World<'_>) {
    let mine = &world.user.token;
    let none = world.ask(mine, "GET", "/v1/user/hosts", &Value::Null).await;
    assert_eq!((none.status, none.body.as_str()), (200, "{\"hosts\":[]}\n"));
    let ip = world.egress_ip().await;
    let container = make(world, json!({ "egress_ip_id": ip })).await;
    let (_, device) = device_host(world).await;
    let list = world.ask(mine, "GET", "/v1/user/hosts", &Value::Null).await;
    let list = list.json();
    let hosts = list["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 2);
    assert_eq!(hosts[0]["id"], container.id.as_str(), "oldest first");
    assert_eq!(hosts[1]["egress_ip"], "");
    assert_eq!(
        keys(&hosts[0]),
        [
            "created_at",
            "egress_ip",
            "hostname",
            "id",
            "kind",
            "short_id",
            "status"
        ]
    );
    let path = format!("/v1/user/hosts/{}", container.id);
    let sheet = world.ask(mine, "GET", &path, &Value::Null).await.json();
    assert_eq!(
        keys(&sheet),
        [
            "connection_info",
            "created_at",
            "egress_bindings",
            "hostname",
            "id",
            "status",
            "timezone",
            "updated_at"
        ]
    );
    assert_eq!(sheet["egress_bindings"][0]["tunnel_type"], "wireguard");
    assert_eq!(
        sheet["egress_bindings"][0]["ip_address"],
        hosts[0]["egress_ip"]
    );
    assert_eq!(
        sheet["connection_info"]["vnc_url"],
        format!("http://h:8080/v1/user/hosts/{}/vnc/vnc.html", container.id)
    );
    let path = format!("/v1/user/hosts/{}", device.id);
    let sheet = world.ask(mine, "GET", &path, &Value::Null).await.json();
    assert_eq!(sheet["egress_bindings"], json!([]));
    assert_eq!(sheet["connection_info"].get("vnc_url"), None);
    // Administrators pass.
    assert_eq!(world.get(&path).await.status, 200);
}

pub(crate) async fn users_rebuild_their_hosts(world: &World<'_>) {
    let host = make(world, json!({})).await;
    ended(world, &host.task).await;
    let path = format!("/v1/user/hosts/{}/rebuild", host.id);
    let reply = world
        .ask(&world.user.token, "POST", &path, &Value::Null)
        .await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert_eq!(keys(&reply.json()), ["status", "task_id"]);
    let id = text(&reply.json(), "task_id");
    let asked = task(world, &id).await;
    assert_eq!(asked["kind"], "rebuild_host");
    assert_eq!(asked["requested_by"], world.user.user.id.to_string());
    let events = world.events("type=user.host.rebuild").await;
    assert_eq!(events[0]["user_id"], world.user.user.id.to_string());
}
