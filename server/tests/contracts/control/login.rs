//! Sections 1 and 3.

use std::net::IpAddr;
use std::time::Instant;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use moorline_server::registry::model::Role;
use serde_json::{Value, json};

use crate::bed::past;
use crate::http;
use crate::world::{
    PASSWORD, World, done, is_lock, keys, person, person_until, refused, send, text,
};

const USERS: &str = "/v1/admin/users";
const KEYS: &str = "/v1/user/ssh-keys";

/// What a token says.
fn claims(token: &str) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "three parts");
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(parts[1].as_bytes())
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A token of the server's own secret that says something else.
fn signed(world: &World<'_>, claims: &Value) -> String {
    let secret = std::fs::read_to_string(world.bed.folder().join("jwt.key")).unwrap();
    let key = EncodingKey::from_secret(secret.trim().as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

pub(crate) async fn a_token_says_who_and_until_when(world: &World<'_>) {
    let reply = world.login(&world.admin.user.username, PASSWORD).await;
    assert!(reply.body.starts_with("{\"token\":\""), "{}", reply.body);
    let json = reply.json();
    assert_eq!(
        keys(&json),
        ["expires_in", "role", "short_id", "token", "username"]
    );
    assert_eq!(json["expires_in"], 86_400);
    let claims = claims(&text(&json, "token"));
    let id = world.admin.user.id.to_string();
    assert_eq!(claims["sub"], id);
    assert_eq!(claims["user_id"], id);
    assert_eq!(claims["role"], "admin");
    assert_eq!(claims["iss"], "moorline");
    let seconds = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(seconds("exp") - seconds("iat"), 86_400);
}

pub(crate) async fn both_paths_and_both_identifiers_log_in(world: &World<'_>) {
    let user = &world.user.user;
    for path in ["/v1/auth/login", "/v1/admin/login"] {
        for body in [
            json!({"username": user.username, "password": PASSWORD}),
            json!({"username": user.short_id, "password": PASSWORD}),
            json!({"short_id": user.short_id, "password": PASSWORD}),
        ] {
            let reply = world.ask("", "POST", path, &body).await;
            assert_eq!(reply.status, 200, "{body}");
            let json = reply.json();
            assert_eq!(text(&json, "username"), user.username);
            assert_eq!(text(&json, "short_id"), user.short_id);
            assert_eq!(text(&json, "role"), "user");
        }
        for body in [
            json!({}),
            json!({"username": "x"}),
            json!({"password": "x"}),
        ] {
            let reply = world.ask("", "POST", path, &body).await;
            refused(&reply, 400, "username and password are required");
        }
        let body = json!({"username": user.username, "password": "wrong"});
        let reply = world.ask("", "POST", path, &body).await;
        refused(&reply, 401, "invalid credentials");
    }
    let reply = world.login("nobody of this name", PASSWORD).await;
    refused(&reply, 401, "invalid credentials");
}

pub(crate) async fn what_is_no_good_token_is_401(world: &World<'_>) {
    let missing = "missing or invalid authorization header";
    refused(
        &world.ask("", "GET", USERS, &Value::Null).await,
        401,
        missing,
    );
    for header in ["Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer "] {
        let head = format!(
            "GET {USERS} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: {header}\r\n\r\n"
        );
        let reply = http::raw(world.bed.http, world.bed.from, head.as_bytes()).await;
        refused(&reply, 401, missing);
    }
    let own = claims(&world.admin.token);
    let with = |name: &str, value: Value| {
        let mut claims = own.clone();
        claims[name] = value;
        signed(world, &claims)
    };
    let good = signed(world, &own);
    assert_eq!(
        world.ask(&good, "GET", USERS, &Value::Null).await.status,
        200
    );
    let mut without_role = own.clone();
    without_role.as_object_mut().unwrap().remove("role");
    let token = signed(world, &without_role);
    let reply = world.ask(&token, "GET", USERS, &Value::Null).await;
    refused(&reply, 401, "token missing role claim, please re-login");
    let (head, _) = world.admin.token.rsplit_once('.').unwrap();
    let elsewhere = encode(
        &Header::new(Algorithm::HS256),
        &own,
        &EncodingKey::from_secret(b"another secret of more than 32 characters"),
    );
    for token in [
        "garbage".to_owned(),
        format!("{head}.AAAA"),
        elsewhere.unwrap(),
        with("exp", json!(1_700_000_000)),
        with("iss", json!("somebody else")),
        with("sub", json!(uuid::Uuid::new_v4().to_string())),
        with("sub", json!("not a UUID")),
        with("token_version", json!(99)),
    ] {
        let reply = world.ask(&token, "GET", USERS, &Value::Null).await;
        refused(&reply, 401, "invalid token");
    }
    // The role that counts is the one the user has, not the one the token says.
    let mut claims = claims(&world.user.token);
    claims["role"] = json!("admin");
    let token = signed(world, &claims);
    let reply = world.ask(&token, "GET", USERS, &Value::Null).await;
    refused(&reply, 403, "insufficient permissions");
}

pub(crate) async fn a_token_in_the_query_becomes_a_cookie(world: &World<'_>) {
    let token = &world.admin.token;
    let path = format!("{USERS}?token={token}");
    let reply = world.ask("", "GET", &path, &Value::Null).await;
    assert_eq!(reply.status, 200);
    let cookie = format!("admin_token={token}; Path=/v1/; HttpOnly; SameSite=Lax; Max-Age=86400");
    assert_eq!(reply.header("set-cookie"), Some(cookie.as_str()));
    let both = world.get(&format!("{USERS}?token=garbage")).await;
    assert_eq!(both.status, 200, "the header comes first");
    assert_eq!(both.header("set-cookie"), None);
    let path = format!("{USERS}?token=garbage");
    let wrong = world.ask("", "GET", &path, &Value::Null).await;
    refused(&wrong, 401, "invalid token");
    assert_eq!(wrong.header("set-cookie"), None);
    let body = json!({"username": world.user.user.username, "password": PASSWORD});
    let login = world
        .ask("", "POST", "/v1/auth/login?token=garbage", &body)
        .await;
    assert_eq!(login.status, 200);
    assert_eq!(login.header("set-cookie"), None, "a login plants no cookie");
    let head = format!(
        "GET {USERS} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nCookie: admin_token={token}\r\n\r\n"
    );
    let reply = http::raw(world.bed.http, world.bed.from, head.as_bytes()).await;
    let text = "missing or invalid authorization header";
    refused(&reply, 401, text);
}

pub(crate) async fn disabling_and_a_new_password_cut_tokens_at_once(world: &World<'_>) {
    let path = format!("{USERS}/{}", world.user.user.id);
    let own = async |token: &str| world.ask(token, "GET", KEYS, &Value::Null).await;
    assert_eq!(own(&world.user.token).await.status, 200);
    let reply = world.patch(&path, json!({"status": "disabled"})).await;
    assert_eq!(reply.status, 200);
    refused(&own(&world.user.token).await, 403, "account is not active");
    let reply = world.patch(&path, json!({"status": "active"})).await;
    assert_eq!(reply.json()["user"]["status"], "active");
    refused(&own(&world.user.token).await, 401, "invalid token");
    let again = world.login(&world.user.user.username, PASSWORD).await;
    let token = text(&again.json(), "token");
    assert_eq!(own(&token).await.status, 200);
    let rotate = format!("{path}/rotate-password");
    let reply = world.post(&rotate, Value::Null).await;
    let password = text(&reply.json(), "new_password");
    refused(&own(&token).await, 401, "invalid token");
    let again = world.login(&world.user.user.username, &password).await;
    let token = text(&again.json(), "token");
    done(&world.delete(&path).await);
    refused(&own(&token).await, 401, "invalid token");
}

pub(crate) async fn who_is_not_active_is_told_after_the_right_password(world: &World<'_>) {
    let disabled = person(world.bed, world.bed.account, Role::User).await.user;
    let path = format!("{USERS}/{}", disabled.id);
    world.patch(&path, json!({"status": "disabled"})).await;
    let late = person_until(world.bed, world.bed.account, Role::User, Some(past())).await;
    for user in [disabled, late] {
        let reply = world.login(&user.username, PASSWORD).await;
        refused(&reply, 403, "account is not active");
        let reply = world.login(&user.username, "wrong").await;
        refused(&reply, 401, "invalid credentials");
    }
    let reasons: Vec<String> = world
        .events("type=auth.failed")
        .await
        .iter()
        .map(|event| text(&event["metadata"], "reason"))
        .collect();
    let expected = [
        "invalid_credentials",
        "account_expired",
        "invalid_credentials",
        "account_disabled",
    ];
    assert_eq!(reasons, expected, "newest first");
}

pub(crate) async fn ten_wrong_passwords_a_minute_lock_user_and_address(world: &World<'_>) {
    const TEXT: &str = "too many attempts, try again later";
    let victim = person(world.bed, world.bed.account, Role::User).await;
    let elsewhere = |last: u8| IpAddr::from([127, 1, 0, last]);
    let wrong = json!({"username": victim.user.username, "password": "wrong"});
    let right = json!({"username": victim.user.username, "password": PASSWORD});
    // Over login and change-password together.
    let change = json!({"old_password": "wrong", "new_password": "another one"});
    let (since, mut failures) = (Instant::now(), 0);
    loop {
        let (token, path, body) = if failures % 2 == 0 {
            ("", "/v1/auth/login", &wrong)
        } else {
            (victim.token.as_str(), "/v1/user/change-password", &change)
        };
        let reply = send(world.bed, elsewhere(1), token, ("POST", path), body).await;
        if reply.status == 429 {
            break;
        }
        assert_eq!(reply.status, 401, "{failures} before: {}", reply.body);
        failures += 1;
        assert!(failures < 60, "there is no lock");
    }
    assert!(is_lock(failures, since), "{failures}");
    let at = async |last: u8, body: &Value| {
        send(
            world.bed,
            elsewhere(last),
            "",
            ("POST", "/v1/auth/login"),
            body,
        )
        .await
    };
    let reply = at(2, &right).await;
    refused(&reply, 429, TEXT);
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    let other = json!({"username": world.user.user.username, "password": PASSWORD});
    refused(&at(1, &other).await, 429, TEXT);
    assert_eq!(at(2, &other).await.status, 200);
}
