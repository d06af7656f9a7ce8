//! Section 8, Bindings.

use serde_json::json;
use uuid::Uuid;

use crate::bed::device_id;
use crate::world::{World, done, keys, refused, text};

const BINDINGS: &str = "/v1/admin/bindings";

pub(crate) async fn hosts_are_bound_and_unbound(world: &World<'_>) {
    let host = world.container(&world.user.user).await;
    let id = host.id.to_string();
    let mut bound = Vec::new();
    for _ in 0..2 {
        let ip = world.egress_ip().await;
        let body = json!({"host_id": id, "egress_ip_id": ip});
        let reply = world.post(BINDINGS, body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let binding = reply.json()["binding"].clone();
        assert_eq!(
            keys(&binding),
            ["binding_id", "created_at", "egress_ip_id", "host_id"]
        );
        assert_eq!(
            (text(&binding, "host_id"), text(&binding, "egress_ip_id")),
            (id.clone(), ip)
        );
        bound.push(text(&binding, "binding_id"));
    }
    let listed = async || {
        let bindings = world.bed.registry.bindings_of(host.id).await.unwrap();
        let ids = bindings.iter().map(|binding| binding.id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(listed().await, bound, "the one in use first");
    done(&world.delete(&format!("{BINDINGS}/{}", bound[0])).await);
    assert_eq!(listed().await, bound[1..]);
    for gone in [bound[0].as_str(), "nonsense"] {
        let reply = world.delete(&format!("{BINDINGS}/{gone}")).await;
        refused(&reply, 404, "binding not found");
    }
}

pub(crate) async fn every_refusal_has_its_text(world: &World<'_>) {
    let container = world.container(&world.user.user).await;
    let device = device_id(&world.bed.device(&[("name", "bound")]).await);
    let device = world.host(&world.user.user, Some(device)).await;
    let (host, ip) = (container.id.to_string(), world.egress_ip().await);
    let nobody = Uuid::new_v4().to_string();
    for (host, ip, status, text) in [
        (
            "",
            ip.as_str(),
            400,
            "host_id and egress_ip_id are required",
        ),
        (
            host.as_str(),
            "",
            400,
            "host_id and egress_ip_id are required",
        ),
        (
            &device.id.to_string(),
            ip.as_str(),
            400,
            "egress IPs apply to container hosts only",
        ),
        (nobody.as_str(), ip.as_str(), 404, "host not found"),
        ("nonsense", ip.as_str(), 404, "host not found"),
        (host.as_str(), nobody.as_str(), 404, "egress ip not found"),
        (host.as_str(), "nonsense", 404, "egress ip not found"),
    ] {
        let body = json!({"host_id": host, "egress_ip_id": ip});
        refused(&world.post(BINDINGS, body).await, status, text);
    }
    let reply = world.post(BINDINGS, json!({"host_id": host})).await;
    refused(&reply, 400, "host_id and egress_ip_id are required");

    let bind = || json!({"host_id": host, "egress_ip_id": ip});
    world.set_host_status(&container, "running").await;
    let text_of = "cannot bind egress IP to running host, stop host first";
    refused(&world.post(BINDINGS, bind()).await, 409, text_of);
    for status in ["stopped", "failed"] {
        world.set_host_status(&container, status).await;
    }
    let made = world.post(BINDINGS, bind()).await;
    assert_eq!(made.status, 201);
    let text_of = "egress IP is already bound to this host";
    refused(&world.post(BINDINGS, bind()).await, 409, text_of);
    world.set_host_status(&container, "running").await;
    let binding = format!("{BINDINGS}/{}", text(&made.json()["binding"], "binding_id"));
    let text_of = "cannot unbind egress IP from running host, stop host first";
    refused(&world.delete(&binding).await, 409, text_of);
    world.set_host_status(&container, "stopped").await;
    done(&world.delete(&binding).await);
    let path = format!("/v1/admin/egress-ips/{ip}");
    world.put(&path, json!({"status": "disabled"})).await;
    refused(
        &world.post(BINDINGS, bind()).await,
        409,
        "egress IP is disabled",
    );
}
