//! Who may not: without a token, as a user, from another account.

use serde_json::{Value, json};

use crate::bed::public_key;
use crate::http;
use crate::world::{World, address, column, refused, text};

/// Every call of this surface that needs an administrator; `{…}` are ids of things that exist.
const ADMIN: [(&str, &str); 23] = [
    ("GET", "/v1/admin/users"),
    ("POST", "/v1/admin/users"),
    ("GET", "/v1/admin/users/{user}"),
    ("PATCH", "/v1/admin/users/{user}"),
    ("DELETE", "/v1/admin/users/{user}"),
    ("POST", "/v1/admin/users/{user}/rotate-password"),
    ("PUT", "/v1/admin/users/{user}/expiry"),
    ("GET", "/v1/admin/users/{user}/ssh-keys"),
    ("POST", "/v1/admin/users/{user}/ssh-keys"),
    ("POST", "/v1/admin/users/{user}/ssh-keys/generate"),
    ("DELETE", "/v1/admin/users/{user}/ssh-keys/{key}"),
    ("GET", "/v1/admin/egress-ips"),
    ("POST", "/v1/admin/egress-ips"),
    ("GET", "/v1/admin/egress-ips/{ip}"),
    ("PUT", "/v1/admin/egress-ips/{ip}"),
    ("DELETE", "/v1/admin/egress-ips/{ip}"),
    ("POST", "/v1/admin/egress-ips/{ip}/test"),
    ("POST", "/v1/admin/bindings"),
    ("DELETE", "/v1/admin/bindings/{binding}"),
    ("GET", "/v1/admin/events"),
    ("GET", "/v1/admin/dashboard/stats"),
    ("GET", "/v1/admin/devices"),
    ("GET", "/v1/admin/api-keys"),
];

/// Those that everyone with a token may call.
const USER: [(&str, &str); 5] = [
    ("POST", "/v1/user/change-password"),
    ("GET", "/v1/user/ssh-keys"),
    ("POST", "/v1/user/ssh-keys"),
    ("POST", "/v1/user/ssh-keys/generate"),
    ("DELETE", "/v1/user/ssh-keys/{key}"),
];

/// Things of the story's account.
struct Things {
    user: String,
    key: String,
    host: String,
    ip: String,
    binding: String,
}

impl Things {
    async fn make(world: &World<'_>) -> Self {
        let user = world.user.user.id.to_string();
        let keys = format!("/v1/admin/users/{user}/ssh-keys");
        let key = world.post(&keys, json!({"public_key": public_key()})).await;
        let host = world.container(&world.user.user).await.id.to_string();
        let ip = world.egress_ip().await;
        let body = json!({"host_id": host, "egress_ip_id": ip});
        let bound = world.post("/v1/admin/bindings", body).await;
        Self {
            user,
            key: text(&key.json()["key"], "id"),
            host,
            ip,
            binding: text(&bound.json()["binding"], "binding_id"),
        }
    }

    fn path(&self, template: &str) -> String {
        template
            .replace("{user}", &self.user)
            .replace("{key}", &self.key)
            .replace("{ip}", &self.ip)
            .replace("{binding}", &self.binding)
    }

    /// Everything there is, to see that nothing changed.
    async fn all(&self, world: &World<'_>) -> Vec<Value> {
        let mut all = Vec::new();
        for path in [
            "/v1/admin/users",
            "/v1/admin/users/{user}",
            "/v1/admin/users/{user}/ssh-keys",
            "/v1/admin/egress-ips",
        ] {
            let reply = world.get(&self.path(path)).await;
            assert_eq!(reply.status, 200, "{path}");
            all.push(reply.json());
        }
        all
    }
}

pub(crate) async fn without_a_token_nothing_is_served(world: &World<'_>) {
    let things = Things::make(world).await;
    let before = things.all(world).await;
    let mut refusals = 0;
    for (method, template) in ADMIN.into_iter().chain(USER) {
        let path = things.path(template);
        let reply = world.ask("", method, &path, &json!({})).await;
        refused(&reply, 401, "missing or invalid authorization header");
        let reply = world.ask("garbage", method, &path, &json!({})).await;
        refused(&reply, 401, "invalid token");
        // The cookie is for pages of a desktop only.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\
             Cookie: admin_token={}\r\n\r\n",
            world.admin.token
        );
        let reply = http::raw(world.bed.http, world.bed.from, head.as_bytes()).await;
        refused(&reply, 401, "missing or invalid authorization header");
        refusals += 1;
    }
    assert_eq!(refusals, ADMIN.len() + USER.len());
    assert_eq!(things.all(world).await, before);
}

pub(crate) async fn users_reach_nothing_of_the_administrators(world: &World<'_>) {
    let things = Things::make(world).await;
    let before = things.all(world).await;
    for (method, template) in ADMIN {
        let path = things.path(template);
        let reply = world
            .ask(&world.user.token, method, &path, &json!({}))
            .await;
        refused(&reply, 403, "insufficient permissions");
    }
    assert_eq!(things.all(world).await, before);
}

pub(crate) async fn another_account_is_as_if_it_were_not(world: &World<'_>) {
    let things = Things::make(world).await;
    let before = things.all(world).await;
    let foreign = &world.stranger.token;
    let mut refusals = 0;
    for (method, template, body, text) in [
        ("GET", "/v1/admin/users/{user}", json!({}), "user not found"),
        (
            "PATCH",
            "/v1/admin/users/{user}",
            json!({"status": "disabled"}),
            "user not found",
        ),
        (
            "DELETE",
            "/v1/admin/users/{user}",
            json!({}),
            "user not found",
        ),
        (
            "POST",
            "/v1/admin/users/{user}/rotate-password",
            json!({}),
            "user not found",
        ),
        (
            "PUT",
            "/v1/admin/users/{user}/expiry",
            json!({"expires_at": null}),
            "user not found",
        ),
        (
            "GET",
            "/v1/admin/users/{user}/ssh-keys",
            json!({}),
            "user not found",
        ),
        (
            "POST",
            "/v1/admin/users/{user}/ssh-keys",
            json!({"public_key": public_key()}),
            "user not found",
        ),
        (
            "POST",
            "/v1/admin/users/{user}/ssh-keys/generate",
            json!({}),
            "user not found",
        ),
        (
            "DELETE",
            "/v1/admin/users/{user}/ssh-keys/{key}",
            json!({}),
            "user not found",
        ),
        (
            "GET",
            "/v1/admin/egress-ips/{ip}",
            json!({}),
            "egress ip not found",
        ),
        (
            "PUT",
            "/v1/admin/egress-ips/{ip}",
            json!({"label": "taken over"}),
            "egress ip not found",
        ),
        (
            "DELETE",
            "/v1/admin/egress-ips/{ip}",
            json!({}),
            "egress ip not found",
        ),
        (
            "POST",
            "/v1/admin/egress-ips/{ip}/test",
            json!({}),
            "egress ip not found",
        ),
        (
            "DELETE",
            "/v1/admin/bindings/{binding}",
            json!({}),
            "binding not found",
        ),
        (
            "DELETE",
            "/v1/user/ssh-keys/{key}",
            json!({}),
            "ssh key not found",
        ),
    ] {
        let reply = world
            .ask(foreign, method, &things.path(template), &body)
            .await;
        refused(&reply, 404, text);
        refusals += 1;
    }
    assert_eq!(refusals, 15);
    // Binding what is theirs to what is ours, and the other way round.
    let ip = json!({"label": "theirs", "ip_address": address()});
    let ip = world
        .ask(foreign, "POST", "/v1/admin/egress-ips", &ip)
        .await
        .json();
    let theirs = text(&ip["egress_ip"], "id");
    for (token, host, ip, text) in [
        (foreign, &things.host, &theirs, "host not found"),
        (
            &world.admin.token,
            &things.host,
            &theirs,
            "egress ip not found",
        ),
    ] {
        let body = json!({"host_id": host, "egress_ip_id": ip});
        let reply = world.ask(token, "POST", "/v1/admin/bindings", &body).await;
        refused(&reply, 404, text);
    }
    let list = async |path: &str| world.ask(foreign, "GET", path, &Value::Null).await.json();
    let users = list("/v1/admin/users").await;
    assert_eq!(
        column(&users["users"], "username"),
        std::slice::from_ref(&world.stranger.user.username)
    );
    let ips = list("/v1/admin/egress-ips").await;
    assert_eq!(column(&ips["egress_ips"], "label"), ["theirs"]);
    let events = list("/v1/admin/events").await;
    let kinds = column(&events["events"], "type");
    assert_eq!(kinds, ["admin.egress_ip.created", "auth.success"]);
    for filter in [
        format!("user_id={}", things.user),
        format!("host_id={}", things.host),
    ] {
        let events = list(&format!("/v1/admin/events?{filter}")).await;
        assert_eq!(
            (&events["events"], &events["total"]),
            (&json!([]), &json!(0))
        );
    }
    let stats = list("/v1/admin/dashboard/stats").await;
    let one = json!({"active_users": 1, "running_hosts": 0, "available_ips": 1});
    assert_eq!(stats, one);
    assert_eq!(things.all(world).await, before);
}
