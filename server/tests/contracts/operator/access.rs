//! `/v1/auth/login`, and what a token opens.

use std::net::IpAddr;

use moorline_server::registry::model::{NewUser, Role};
use serde_json::{Value, json};

use super::{PASSWORD, ask, login, refused, token, user};
use crate::bed::{self, Bed};
use crate::http;

pub(crate) async fn the_login_gives_a_token(bed: &Bed) {
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

pub(crate) async fn tokens_and_roles_are_checked(bed: &Bed) {
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

pub(crate) async fn failed_passwords_are_limited(bed: &Bed) {
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
