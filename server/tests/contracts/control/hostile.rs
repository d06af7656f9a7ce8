//! What somebody tries who means harm: sections 1, 2, 4 and 6 from the other side.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use moorline_server::registry::model::Role;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::http::{self, Reply};
use crate::world::{PASSWORD, World, address, is_lock, person, refused, send, text, unique};

const USERS: &str = "/v1/admin/users";
const LOGIN: &str = "/v1/auth/login";

pub(crate) async fn a_username_is_nobodys_short_id(world: &World<'_>) {
    let victim = &world.user.user;
    // Made in another account, it would take the logins of the one whose short id it is.
    let body = json!({"username": victim.short_id, "password": "of the stranger"});
    let reply = world.ask(&world.stranger.token, "POST", USERS, &body).await;
    refused(&reply, 409, "username already exists");
    let login = world.login(&victim.short_id, PASSWORD).await;
    assert_eq!(login.status, 200, "{}", login.body);
    assert_eq!(text(&login.json(), "username"), victim.username);
    let host = world.container(victim).await;
    let body = json!({"username": host.short_id});
    let reply = world.post(USERS, body).await;
    refused(&reply, 409, "username already exists");
}

pub(crate) async fn a_nul_is_refused_as_anything_unknown(world: &World<'_>) {
    let hidden = json!({"username": "a\0b", "password": "wrong password"});
    let open = json!({"password": "wrong password"});
    for (path, body, status) in [
        (LOGIN, &hidden, 400),
        ("/v1/bootstrap/sessions", &hidden, 400),
        ("/v1/entry/a%00b/auth", &open, 401),
        ("/v1/entry/%ff/auth", &open, 401),
    ] {
        let reply = world.ask("", "POST", path, body).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
    }
    for odd in ["a%00b", "%ff", "%00"] {
        for (path, words) in [
            (format!("{USERS}/{odd}"), "user not found"),
            (format!("/v1/admin/egress-ips/{odd}"), "egress ip not found"),
            (format!("/v1/admin/devices/{odd}"), "device not found"),
            (format!("/v1/admin/hosts/{odd}"), "host not found"),
            (format!("/v1/user/hosts/{odd}"), "host not found"),
            (format!("/v1/admin/sessions-log/{odd}"), "session not found"),
        ] {
            refused(&world.get(&path).await, 404, words);
        }
        for (method, rest) in [
            ("GET", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("GET", "/apikey"),
            ("PUT", "/apikey"),
            ("POST", "/apikey"),
        ] {
            let path = format!("/v1/admin/api-clients/{odd}{rest}");
            let reply = world
                .ask(&world.admin.token, method, &path, &json!({}))
                .await;
            refused(&reply, 404, "api client not found");
        }
    }
    for (path, list) in [
        ("/v1/admin/events?type=%00", "events"),
        ("/v1/admin/sessions-log?device=%00", "sessions"),
        ("/v1/admin/devices?prefix=%00", "devices"),
        ("/v1/admin/sessions?offset=18446744073709551615", "sessions"),
        ("/v1/admin/devices?offset=18446744073709551615", "devices"),
    ] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert_eq!(reply.json()[list], json!([]), "{path}");
    }
    let body = json!({"name": unique("key"), "region": "a\0b"});
    let reply = world.post("/v1/admin/api-keys", body).await;
    refused(&reply, 400, "invalid request body");
    let body = json!({"user_id": world.user.user.id.to_string(), "region": "a\0b"});
    let reply = world.post("/v1/admin/hosts", body).await;
    refused(&reply, 400, "invalid request body");
}

/// A wrong password for `name`, from 127.1.`net`.`last`.
async fn wrong(world: &World<'_>, (net, last): (u8, u8), name: &str) -> u16 {
    let from = IpAddr::from([127, 1, net, last]);
    let body = json!({"username": name, "password": "wrong"});
    send(world.bed, from, "", ("POST", LOGIN), &body)
        .await
        .status
}

pub(crate) async fn the_lock_does_not_tell_who_is_there(world: &World<'_>) {
    let net = if world.bed.url.starts_with("sqlite:") {
        40
    } else {
        41
    };
    // Names that differ in case are different names, whether one of them is somebody's or not.
    for (name, first) in [
        (unique("nobody"), 1),
        (world.user.user.username.clone(), 11),
    ] {
        let (since, mut failures) = (Instant::now(), 0);
        // From several addresses, since these are counted as well.
        for last in (first..first + 8).cycle().take(59) {
            match wrong(world, (net, last), &name.to_uppercase()).await {
                429 => break,
                status => assert_eq!(status, 401, "{name}"),
            }
            failures += 1;
        }
        assert!(is_lock(failures, since), "{name}: {failures}");
        assert_eq!(wrong(world, (net, first + 8), &name).await, 401, "{name}");
    }
}

pub(crate) async fn a_suspended_account_is_closed(world: &World<'_>) {
    let registry = &world.bed.registry;
    let set = async |suspended: bool| {
        let done = registry.suspend_account(world.bed.account, suspended).await;
        assert!(done.unwrap());
    };
    let own = async |token: &str| {
        world
            .ask(token, "GET", "/v1/user/hosts", &Value::Null)
            .await
    };
    let enter = async |password: &str| {
        let path = format!("/v1/entry/{}/auth", world.user.user.short_id);
        world
            .ask("", "POST", &path, &json!({ "password": password }))
            .await
    };
    set(true).await;
    for person in [&world.admin, &world.user] {
        refused(&own(&person.token).await, 403, "account is not active");
        let login = world.login(&person.user.username, PASSWORD).await;
        refused(&login, 403, "account is not active");
        let login = world.login(&person.user.username, "wrong").await;
        refused(&login, 401, "invalid credentials");
    }
    refused(&enter(PASSWORD).await, 403, "account is not active");
    refused(&enter("wrong").await, 401, "invalid credentials");
    let body = json!({"username": world.user.user.username, "password": PASSWORD});
    let reply = world.ask("", "POST", "/v1/bootstrap/sessions", &body).await;
    assert_eq!(
        (reply.status, &reply.json()["error_code"]),
        (403, &json!("account_disabled"))
    );
    assert_eq!(own(&world.stranger.token).await.status, 200);
    set(false).await;
    assert_eq!(own(&world.admin.token).await.status, 200);
}

pub(crate) async fn an_account_does_not_run_out_of_administrators(world: &World<'_>) {
    const TEXT: &str = "cannot disable the last admin";
    let later = || json!({"expires_at": "2999-01-01T00:00:00Z"});
    let own = format!("{USERS}/{}/expiry", world.admin.user.id);
    refused(&world.put(&own, later()).await, 409, TEXT);
    let second = person(world.bed, world.bed.account, Role::Admin).await;
    let other = format!("{USERS}/{}/expiry", second.user.id);
    // Both at once: one of them stays for good.
    let (one, two) = (later(), later());
    let (first, last) = tokio::join!(
        world.put(&own, one),
        world.ask(&second.token, "PUT", &other, &two)
    );
    let mut statuses = [first.status, last.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    // The one that stays is not sent away for one whose days are counted.
    let (stays, goes) = if first.status == 409 {
        (&world.admin, &second)
    } else {
        (&second, &world.admin)
    };
    let path = format!("{USERS}/{}", stays.user.id);
    let ask = async |method: &str, body: Value| world.ask(&goes.token, method, &path, &body).await;
    let reply = ask("PATCH", json!({"status": "disabled"})).await;
    refused(&reply, 409, TEXT);
    let reply = ask("DELETE", Value::Null).await;
    refused(&reply, 409, "cannot delete the last admin");
    let goes = format!("{USERS}/{}/expiry", goes.user.id);
    for body in [later(), json!({"expires_at": null})] {
        let reply = world.ask(&stays.token, "PUT", &goes, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
}

pub(crate) async fn whoever_is_sent_away_finishes_no_request(world: &World<'_>) {
    let second = person(world.bed, world.bed.account, Role::Admin).await;
    let name = unique("late");
    let body = json!({ "username": name }).to_string();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(world.bed.from, 0)).unwrap();
    let mut stream = socket.connect(world.bed.http).await.unwrap();
    // The server asks for the body once it has looked at the token.
    let head = format!(
        "POST {USERS} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        second.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    let path = format!("{USERS}/{}", second.user.id);
    let reply = world.patch(&path, json!({"status": "disabled"})).await;
    assert_eq!(reply.status, 200);
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let listed = world.get(USERS).await;
    assert!(!listed.body.contains(&name), "{}", listed.body);
}

pub(crate) async fn egress_texts_have_their_limits(world: &World<'_>) {
    let path = "/v1/admin/egress-ips";
    let with = |name: &str, value: Value| {
        let mut body = json!({"label": "exit", "ip_address": address()});
        body[name] = value;
        body
    };
    for name in [
        "label",
        "provider",
        "wg_endpoint",
        "wg_public_key",
        "wg_allowed_ips",
        "wg_dns_server",
        "wg_peer_address",
        "wg_private_key",
        "wg_preshared_key",
    ] {
        for odd in ["x".repeat(5000), "a\u{7}b".into(), "a\u{1b}[2Jb".into()] {
            let reply = world.post(path, with(name, json!(odd))).await;
            refused(&reply, 400, &format!("{name} is not valid"));
        }
    }
    let proxy = |padding: &str| {
        json!({
            "label": "exit", "ip_address": address(), "tunnel_type": "proxy",
            "proxy_config": {
                "type": "socks", "server": "s", "server_port": 1, "padding": padding,
            },
        })
    };
    let reply = world.post(path, proxy(&"x".repeat(100_000))).await;
    refused(&reply, 400, "proxy_config is not valid");
    let made = world.post(path, proxy("short")).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

pub(crate) async fn what_is_hidden_is_no_secret(world: &World<'_>) {
    let path = "/v1/admin/egress-ips";
    let body = |config: Value| {
        json!({
            "label": "exit", "ip_address": address(), "tunnel_type": "proxy",
            "proxy_config": config,
        })
    };
    // Readers of such a configuration do not mind the case of names.
    let config = json!({
        "type": "http", "server": "s", "server_port": 1,
        "Password": "hidden one", "users": [{"UUID": "hidden two"}],
    });
    let made = world.post(path, body(config)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let shown = made.json()["egress_ip"].clone();
    assert!(!made.body.contains("hidden"), "{}", made.body);
    assert_eq!(shown["proxy_config"]["Password"], "***");
    let own = format!("{path}/{}", text(&shown, "id"));
    let back = json!({ "proxy_config": shown["proxy_config"] });
    let reply = world.put(&own, back).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let kept = world
        .bed
        .registry
        .egress_ips(world.bed.account)
        .await
        .unwrap();
    let kept = format!("{:?}", kept[0].tunnel);
    assert!(!kept.contains("hidden"), "{kept}");
    // Three asterisks stand for a secret that is there; where there is none they are nothing.
    let trojan = json!({"type": "trojan", "server": "s", "server_port": 1, "password": "***"});
    let missing = "proxy_config.password is required for trojan";
    let reply = world.post(path, body(trojan.clone())).await;
    refused(&reply, 400, missing);
    let reply = world.put(&own, json!({ "proxy_config": trojan })).await;
    refused(&reply, 400, missing);
}

pub(crate) async fn a_call_without_need_of_a_token_plants_none(world: &World<'_>) {
    let token = &world.stranger.token;
    let path = format!("/v1/bootstrap/script?token={token}");
    let reply = world.ask("", "GET", &path, &Value::Null).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (200, None));
    let body = json!({"username": world.user.user.username, "password": PASSWORD});
    for path in [LOGIN, "/v1/admin/login"] {
        let path = format!("{path}?token={token}");
        let reply = world.ask("", "POST", &path, &body).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (200, None));
    }
}

pub(crate) async fn of_two_at_once_one_is_told(world: &World<'_>) {
    let statuses = |one: &Reply, two: &Reply| {
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        statuses
    };
    let user = json!({"username": unique("twice"), "password": PASSWORD});
    let (one, two) = tokio::join!(
        world.post(USERS, user.clone()),
        world.ask(&world.stranger.token, "POST", USERS, &user)
    );
    assert_eq!(statuses(&one, &two), [201, 409]);
    let device = world.bed.device(&[]).await;
    let host = json!({"user_id": world.user.user.id.to_string(), "device_id": device});
    let (one, two) = tokio::join!(
        world.post("/v1/admin/hosts", host.clone()),
        world.post("/v1/admin/hosts", host)
    );
    assert_eq!(statuses(&one, &two), [202, 409], "{}{}", one.body, two.body);
    let ip = json!({"label": "exit", "ip_address": address()});
    let (one, two) = tokio::join!(
        world.post("/v1/admin/egress-ips", ip.clone()),
        world.post("/v1/admin/egress-ips", ip)
    );
    assert_eq!(statuses(&one, &two), [201, 409]);
    let host = world.container(&world.user.user).await;
    let binding = json!({"host_id": host.id.to_string(), "egress_ip_id": world.egress_ip().await});
    let (one, two) = tokio::join!(
        world.post("/v1/admin/bindings", binding.clone()),
        world.post("/v1/admin/bindings", binding)
    );
    assert_eq!(statuses(&one, &two), [201, 409]);
}

pub(crate) async fn bodies_that_are_odd_are_refused(world: &World<'_>) {
    let raw = async |path: &str, body: &str, lines: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             {lines}\r\n",
            world.admin.token
        );
        http::raw(
            world.bed.http,
            world.bed.from,
            &[head.as_bytes(), body.as_bytes()].concat(),
        )
        .await
    };
    for body in [
        r#"{"username":"first","username":"second"}"#,
        r#"{"username":"\ud800xx"}"#,
        r#"{"username":12345678}"#,
        r#"{"username":"abc","expires_at":1e999}"#,
        "\u{1f}\u{8b}",
    ] {
        let length = format!("Content-Length: {}\r\n", body.len());
        let reply = raw(USERS, body, &length).await;
        refused(&reply, 400, "invalid request body");
    }
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{{\"label\":\"x\",\"proxy_config\":{{\"a\":{open}{close}}}}}");
    let length = format!("Content-Length: {}\r\n", deep.len());
    let reply = raw("/v1/admin/egress-ips", &deep, &length).await;
    refused(&reply, 400, "invalid request body");
    let chunk = format!("100001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x0010_0001));
    let reply = raw(USERS, &chunk, "Transfer-Encoding: chunked\r\n").await;
    refused(&reply, 413, "request body too large");
}
