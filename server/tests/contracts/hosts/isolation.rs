//! Who may not: without a token, as a user, from another account, as another user.

use moorline_server::registry::model::Role;
use serde_json::{Value, json};

use crate::hosts::line::Line;
use crate::hosts::place::{HOSTS, Made, act, device_host, make, task, until};
use crate::world::{World, person, refused};

/// Every call about hosts that needs an administrator, and what it answers when the host is another account's: `None`
/// where it has none to name.
const ADMIN: [(&str, &str, Option<&str>); 14] = [
    ("GET", "/v1/admin/hosts", None),
    ("POST", "/v1/admin/hosts", None),
    ("GET", "/v1/admin/hosts/{host}", Some("host not found")),
    ("PATCH", "/v1/admin/hosts/{host}", Some("host not found")),
    ("DELETE", "/v1/admin/hosts/{host}", Some("host not found")),
    (
        "DELETE",
        "/v1/admin/hosts/{host}?force=true",
        Some("host not found"),
    ),
    (
        "POST",
        "/v1/admin/hosts/{host}/start",
        Some("host not found"),
    ),
    (
        "POST",
        "/v1/admin/hosts/{host}/stop",
        Some("host not found"),
    ),
    (
        "POST",
        "/v1/admin/hosts/{host}/rebuild",
        Some("host not found"),
    ),
    (
        "POST",
        "/v1/admin/hosts/{host}/rotate-ssh-password",
        Some("host not found"),
    ),
    ("GET", "/v1/admin/tasks", None),
    ("GET", "/v1/admin/sessions-log", None),
    (
        "GET",
        "/v1/admin/sessions-log/{host}",
        Some("session not found"),
    ),
    (
        "GET",
        "/v1/admin/sessions-log/{host}/recording",
        Some("session not found"),
    ),
];

/// Those that everyone with a token may call.
const USER: [(&str, &str); 3] = [
    ("GET", "/v1/user/hosts"),
    ("GET", "/v1/user/hosts/{host}"),
    ("POST", "/v1/user/hosts/{host}/rebuild"),
];

fn path(template: &str, host: &Made) -> String {
    template.replace("{host}", &host.id)
}

async fn everything(world: &World<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [HOSTS, "/v1/admin/tasks", "/v1/admin/sessions-log"] {
        all.push(world.get(path).await.json());
    }
    all
}

async fn settled(world: &World<'_>) -> Made {
    let host = make(world, json!({})).await;
    crate::hosts::place::ended(world, &host.task).await;
    host
}

pub(crate) async fn without_a_token_nothing_is_served(world: &World<'_>) {
    let host = settled(world).await;
    let before = everything(world).await;
    let admin = ADMIN.iter().map(|(method, path, _)| (*method, *path));
    let mut refusals = 0;
    for (method, template) in admin.chain(USER) {
        let path = path(template, &host);
        let reply = world.ask("", method, &path, &json!({})).await;
        refused(&reply, 401, "missing or invalid authorization header");
        let reply = world.ask("garbage", method, &path, &json!({})).await;
        refused(&reply, 401, "invalid token");
        refusals += 1;
    }
    assert_eq!(refusals, ADMIN.len() + USER.len());
    assert_eq!(everything(world).await, before);
}

pub(crate) async fn users_reach_nothing_of_the_administrators(world: &World<'_>) {
    let host = settled(world).await;
    let before = everything(world).await;
    for (method, template, _) in ADMIN {
        let path = path(template, &host);
        let reply = world
            .ask(&world.user.token, method, &path, &json!({}))
            .await;
        refused(&reply, 403, "insufficient permissions");
    }
    assert_eq!(everything(world).await, before);
}

pub(crate) async fn another_account_is_as_if_it_were_not(world: &World<'_>) {
    let host = settled(world).await;
    let device = world.bed.device(&[]).await;
    let egress_ip = world.egress_ip().await;
    let before = everything(world).await;
    let stranger = &world.stranger.token;
    let mut named = 0;
    for (method, template, words) in ADMIN {
        let reply = world
            .ask(stranger, method, &path(template, &host), &json!({}))
            .await;
        if let Some(words) = words {
            refused(&reply, 404, words);
            named += 1;
        }
    }
    assert_eq!(named, 10);
    for (method, template) in USER.iter().skip(1) {
        let reply = world
            .ask(stranger, method, &path(template, &host), &json!({}))
            .await;
        refused(&reply, 404, "host not found");
    }
    for (listing, empty) in [
        (HOSTS, json!({"hosts": []})),
        ("/v1/admin/tasks", json!({"tasks": []})),
        ("/v1/user/hosts", json!({"hosts": []})),
    ] {
        let reply = world.ask(stranger, "GET", listing, &Value::Null).await;
        assert_eq!(reply.json(), empty, "{listing}");
    }
    // Nothing of this account goes into a host of the other.
    let own = world.stranger.user.id.to_string();
    for (wish, words) in [
        (
            json!({"user_id": world.user.user.id.to_string()}),
            "user not found",
        ),
        (
            json!({"user_id": own, "device_id": device}),
            "device not found",
        ),
        (
            json!({"user_id": own, "egress_ip_id": egress_ip}),
            "egress ip not found",
        ),
    ] {
        let reply = world.ask(stranger, "POST", HOSTS, &wish).await;
        refused(&reply, 404, words);
    }
    assert_eq!(everything(world).await, before);
}

pub(crate) async fn another_user_is_forbidden(world: &World<'_>) {
    let host = settled(world).await;
    let other = person(world.bed, world.bed.account, Role::User).await;
    let before = everything(world).await;
    for (method, template) in USER.iter().skip(1) {
        let path = path(template, &host);
        let reply = world.ask(&other.token, method, &path, &json!({})).await;
        refused(&reply, 403, "forbidden");
        let nobody = path.replace(&host.id, &uuid::Uuid::new_v4().to_string());
        let reply = world.ask(&other.token, method, &nobody, &json!({})).await;
        refused(&reply, 404, "host not found");
    }
    let reply = world
        .ask(&other.token, "GET", "/v1/user/hosts", &Value::Null)
        .await;
    assert_eq!(reply.json(), json!({"hosts": []}));
    assert_eq!(everything(world).await, before);
}

pub(crate) async fn a_device_that_moves_is_nobodys_host(world: &World<'_>) {
    let (device, host) = device_host(world).await;
    Line::of(world, &device).await;
    let start = act(world, &host, "start").await;
    until(world, &start, "running").await;
    let stop = act(world, &host, "stop").await;
    let registry = &world.bed.registry;
    let id = moorline_server::registry::model::DeviceId(device.parse().unwrap());
    let key = registry.device(id).await.unwrap().unwrap().public_key;
    // Its new owner registers its key.
    let account = world.stranger.user.account;
    let linked = registry
        .link_key(account, key.unwrap(), None)
        .await
        .unwrap();
    assert_eq!(linked.from, Some(world.bed.account));
    refused(&world.get(&host.path()).await, 404, "host not found");
    let found = registry.host_by_short_id(&host.short_id).await.unwrap();
    assert!(found.is_none(), "{found:?}");
    assert_eq!(task(world, &stop).await["status"], "canceled");
    let wish = json!({"user_id": world.user.user.id.to_string(), "device_id": device});
    refused(&world.post(HOSTS, wish).await, 404, "device not found");
    // A host of its own account it stays, when its key is registered there again.
    let (device, host) = device_host(world).await;
    Line::of(world, &device).await;
    let id = moorline_server::registry::model::DeviceId(device.parse().unwrap());
    let key = registry.device(id).await.unwrap().unwrap().public_key;
    let linked = registry
        .link_key(world.bed.account, key.unwrap(), None)
        .await;
    assert_eq!(linked.unwrap().from, None);
    assert_eq!(world.get(&host.path()).await.status, 200);
}
