//! The calls of the CLI, the login and what the server says of itself, over real HTTP.

mod forwards;
mod sessions;

use std::net::IpAddr;

use crate::bed::{self, Bed};
use crate::http::{self, Reply};
use moorline_protocol::Secret;
use moorline_server::config::file::ConfigFile;
use moorline_server::config::{Config, Overrides};
use moorline_server::passwords::Passwords;
use moorline_server::registry::model::{AccountId, NewUser, Role};
use moorline_server::serve::{ServeError, serve};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct horse";

/// Makes a user with [`PASSWORD`].
async fn user(bed: &Bed, account: AccountId, name: &str, role: Role) -> NewUser {
    let hash = Passwords::new().await.unwrap();
    let hash = hash.hash(Secret::new(PASSWORD.into())).await.unwrap();
    let new = NewUser {
        account,
        username: name.into(),
        role,
        password_hash: hash,
        expires_at: None,
        short_id: Some(format!("{name}-id")),
    };
    bed.registry.create_user(new.clone()).await.unwrap();
    new
}

async fn ask(bed: &Bed, token: &str, method: &str, path: &str, body: Value) -> Reply {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
    );
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    http::raw(bed.http, bed.from, whole.as_bytes()).await
}

async fn login(bed: &Bed, from: IpAddr, body: Value) -> Reply {
    let body = body.to_string();
    let path = "/v1/auth/login";
    http::send(
        bed.http,
        from,
        "POST",
        path,
        Some("application/json"),
        body.as_bytes(),
    )
    .await
}

async fn token(bed: &Bed, name: &str) -> String {
    let reply = login(
        bed,
        bed.from,
        json!({"username": name, "password": PASSWORD}),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["token"].as_str().unwrap().to_owned()
}

fn refused(reply: &Reply, status: u16, text: &str) {
    assert_eq!(reply.body, format!("{{\"error\":\"{text}\"}}\n"));
    assert_eq!(reply.status, status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_calls_keep_their_contract() {
    let mut bed = Bed::on_sqlite().await;
    bed.turn_page("operators").await;
    user(&bed, bed.account, "anna", Role::Admin).await;
    user(&bed, bed.account, "udo", Role::User).await;
    the_login_gives_a_token(&bed).await;
    tokens_and_roles_are_checked(&bed).await;
    devices_are_seen_and_changed(&bed).await;
    sessions::sessions_and_nodes_are_seen(&bed).await;
    forwards::forwards_are_added_shown_and_removed(&bed).await;
    forwards::forwards_are_for_administrators_of_the_account(&bed).await;
    api_keys_are_made_and_revoked(&bed).await;
    ssh_keys_are_kept(&bed).await;
    the_server_speaks_of_itself(&bed).await;
    failed_passwords_are_limited(&bed).await;
    bed.stop().await;
}

async fn the_login_gives_a_token(bed: &Bed) {
    for identifier in [
        json!({"username": "anna"}),
        json!({"short_id": "anna-id"}),
        json!({"username": "anna-id"}),
    ] {
        let mut body = identifier;
        body["password"] = PASSWORD.into();
        let reply = login(bed, bed.from, body).await;
        assert!(reply.body.starts_with("{\"token\":\"") && reply.body.ends_with("}\n"));
        let json = reply.json();
        assert_eq!(json["role"], "admin");
        assert_eq!(
            (json["username"].as_str(), json["expires_in"].as_u64()),
            (Some("anna"), Some(86400))
        );
    }
    for body in [
        json!({}),
        json!({"username": "anna"}),
        json!({"password": "x"}),
        json!({"username": " ", "password": "x"}),
    ] {
        refused(
            &login(bed, bed.from, body).await,
            400,
            "username and password are required",
        );
    }
    let reply = http::send(bed.http, bed.from, "POST", "/v1/admin/login", None, b"{").await;
    refused(&reply, 400, "invalid request body");
    for name in ["anna", "nobody"] {
        let reply = login(
            bed,
            bed.from,
            json!({"username": name, "password": "wrong"}),
        )
        .await;
        refused(&reply, 401, "invalid credentials");
    }
    let late = NewUser {
        username: "late".into(),
        short_id: None,
        expires_at: Some(bed::past()),
        ..user(bed, bed.account, "template", Role::User).await
    };
    bed.registry.create_user(late).await.unwrap();
    let reply = login(
        bed,
        bed.from,
        json!({"username": "late", "password": PASSWORD}),
    )
    .await;
    refused(&reply, 403, "account is not active");
    let large = format!("{{\"username\":\"{}\"}}", "x".repeat(1024 * 1024));
    let reply = http::send(
        bed.http,
        bed.from,
        "POST",
        "/v1/auth/login",
        None,
        large.as_bytes(),
    )
    .await;
    refused(&reply, 413, "request body too large");
}

async fn tokens_and_roles_are_checked(bed: &Bed) {
    let path = "/v1/admin/devices";
    let reply = http::send(bed.http, bed.from, "GET", path, None, b"").await;
    refused(&reply, 401, "missing or invalid authorization header");
    refused(
        &ask(bed, "x.y.z", "GET", path, Value::Null).await,
        401,
        "invalid token",
    );
    let udo = token(bed, "udo").await;
    for (method, path) in [
        ("GET", "/v1/admin/devices"),
        ("GET", "/v1/admin/devices/x"),
        ("PATCH", "/v1/admin/devices/x"),
        ("DELETE", "/v1/admin/devices/x"),
        ("GET", "/v1/admin/api-keys"),
        ("POST", "/v1/admin/api-keys"),
        ("DELETE", "/v1/admin/api-keys/x"),
        ("GET", "/v1/admin/users/x/ssh-keys"),
        ("POST", "/v1/admin/users/x/ssh-keys"),
    ] {
        refused(
            &ask(bed, &udo, method, path, json!({})).await,
            403,
            "insufficient permissions",
        );
    }
    assert_eq!(
        ask(bed, &udo, "GET", "/v1/user/ssh-keys", Value::Null)
            .await
            .status,
        200
    );
    let anna = token(bed, "anna").await;
    let target = format!("/v1/admin/devices?token={anna}");
    let reply = http::send(bed.http, bed.from, "GET", &target, None, b"").await;
    let cookie = reply.header("set-cookie").unwrap();
    assert_eq!(
        cookie,
        format!("admin_token={anna}; Path=/v1/; HttpOnly; SameSite=Lax; Max-Age=86400")
    );
    let template = bed
        .registry
        .user_by_login("template")
        .await
        .unwrap()
        .unwrap();
    let old = token(bed, "template").await;
    let hash = template.password_hash.clone();
    bed.registry
        .set_password_hash(template.id, hash)
        .await
        .unwrap();
    let reply = ask(bed, &old, "GET", "/v1/gateway", Value::Null).await;
    refused(&reply, 401, "invalid token");
    let reply = http::send(bed.http, bed.from, "GET", "/v1/auth/login", None, b"").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    let reply = ask(bed, &anna, "GET", "/v1/users", Value::Null).await;
    assert_eq!(
        (reply.status, reply.body.trim()),
        (404, "404 page not found")
    );
}

async fn devices_are_seen_and_changed(bed: &Bed) {
    let anna = token(bed, "anna").await;
    let id = bed
        .device(&[("name", "kiln"), ("hardware", r#"{"model":"m","cores":4}"#)])
        .await;
    bed.device(&[("name", "cam1")]).await;
    let list = ask(
        bed,
        &anna,
        "GET",
        "/v1/admin/devices?prefix=ki",
        Value::Null,
    )
    .await
    .json();
    assert_eq!(
        (list["total"].as_u64(), list["devices"][0]["id"].as_str()),
        (Some(1), Some(id.as_str()))
    );
    let list = ask(
        bed,
        &anna,
        "GET",
        "/v1/admin/devices?limit=1&offset=1",
        Value::Null,
    )
    .await
    .json();
    assert_eq!(
        (
            list["total"].as_u64(),
            list["devices"].as_array().unwrap().len()
        ),
        (Some(2), 1)
    );
    for name in ["kiln", "KILN", &id] {
        let path = format!("/v1/admin/devices/{name}");
        let device = &ask(bed, &anna, "GET", &path, Value::Null).await.json()["device"];
        assert_eq!(device["name"], "kiln");
        assert_eq!(
            (
                device["online"].as_bool(),
                device["offline_reason"].as_str()
            ),
            (Some(false), Some("never seen"))
        );
        assert_eq!(device["hardware"], json!({"model": "m", "cores": "4"}));
        assert_eq!(device["forwards"][0]["device_port"], 22);
    }
    let path = "/v1/admin/devices/kiln";
    let change = json!({"name": "oven", "state": "blocked", "max_connections_per_minute": 7});
    let device = &ask(bed, &anna, "PATCH", path, change).await.json()["device"];
    assert_eq!(
        (device["name"].as_str(), device["state"].as_str()),
        (Some("oven"), Some("blocked"))
    );
    assert_eq!(
        (
            device["max_connections_per_minute"].as_u64(),
            device["offline_reason"].as_str()
        ),
        (Some(7), Some("blocked"))
    );
    assert_eq!(
        bed.code("client_status", &[("client_id", &id)]).await,
        23,
        "blocked everywhere at once"
    );
    let path = "/v1/admin/devices/oven";
    let reply = ask(bed, &anna, "PATCH", path, json!({"name": "CAM1"})).await;
    refused(&reply, 409, "name is already in use");
    let reply = ask(bed, &anna, "PATCH", path, json!({"name": "-"})).await;
    refused(
        &reply,
        400,
        "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
    );
    let reply = ask(bed, &anna, "PATCH", path, json!({"state": "gone"})).await;
    refused(&reply, 400, "invalid request body");
    let stranger = bed.registry.create_account("operators-2").await.unwrap().id;
    user(bed, stranger, "eve", Role::Admin).await;
    let eve = token(bed, "eve").await;
    for name in ["oven", &id, "nothing"] {
        for method in ["GET", "PATCH", "DELETE"] {
            let path = format!("/v1/admin/devices/{name}");
            refused(
                &ask(bed, &eve, method, &path, json!({})).await,
                404,
                "device not found",
            );
        }
    }
    assert_eq!(
        ask(bed, &anna, "DELETE", path, Value::Null).await.status,
        204
    );
    refused(
        &ask(bed, &anna, "DELETE", path, Value::Null).await,
        404,
        "device not found",
    );
}

async fn api_keys_are_made_and_revoked(bed: &Bed) {
    let anna = token(bed, "anna").await;
    let path = "/v1/admin/api-keys";
    let wish = json!({"name": "line-3", "scope": ["device:read"], "prefix": "cam", "uses": 5, "region": "local"});
    let reply = ask(bed, &anna, "POST", path, wish).await;
    assert_eq!(reply.status, 201);
    let made = reply.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert_eq!(made["api_key"]["rate_limit"], 600);
    assert_eq!(
        bed.bare("device_list", &[("api_key", &secret)])
            .await
            .status,
        200
    );
    let list = ask(bed, &anna, "GET", path, Value::Null).await;
    assert!(list.body.contains("\"line-3\"") && !list.body.contains(&secret));
    for (wish, text) in [
        (
            json!({"name": "3"}),
            "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -, first a letter",
        ),
        (
            json!({"name": "x", "scope": ["device:*"]}),
            "scope is unknown",
        ),
        (
            json!({"name": "x", "rate_limit": 0}),
            "rate_limit must be a number from 1 to 1000000, or -1",
        ),
        (
            json!({"name": "x", "uses": 0}),
            "uses must be a number from 1",
        ),
        (
            json!({"name": "x", "region": "nowhere"}),
            "region is unknown",
        ),
        (
            json!({"name": "x", "expires_at": "soon"}),
            "expires_at must be RFC3339 format",
        ),
        (
            json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
            "expires_at must be in the future",
        ),
    ] {
        refused(&ask(bed, &anna, "POST", path, wish).await, 400, text);
    }
    let reply = ask(bed, &anna, "POST", path, json!({"name": "LINE-3"})).await;
    refused(&reply, 409, "name is already in use");
    let path = "/v1/admin/api-keys/line-3";
    assert_eq!(
        ask(bed, &anna, "DELETE", path, Value::Null).await.status,
        204
    );
    refused(
        &ask(bed, &anna, "DELETE", path, Value::Null).await,
        404,
        "api key not found",
    );
    assert_eq!(
        bed.bare("device_list", &[("api_key", &secret)])
            .await
            .verdict()
            .0,
        32
    );
}

async fn ssh_keys_are_kept(bed: &Bed) {
    let (anna, udo) = (token(bed, "anna").await, token(bed, "udo").await);
    let path = "/v1/user/ssh-keys";
    let public = bed::public_key();
    let reply = ask(
        bed,
        &udo,
        "POST",
        path,
        json!({"public_key": format!("{public} udo@desk")}),
    )
    .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let key = reply.json()["key"].clone();
    assert_eq!(
        (key["label"].as_str(), key["key_type"].as_str()),
        (Some("udo@desk"), Some("ed25519"))
    );
    assert!(key["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(key["public_key"], public.as_str());
    let reply = ask(bed, &udo, "POST", path, json!({"public_key": public})).await;
    refused(&reply, 409, "ssh key already exists");
    refused(
        &ask(bed, &udo, "POST", path, json!({})).await,
        400,
        "public_key is required",
    );
    let bad = json!({"public_key": "ssh-dss x"});
    refused(
        &ask(bed, &udo, "POST", path, bad).await,
        400,
        "public_key is invalid",
    );
    let bad = json!({"public_key": public, "purpose": "both"});
    refused(
        &ask(bed, &udo, "POST", path, bad).await,
        400,
        "purpose must be inbound or outbound",
    );
    let owner = key["user_id"].as_str().unwrap();
    let as_admin = format!("/v1/admin/users/{owner}/ssh-keys");
    let list = ask(bed, &anna, "GET", &as_admin, Value::Null).await.json();
    assert_eq!(list["keys"][0]["id"], key["id"]);
    let eve = token(bed, "eve").await;
    refused(
        &ask(bed, &eve, "GET", &as_admin, Value::Null).await,
        404,
        "user not found",
    );
    let one = format!("{path}/{}", key["id"].as_str().unwrap());
    refused(
        &ask(bed, &anna, "DELETE", &one, Value::Null).await,
        404,
        "ssh key not found",
    );
    assert_eq!(
        ask(bed, &udo, "DELETE", &one, Value::Null).await.status,
        204
    );
    refused(
        &ask(bed, &udo, "DELETE", &one, Value::Null).await,
        404,
        "ssh key not found",
    );
    let list = ask(bed, &udo, "GET", path, Value::Null).await;
    assert_eq!(list.body, "{\"keys\":[]}\n");
}

async fn the_server_speaks_of_itself(bed: &Bed) {
    let get = async |path: &str| http::send(bed.http, bed.from, "GET", path, None, b"").await;
    let health = get("/healthz").await;
    let expected =
        "{\"status\":\"ok\",\"checks\":{\"database\":\"ok\",\"agent\":\"ok\"},\"tunnels\":0}\n";
    assert_eq!((health.status, health.body.as_str()), (200, expected));
    assert!(get("/metrics").await.body.contains("moorline_tunnels 0"));
    assert!(get("/openapi.json").await.json()["paths"]["/init/api/create_new_client"].is_object());
    assert_eq!(get("/").await.status, 404);
    let udo = token(bed, "udo").await;
    let gateway = ask(bed, &udo, "GET", "/v1/gateway", Value::Null)
        .await
        .json();
    let node = bed.node().await;
    assert_eq!(
        gateway,
        json!({"host": node.public_host, "port": node.ssh_port, "host_key": node.host_key})
    );
}

async fn failed_passwords_are_limited(bed: &Bed) {
    let wrong = json!({"username": "udo", "password": "wrong"});
    let right = json!({"username": "udo", "password": PASSWORD});
    let (one, two) = (IpAddr::from([127, 0, 2, 1]), IpAddr::from([127, 0, 2, 2]));
    let mut failures = 0;
    while login(bed, one, wrong.clone()).await.status == 401 {
        failures += 1;
        assert!(failures < 60, "10 a minute");
    }
    assert!(failures >= 10, "{failures}");
    let reply = login(bed, one, json!({"username": "anna", "password": PASSWORD})).await;
    refused(&reply, 429, "too many attempts, try again later");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
    assert_eq!(
        login(bed, two, right).await.status,
        429,
        "the user, from anywhere"
    );
    let other = json!({"username": "anna", "password": PASSWORD});
    assert_eq!(login(bed, two, other).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_stays_off_the_data_folder() {
    let bed = Bed::on_sqlite().await;
    let overrides = Overrides {
        data_dir: Some(bed.folder().to_owned()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ssh: vec!["127.0.0.1:0".parse().unwrap()],
        ..Overrides::default()
    };
    let config = Config::combine(ConfigFile::default(), overrides).unwrap();
    let second = serve(config, CancellationToken::new()).await;
    assert!(matches!(second, Err(ServeError::DataDirInUse(_))));
    let listening = bed.folder().join("listening.json");
    assert!(listening.exists());
    bed.stop().await;
    assert!(!listening.exists());
}
