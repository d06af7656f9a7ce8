//! Sections 6 and 7.

use moorline_server::registry::model::{EgressIpId, EgressTunnel, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{World, address, column, done, keys, refused, text};

const IPS: &str = "/v1/admin/egress-ips";

async fn made(world: &World<'_>, body: Value) -> Value {
    let reply = world.post(IPS, body).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()["egress_ip"].clone()
}

fn of(ip: &Value) -> String {
    format!("{IPS}/{}", text(ip, "id"))
}

async fn kept(world: &World<'_>, ip: &Value) -> EgressTunnel {
    let id = EgressIpId(Uuid::try_parse(&text(ip, "id")).unwrap());
    let found = world.bed.registry.egress_ip(world.bed.account, id).await;
    found.unwrap().unwrap().tunnel
}

fn vless() -> Value {
    json!({
        "type": "vless", "server": "proxy.example.net", "server_port": 443, "uuid": "secret-uuid",
        "tls": {"enabled": true, "reality": {"short_id": "ab", "password": "inner"}},
    })
}

pub(crate) async fn wireguard_has_defaults_and_a_key_of_its_own(world: &World<'_>) {
    let ip = address();
    let first = made(world, json!({"label": " exit ", "ip_address": ip})).await;
    assert_eq!(
        keys(&first),
        [
            "created_at",
            "id",
            "ip_address",
            "label",
            "provider",
            "status",
            "tunnel_type",
            "updated_at",
            "wg_allowed_ips",
            "wg_client_public_key",
        ]
    );
    for (name, value) in [
        ("label", "exit"),
        ("ip_address", &ip),
        ("provider", "manual"),
        ("status", "available"),
        ("tunnel_type", "wireguard"),
        ("wg_allowed_ips", "0.0.0.0/0"),
    ] {
        assert_eq!(first[name], value, "{name}");
    }
    let key = data_encoding::BASE64.decode(text(&first, "wg_client_public_key").as_bytes());
    assert_eq!(key.unwrap().len(), 32);
    // RFC 7748, section 6.1: Alice's key pair.
    let body = json!({
        "label": "given", "ip_address": address(), "provider": "someone",
        "tunnel_type": "wireguard", "wg_endpoint": "vpn.example.net:51820",
        "wg_public_key": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
        "wg_private_key": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=",
        "wg_preshared_key": "preshared secret", "wg_allowed_ips": "0.0.0.0/0, ::/0",
        "wg_dns_server": "10.0.0.1", "wg_peer_address": "10.0.0.2/32",
        "proxy_config": {"type": "socks"},
    });
    let second = made(world, body.clone()).await;
    assert_eq!(
        second["wg_client_public_key"],
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    );
    for name in [
        "wg_endpoint",
        "wg_public_key",
        "wg_allowed_ips",
        "wg_dns_server",
        "wg_peer_address",
    ] {
        assert_eq!(second[name], body[name], "{name}");
    }
    for hidden in ["wg_private_key", "wg_preshared_key", "proxy_config"] {
        assert_eq!(second.get(hidden), None, "{hidden}");
    }
    let EgressTunnel::WireGuard(tunnel) = kept(world, &second).await else {
        panic!("no WireGuard tunnel");
    };
    assert_eq!(
        tunnel.private_key.unwrap().expose(),
        &text(&body, "wg_private_key")
    );
    assert_eq!(tunnel.preshared_key.unwrap().expose(), "preshared secret");
    let listed = world.get(IPS).await;
    assert_eq!(
        listed.json(),
        json!({"egress_ips": [second, first]}),
        "newest first"
    );
    assert_eq!(
        world.get(&of(&first)).await.json(),
        json!({"egress_ip": first})
    );
}

pub(crate) async fn proxies_are_checked_in_their_order(world: &World<'_>) {
    let proxy = |config: Value| json!({"label": "p", "ip_address": address(), "tunnel_type": "proxy", "proxy_config": config});
    for (body, text) in [
        (json!({}), "label is required"),
        (
            json!({"label": " ", "ip_address": "1.2.3.4"}),
            "label is required",
        ),
        (json!({"label": "a"}), "invalid ip address"),
        (
            json!({"label": "a", "ip_address": "1.2.3"}),
            "invalid ip address",
        ),
        (
            json!({"label": "a", "ip_address": "1.2.3.4", "tunnel_type": "ssh"}),
            "tunnel_type must be wireguard or proxy",
        ),
        (
            json!({"label": "a", "ip_address": "1.2.3.4", "tunnel_type": "proxy"}),
            "proxy_config is required for proxy tunnel type",
        ),
        (
            proxy(json!({})),
            "proxy_config is required for proxy tunnel type",
        ),
        (
            proxy(Value::Null),
            "proxy_config is required for proxy tunnel type",
        ),
        (
            proxy(json!({"type": "direct"})),
            "unsupported outbound type \"direct\", allowed: socks, vmess, vless, shadowsocks, trojan, http",
        ),
        (
            proxy(json!({"type": "socks"})),
            "proxy_config.server is required",
        ),
        (
            proxy(json!({"type": "socks", "server": "a"})),
            "proxy_config.server_port must be a positive integer (1-65535)",
        ),
        (
            proxy(json!({"type": "socks", "server": "a", "server_port": 0})),
            "proxy_config.server_port must be a positive integer (1-65535)",
        ),
        (
            proxy(json!({"type": "socks", "server": "a", "server_port": 65536})),
            "proxy_config.server_port must be a positive integer (1-65535)",
        ),
        (
            proxy(json!({"type": "socks", "server": "a", "server_port": "1"})),
            "proxy_config.server_port must be a positive integer (1-65535)",
        ),
        (
            proxy(json!({"type": "vmess", "server": "a", "server_port": 1})),
            "proxy_config.uuid is required for vmess",
        ),
        (
            proxy(json!({"type": "vless", "server": "a", "server_port": 1})),
            "proxy_config.uuid is required for vless",
        ),
        (
            proxy(json!({"type": "shadowsocks", "server": "a", "server_port": 1})),
            "proxy_config.method is required for shadowsocks",
        ),
        (
            proxy(json!({"type": "shadowsocks", "server": "a", "server_port": 1, "method": "m"})),
            "proxy_config.password is required for shadowsocks",
        ),
        (
            proxy(json!({"type": "trojan", "server": "a", "server_port": 1})),
            "proxy_config.password is required for trojan",
        ),
    ] {
        refused(&world.post(IPS, body).await, 400, text);
    }
    refused(
        &world.post(IPS, proxy(json!("text"))).await,
        400,
        "invalid request body",
    );
    assert_eq!(world.get(IPS).await.json(), json!({"egress_ips": []}));
    for kind in ["socks", "http"] {
        made(
            world,
            proxy(json!({"type": kind, "server": "a", "server_port": 65535})),
        )
        .await;
    }
}

pub(crate) async fn secrets_are_never_shown_and_stay_when_sent_back(world: &World<'_>) {
    let body = json!({
        "label": "p", "ip_address": address(), "tunnel_type": "proxy", "proxy_config": vless(),
        "wg_endpoint": "dropped:1",
    });
    let ip = made(world, body).await;
    assert_eq!(ip["wg_allowed_ips"], "");
    assert_eq!(ip.get("wg_endpoint"), None, "a proxy drops all wg_*");
    let mut shown = vless();
    shown["uuid"] = "***".into();
    shown["tls"]["reality"]["password"] = "***".into();
    assert_eq!(ip["proxy_config"], shown);
    let secrets = async || {
        let EgressTunnel::Proxy(config) = kept(world, &ip).await else {
            panic!("no proxy");
        };
        let config = Value::Object(config.into_exposed());
        (
            config["uuid"].clone(),
            config["tls"]["reality"]["password"].clone(),
        )
    };
    let both = (json!("secret-uuid"), json!("inner"));
    assert_eq!(secrets().await, both);
    // Sent back as it was shown, with another server.
    shown["server"] = "elsewhere.example.net".into();
    let reply = world.put(&of(&ip), json!({"proxy_config": shown})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.json()["egress_ip"]["proxy_config"], shown);
    assert_eq!(secrets().await, both);
    // Left out.
    let mut without = shown.clone();
    without.as_object_mut().unwrap().remove("uuid");
    assert_eq!(
        world
            .put(&of(&ip), json!({"proxy_config": without}))
            .await
            .status,
        200
    );
    assert_eq!(secrets().await, both);
    // Replaced, and as a whole.
    let new = json!({"type": "vless", "server": "b", "server_port": 2, "uuid": "other"});
    assert_eq!(
        world
            .put(&of(&ip), json!({"proxy_config": new}))
            .await
            .status,
        200
    );
    assert_eq!(secrets().await, (json!("other"), Value::Null));
    for secret in ["secret-uuid", "inner", "other"] {
        for reply in [world.get(IPS).await, world.get(&of(&ip)).await] {
            assert!(!reply.body.contains(secret));
        }
        if world.bed.url.starts_with("sqlite:") {
            for file in ["moorline.db", "moorline.db-wal"] {
                let bytes = std::fs::read(world.bed.folder().join(file)).unwrap_or_default();
                let found = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(
                    !found || secret != "secret-uuid",
                    "{file} holds a secret in clear"
                );
            }
        }
    }
}

pub(crate) async fn changes_are_partial(world: &World<'_>) {
    let body = json!({
        "label": "w", "ip_address": address(), "wg_endpoint": "a:1", "wg_dns_server": "10.0.0.1",
    });
    let ip = made(world, body).await;
    let path = of(&ip);
    let reply = world
        .put(&path, json!({"label": "renamed", "wg_dns_server": null}))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let changed = &reply.json()["egress_ip"];
    assert_eq!(
        (changed["label"].as_str(), changed.get("wg_dns_server")),
        (Some("renamed"), None)
    );
    for stays in [
        "wg_endpoint",
        "ip_address",
        "wg_client_public_key",
        "created_at",
        "status",
    ] {
        assert_eq!(changed[stays], ip[stays], "{stays}");
    }
    assert!(
        Timestamp::from_rfc3339(&text(changed, "updated_at")).unwrap()
            > Timestamp::from_rfc3339(&text(&ip, "updated_at")).unwrap()
    );
    for (body, text) in [
        (json!({"label": ""}), "label is required"),
        (json!({"label": null}), "label is required"),
        (json!({"ip_address": "x"}), "invalid ip address"),
        (
            json!({"tunnel_type": "x"}),
            "tunnel_type must be wireguard or proxy",
        ),
        (
            json!({"status": "bound"}),
            "status must be available or disabled",
        ),
        (
            json!({"tunnel_type": "proxy"}),
            "proxy_config is required for proxy tunnel type",
        ),
    ] {
        refused(&world.put(&path, body).await, 400, text);
    }
    let reply = world
        .put(
            &path,
            json!({"tunnel_type": "proxy", "proxy_config": vless()}),
        )
        .await;
    let changed = &reply.json()["egress_ip"];
    assert_eq!(
        (changed["tunnel_type"].as_str(), changed.get("wg_endpoint")),
        (Some("proxy"), None)
    );
    let reply = world.put(&path, json!({"proxy_config": null})).await;
    refused(
        &reply,
        400,
        "proxy_config is required for proxy tunnel type",
    );
    let reply = world
        .put(
            &path,
            json!({"tunnel_type": "wireguard", "status": "disabled"}),
        )
        .await;
    let changed = &reply.json()["egress_ip"];
    assert_eq!(
        (changed["status"].as_str(), changed.get("proxy_config")),
        (Some("disabled"), None)
    );
    assert_eq!(changed["wg_allowed_ips"], "0.0.0.0/0");
    assert_ne!(
        changed["wg_client_public_key"], ip["wg_client_public_key"],
        "a key of its own"
    );
}

pub(crate) async fn addresses_are_unique_in_the_account(world: &World<'_>) {
    let taken = address();
    let body = json!({"label": "a", "ip_address": taken});
    made(world, body.clone()).await;
    let long = json!({"label": "b", "ip_address": taken.replace("::", ":0:0:0:0:").to_uppercase()});
    for body in [body.clone(), long] {
        refused(
            &world.post(IPS, body).await,
            409,
            "ip address already exists",
        );
    }
    let other = made(world, json!({"label": "c", "ip_address": address()})).await;
    let reply = world.put(&of(&other), json!({"ip_address": taken})).await;
    refused(&reply, 409, "ip address already exists");
    let elsewhere = world.ask(&world.stranger.token, "POST", IPS, &body).await;
    assert_eq!(elsewhere.status, 201, "another account knows nothing of it");
}

pub(crate) async fn what_is_bound_is_not_deleted(world: &World<'_>) {
    let host = world.container(&world.user.user).await;
    let ip = world.egress_ip().await;
    let path = format!("{IPS}/{ip}");
    let body = json!({"host_id": host.id.to_string(), "egress_ip_id": ip});
    let bound = world.post("/v1/admin/bindings", body).await.json();
    refused(
        &world.delete(&path).await,
        409,
        "egress IP is bound to a host, unbind first",
    );
    let binding = text(&bound["binding"], "binding_id");
    done(&world.delete(&format!("/v1/admin/bindings/{binding}")).await);
    done(&world.delete(&path).await);
    for reply in [
        world.delete(&path).await,
        world.get(&path).await,
        world.put(&path, json!({})).await,
        world.post(&format!("{path}/test"), Value::Null).await,
        world.get(&format!("{IPS}/nonsense")).await,
    ] {
        refused(&reply, 404, "egress ip not found");
    }
}

pub(crate) async fn a_test_says_why_the_tunnel_is_not_there(world: &World<'_>) {
    let bare = made(world, json!({"label": "bare", "ip_address": address()})).await;
    let body = json!({
        "label": "p", "ip_address": address(), "tunnel_type": "proxy", "proxy_config": vless(),
    });
    let proxy = made(world, body).await;
    for (ip, message) in [
        (&bare, "wg_endpoint is not set"),
        (&proxy, "this server does not build egress tunnels"),
    ] {
        let reply = world.post(&format!("{}/test", of(ip)), Value::Null).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let json = reply.json();
        assert_eq!(keys(&json), ["message", "results", "status", "tested_at"]);
        assert_eq!(
            (&json["status"], &json["message"]),
            (&json!("error"), &json!(message))
        );
        let untold = json!({"status": ""});
        let results = json!({"connectivity": untold, "egress_ip": untold, "dns_leak": untold});
        assert_eq!(json["results"], results);
        assert!(Timestamp::from_rfc3339(&text(&json, "tested_at")).is_ok());
    }
    let listed = world.get(IPS).await.json();
    assert_eq!(column(&listed["egress_ips"], "label"), ["p", "bare"]);
}
