//! Device hosts: adopted, steered, rebuilt, unassigned.

use serde_json::{Value, json};

use crate::bed::device_id;
use crate::hosts::line::Line;
use crate::hosts::place::{
    HOSTS, act, device_host, ended, make, running_device_host, shown, status,
};
use crate::world::{World, keys, refused, text};

pub(crate) async fn a_device_is_adopted_and_only_unassigned(world: &World<'_>) {
    let device = world
        .bed
        .device(&[("name", "boat"), ("hardware", r#"{"model":"Pi"}"#)])
        .await;
    // What makes no sense for a device is left out.
    let wish = json!({"kind": "device", "device_id": device, "slot_key": "mine", "region": "x"});
    let host = make(world, wish).await;
    let created = ended(world, &host.task).await;
    assert_eq!(created["status"], "succeeded", "{created}");
    let sheet = shown(world, &host).await;
    assert_eq!(
        keys(&sheet),
        ["bindings", "connection_info", "device", "host", "user"]
    );
    let made = &sheet["host"];
    assert_eq!(made["status"], "stopped", "its tunnel is not up");
    assert_eq!(made["kind"], "device");
    assert_eq!(made["device_id"], device.as_str());
    assert_eq!(made["hostname"], "boat");
    assert_eq!(made["slot_key"], format!("device-{}", host.short_id));
    assert_eq!(made["timezone"], "");
    assert_eq!(made["home_volume_name"], "");
    assert_eq!(
        (&made["memory_limit_mb"], &made["cpu_limit"]),
        (&json!(0), &json!(0.0))
    );
    assert_eq!(sheet["connection_info"].get("vnc_url"), None);
    let shown_device = &sheet["device"];
    assert_eq!(
        keys(shown_device),
        [
            "client_id",
            "connected",
            "forwards",
            "hardware",
            "hostname",
            "name"
        ]
    );
    assert_eq!(shown_device["client_id"], device.as_str());
    assert_eq!(shown_device["connected"], false);
    assert_eq!(shown_device["hardware"], json!({"model": "Pi"}));
    let forward = &shown_device["forwards"][0];
    assert_eq!(keys(forward), ["local_port", "node", "public_port"]);
    assert_eq!(
        (&forward["local_port"], &forward["node"]),
        (&json!(22), &json!("local"))
    );
    let listed = world.get(HOSTS).await.json();
    assert_eq!(listed["hosts"][0]["docker_status"], "exited");

    let user = world.user.user.id.to_string();
    let again = json!({"user_id": user, "device_id": device});
    refused(
        &world.post(HOSTS, again).await,
        409,
        "device is already assigned to a host",
    );
    let binding = json!({"host_id": host.id, "egress_ip_id": world.egress_ip().await});
    refused(
        &world.post("/v1/admin/bindings", binding).await,
        400,
        "egress IPs apply to container hosts only",
    );
    assert_eq!(world.delete(&host.path()).await.status, 200);
    let kept = world.bed.registry.device(device_id(&device)).await.unwrap();
    assert_eq!(kept.unwrap().name, "boat");
    // It may be assigned again, and goes with the device then.
    let second = make(world, json!({"device_id": device})).await;
    assert_ne!(second.short_id, host.short_id);
    assert_eq!(
        world
            .bed
            .code("delete_client", &[("client_id", &device)])
            .await,
        0
    );
    refused(&world.get(&second.path()).await, 404, "host not found");
}

pub(crate) async fn start_and_stop_steer_the_tunnel(world: &World<'_>) {
    let (device, host) = device_host(world).await;
    let line = Line::of(world, &device).await;
    // The start waits for the tunnel.
    let start = act(world, &host, "start").await;
    line.up().await;
    let started = ended(world, &start).await;
    assert_eq!(started["status"], "succeeded", "{started}");
    assert_eq!(status(world, &host).await, "running");
    let sheet = shown(world, &host).await;
    assert_eq!(sheet["device"]["connected"], true);
    assert_eq!(
        world.get(HOSTS).await.json()["hosts"][0]["docker_status"],
        "running"
    );
    let events = world.events(&format!("host_id={}", host.id)).await;
    let mut kinds: Vec<String> = events.iter().map(|event| text(event, "type")).collect();
    kinds.reverse();
    assert_eq!(
        kinds,
        [
            "admin.host.create",
            "admin.host.action",
            "runtime.validating",
            "ssh.ready",
            "ssh.handoff.ready"
        ]
    );
    let handoff = &events[0]["metadata"];
    assert_eq!(handoff["ssh_user"], host.short_id.as_str());
    assert_eq!(handoff["ssh_host"], "127.0.0.1");
    assert_eq!(handoff["host_id"], host.id.as_str());
    assert_eq!(events[0]["task_id"], start.as_str());
    refused(
        &world.delete(&host.path()).await,
        409,
        "host is running, stop it first or use force=true",
    );

    let stopped = ended(world, &act(world, &host, "stop").await).await;
    assert_eq!(stopped["status"], "succeeded", "{stopped}");
    assert_eq!(status(world, &host).await, "stopped");
    let one = [("client_id", device.as_str())];
    let listed = world.bed.list(&world.bed.key).await;
    let item = listed
        .iter()
        .find(|item| item["client_id"] == device)
        .unwrap();
    assert_eq!(item["tunnel_open"], false);
    // The same wish by the other surface: the host follows its tunnel.
    line.down().await;
    let connecting = world.bed.code("connect", &one);
    let (connected, ()) = tokio::join!(connecting, line.up());
    assert_eq!(connected, 0);
    for _ in 0..1800 {
        if status(world, &host).await == "running" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(status(world, &host).await, "running", "its tunnel returned");
    line.down().await;
}

pub(crate) async fn a_rebuild_gives_new_ports_and_keeps_the_identity(world: &World<'_>) {
    let (device, line, host) = running_device_host(world).await;
    let id = device_id(&device);
    let before = world.bed.registry.device(id).await.unwrap().unwrap();
    let hash = host.kept(world).await;
    line.down().await;
    let rebuild = act(world, &host, "rebuild").await;
    crate::hosts::place::until(world, &rebuild, "running").await;
    let changed = |now: &moorline_server::registry::model::Device| {
        now.forwards[0].public_port != before.forwards[0].public_port
    };
    for _ in 0..2400 {
        let now = world.bed.registry.device(id).await.unwrap().unwrap();
        if changed(&now) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // A device without our agent has to fetch its script again.
    line.fetch(world, &device).await;
    line.up().await;
    let rebuilt = ended(world, &rebuild).await;
    assert_eq!(rebuilt["status"], "succeeded", "{rebuilt}");
    let after = world.bed.registry.device(id).await.unwrap().unwrap();
    assert!(changed(&after));
    assert_eq!(after.forwards[0].id, before.forwards[0].id);
    assert_ne!(
        after.forwards[0]
            .link_token
            .as_ref()
            .map(|token| token.expose().clone()),
        before.forwards[0]
            .link_token
            .as_ref()
            .map(|token| token.expose().clone())
    );
    assert_eq!(after.name, before.name);
    assert_eq!(after.public_key, before.public_key);
    assert!(after.public_key.is_some());
    let now = host.kept(world).await;
    assert!(now.entry_password_hash != hash.entry_password_hash);
    assert_eq!(now.short_id, host.short_id);
    line.down().await;
}

pub(crate) async fn a_device_that_does_not_come_fails_its_start(world: &World<'_>) {
    let (device, host) = device_host(world).await;
    let started = ended(world, &act(world, &host, "start").await).await;
    assert_eq!(started["status"], "failed");
    assert_eq!(started["error_code"], "ssh_not_ready");
    assert_eq!(status(world, &host).await, "failed");
    let failed = world.events("type=ssh.failed").await;
    assert_eq!(failed[0]["level"], "error");
    assert_eq!(failed[0]["host_id"], host.id.as_str());
    // It is wanted open all the same, and runs once it comes.
    let line = Line::of(world, &device).await;
    line.up().await;
    for _ in 0..1800 {
        if status(world, &host).await == "running" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(status(world, &host).await, "running");
    line.down().await;
    let reply = world
        .post(&format!("{}/rotate-ssh-password", host.path()), Value::Null)
        .await;
    let password = text(&reply.json(), "new_password");
    assert_eq!(password.len(), 8);
    assert_ne!(password, host.entry_password);
}
