//! Sections 1 to 5: login, health, users, keys.

use std::time::Instant;

use harness::{ADMIN_PASSWORD, ADMIN_USER, KeyPair, run};
use tempfile::TempDir;

use super::walk::Walk;

/// Nobody has it.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

pub(super) fn login_and_health(walk: &mut Walk) {
    walk.know("admin_password", ADMIN_PASSWORD);
    walk.know("nobody", NOBODY);
    assert_eq!(ADMIN_USER, "admin");
    let logged_in = r#"{"token":"<jwt>","role":"admin","username":"admin","short_id":"admin","expires_in":86400}"#;
    let required = "username and password are required";
    walk.rows(&[
        (
            "GET",
            "/healthz",
            "",
            200,
            r#"{"status":"ok","checks":{"database":"ok","agent":"ok"},"tunnels":<number>}"#,
        ),
        (
            "POST",
            "/v1/auth/login",
            r#"{"username":"admin","password":"<admin_password>"}"#,
            200,
            &logged_in.replace("<jwt>", "<jwt:admin_token>"),
        ),
        (
            "POST",
            "/v1/admin/login",
            r#"{"short_id":"admin","password":"<admin_password>"}"#,
            200,
            logged_in,
        ),
        (
            "POST",
            "/v1/auth/login",
            r#"{"username":"admin"}"#,
            400,
            required,
        ),
        (
            "POST",
            "/v1/auth/login",
            r#"{"username":" ","password":"x"}"#,
            400,
            required,
        ),
        ("POST", "/v1/auth/login", "{}", 400, required),
        ("POST", "/v1/auth/login", "{", 400, "invalid request body"),
        (
            "POST",
            "/v1/auth/login",
            r#"{"username":"a\u0000b","password":"x"}"#,
            400,
            "invalid request body",
        ),
        (
            "POST",
            "/v1/auth/login",
            r#"{"username":"admin","password":"wrong"}"#,
            401,
            "invalid credentials",
        ),
        (
            "POST",
            "/v1/auth/login",
            r#"{"username":"nobody","password":"wrong"}"#,
            401,
            "invalid credentials",
        ),
        (
            "GET",
            "/v1/admin/users",
            "",
            401,
            "missing or invalid authorization header",
        ),
        (
            "GET",
            "/v1/user/hosts",
            "",
            401,
            "missing or invalid authorization header",
        ),
        (
            "GET",
            "/v1/admin/users?token=x.y.z",
            "",
            401,
            "invalid token",
        ),
    ]);
    let by_query = walk.ask(
        "GET",
        "/v1/admin/dashboard/stats?token=<admin_token>",
        "",
        &[],
    );
    assert_eq!(by_query.status, 200, "{}", by_query.body);
    let cookie =
        walk.filled("admin_token=<admin_token>; Path=/v1/; HttpOnly; SameSite=Lax; Max-Age=86400");
    assert_eq!(by_query.header("set-cookie"), Some(cookie.as_str()));
    let header = walk.filled("Cookie: admin_token=<admin_token>");
    let by_cookie = walk.ask("GET", "/v1/admin/dashboard/stats", "", &["-H", &header]);
    assert_eq!(by_cookie.status, 401, "cookies are for desktops");
    // The same letters with a backslash of their own are a name like any other.
    let letters = r#"{"username":"a\\u0000b","password":"x"}"#;
    let from = ["--interface", "127.0.0.76"];
    let answer = walk.ask("POST", "/v1/auth/login", letters, &from);
    assert_eq!(answer.status, 401, "{}", answer.body);
    // The failures of a source address are counted together; the eleventh within a minute is not looked at.
    let from = ["--interface", "127.0.0.77"];
    let (since, mut failures) = (Instant::now(), 0);
    for (path, name) in [
        ("/v1/auth/login", "username"),
        ("/v1/bootstrap/sessions", "username"),
        ("/v1/entry/none/auth", "id"),
    ]
    .into_iter()
    .cycle()
    .take(59)
    {
        let body = format!(r#"{{"{name}":"guess{failures}","password":"wrong"}}"#);
        match walk.ask("POST", path, &body, &from).status {
            429 => break,
            status => assert_eq!(status, 401, "{failures}"),
        }
        failures += 1;
    }
    // One of them is forgotten every six seconds.
    let most = 10 + since.elapsed().as_secs() / 6;
    assert!((10..=most).contains(&failures), "{failures}");
    let body = r#"{"username":"admin","password":"<admin_password>"}"#;
    let locked = walk.ask("POST", "/v1/auth/login", body, &from);
    assert_eq!(
        (locked.status, locked.body.as_str()),
        (429, "{\"error\":\"too many attempts, try again later\"}\n")
    );
    let wait: u32 = locked.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 0, "{wait}");
    let locked = walk.ask("POST", "/v1/bootstrap/sessions", body, &from);
    assert_eq!(
        (locked.status, locked.body.as_str()),
        (
            429,
            "{\"error_code\":\"too_many_attempts\",\"message\":\"too many attempts, try again later\"}\n"
        )
    );
}

pub(super) fn users(walk: &mut Walk) {
    walk.carry("admin_token");
    let user = |id: &str, name: &str, status: &str, more: &str| {
        format!(
            r#"{{"id":"{id}","username":"{name}","status":"{status}","role":"user","short_id":"<short:{name}_short>"{more},"created_at":"<time>","updated_at":"<time>"}}"#
        )
    };
    let never = r#","expires_at":"2999-01-01T00:00:00Z""#;
    let anna = |status: &str, more: &str| user("<uuid:anna>", "anna", status, more);
    let bert = user("<uuid:bert>", "bert", "active", never);
    let in_envelope = |user: &str| format!(r#"{{"user":{user}}}"#);
    let (x51, x129) = ("x".repeat(51), "x".repeat(129));
    let named = |name: &str, more: &str| format!(r#"{{"username":"{name}"{more}}}"#);
    let (length, login, future) = (
        "username must be 3-50 characters",
        "login password must be 8-128 characters",
        "expires_at must be in the future",
    );
    let format = "expires_at must be RFC3339 format";
    const USERS: &str = "/v1/admin/users";
    walk.rows(&[
        ("POST", USERS, r#"{"username":"  anna ","password":"Annas first one","no such":1}"#, 201, &format!(r#"{{"user":{},"short_id":"<short:anna_short>","password":"Annas first one"}}"#, anna("active", ""))),
        ("POST", USERS, r#"{"username":"bert","expires_at":"2999-01-01T00:00:00Z"}"#, 201, &format!(r#"{{"user":{bert},"short_id":"<short:bert_short>","password":"<password>"}}"#)),
        ("POST", USERS, "{}", 400, length),
        ("POST", USERS, &named("ab ", ""), 400, length),
        ("POST", USERS, &named(&x51, ""), 400, length),
        ("POST", USERS, &named("carl", r#","password":"short""#), 400, login),
        ("POST", USERS, &named("carl", &format!(r#","password":"{x129}""#)), 400, login),
        ("POST", USERS, &named("carl", r#","expires_at":"tomorrow""#), 400, format),
        ("POST", USERS, &named("carl", r#","expires_at":"2001-01-01T00:00:00Z""#), 400, future),
        ("POST", USERS, &named("anna", ""), 409, "username already exists"),
        ("POST", USERS, r#"["anna"]"#, 400, "invalid request body"),
        ("GET", USERS, "", 200, &format!(r#"{{"users":[{bert},{},{{"id":"<uuid:admin>","username":"admin","status":"active","role":"admin","short_id":"admin","created_at":"<time>","updated_at":"<time>"}}]}}"#, anna("active", ""))),
        ("GET", "/v1/admin/users/<anna>", "", 200, &format!(r#"{{"user":{},"hosts":[]}}"#, anna("active", ""))),
        ("PATCH", "/v1/admin/users/<anna>", r#"{"status":"disabled"}"#, 200, &in_envelope(&anna("disabled", ""))),
        ("POST", "/v1/auth/login", r#"{"username":"anna","password":"Annas first one"}"#, 403, "account is not active"),
        ("POST", "/v1/auth/login", r#"{"username":"anna","password":"not that one"}"#, 401, "invalid credentials"),
        ("PATCH", "/v1/admin/users/<anna>", r#"{"status":"expired"}"#, 400, "status must be active or disabled"),
        ("PATCH", "/v1/admin/users/<anna>", "{}", 400, "status must be active or disabled"),
        ("PATCH", "/v1/admin/users/<anna>", r#"{"status":"active"}"#, 200, &in_envelope(&anna("active", ""))),
        ("PATCH", "/v1/admin/users/<admin>", r#"{"status":"disabled"}"#, 409, "cannot disable the last admin"),
        ("DELETE", "/v1/admin/users/<admin>", "", 409, "cannot delete the last admin"),
        ("POST", "/v1/admin/users/<anna>/rotate-password", "", 200, r#"{"new_password":"<password>"}"#),
        ("POST", "/v1/admin/users/<anna>/rotate-password", r#"{"new_password":" "}"#, 200, r#"{"new_password":"<password>"}"#),
        ("POST", "/v1/admin/users/<anna>/rotate-password", r#"{"new_password":"seven c"}"#, 400, login),
        ("POST", "/v1/admin/users/<anna>/rotate-password", r#"{"new_password":"Annas second one"}"#, 200, r#"{"new_password":"Annas second one"}"#),
        ("PUT", "/v1/admin/users/<anna>/expiry", r#"{"expires_at":"2999-01-01T00:00:00Z"}"#, 200, &in_envelope(&anna("active", never))),
        ("PUT", "/v1/admin/users/<anna>/expiry", r#"{"expires_at":null}"#, 200, &in_envelope(&anna("active", ""))),
        ("PUT", "/v1/admin/users/<anna>/expiry", r#"{"expires_at":"soon"}"#, 400, format),
        ("PUT", "/v1/admin/users/<anna>/expiry", r#"{"expires_at":"2001-01-01T00:00:00Z"}"#, 400, future),
        ("DELETE", "/v1/admin/users/<bert>", "", 204, ""),
        ("POST", "/v1/auth/login", r#"{"short_id":"<anna_short>","password":"Annas second one"}"#, 200, r#"{"token":"<jwt:anna_token>","role":"user","username":"anna","short_id":"<anna_short>","expires_in":86400}"#),
    ]);
    for id in ["<bert>", "<nobody>", "nonsense", "%FF", "%00"] {
        let path = format!("{USERS}/{id}");
        for (method, more, body) in [
            ("GET", "", ""),
            ("PATCH", "", r#"{"status":"active"}"#),
            ("DELETE", "", ""),
            ("POST", "/rotate-password", ""),
            ("PUT", "/expiry", r#"{"expires_at":null}"#),
            ("GET", "/ssh-keys", ""),
            ("POST", "/ssh-keys", r#"{"public_key":"x"}"#),
            ("POST", "/ssh-keys/generate", ""),
            ("DELETE", "/ssh-keys/<nobody>", ""),
        ] {
            walk.row((
                method,
                &format!("{path}{more}"),
                body,
                404,
                "user not found",
            ));
        }
    }
}

pub(super) fn keys(walk: &mut Walk) {
    let folder = TempDir::new().unwrap();
    let pair = KeyPair::make(&folder.path().join("own"));
    let other = KeyPair::make(&folder.path().join("other"));
    let words = |pair: &KeyPair| {
        pair.public()
            .split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let secret = |pair: &KeyPair| {
        std::fs::read_to_string(pair.private_file())
            .unwrap()
            .replace('\n', "\\n")
    };
    let told = run(std::process::Command::new("ssh-keygen")
        .arg("-lf")
        .arg(pair.public_file()))
    .ok();
    for (name, value) in [
        ("public", words(&pair)),
        ("public_comment", pair.public().trim().to_owned()),
        ("other_public", words(&other)),
        ("other_private", secret(&other)),
        ("fingerprint", told.split(' ').nth(1).unwrap().to_owned()),
    ] {
        walk.know(name, &value);
    }
    let key = |id: &str, purpose: &str, label: &str, public: &str, fingerprint: &str| {
        format!(
            r#"{{"id":"<uuid:{id}>","user_id":"<anna>","purpose":"{purpose}","label":"{label}","public_key":"{public}","key_type":"ed25519","fingerprint":"{fingerprint}","created_at":"<time>","source":"managed","synced":true}}"#
        )
    };
    let first = key("key", "inbound", "test", "<public>", "<fingerprint>");
    let second = key(
        "made",
        "outbound",
        "way out",
        "<text:made_public>",
        "SHA256:<text>",
    );
    let third = key(
        "own",
        "inbound",
        "mine",
        "<text:own_public>",
        "SHA256:<text>",
    );
    let in_envelope = |key: &str| format!(r#"{{"key":{key}}}"#);
    for (root, token) in [
        ("/v1/admin/users/<anna>/ssh-keys", "admin_token"),
        ("/v1/user/ssh-keys", "anna_token"),
    ] {
        walk.carry(token);
        let generate = format!("{root}/generate");
        let one = format!("{root}/<key>");
        walk.rows(&[
            ("GET", root, "", 200, r#"{"keys":[]}"#),
            ("POST", root, "{}", 400, "public_key is required"),
            ("POST", root, r#"{"public_key":"ssh-ed25519 AAAA"}"#, 400, "public_key is invalid"),
            ("POST", root, r#"{"public_key":"<public>","purpose":"sideways"}"#, 400, "purpose must be inbound or outbound"),
            ("POST", root, r#"{"public_key":"<public>","purpose":"outbound","private_key":"<other_private>"}"#, 400, "private_key does not match public_key"),
            ("POST", root, r#"{"public_key":"<public_comment>"}"#, 201, &in_envelope(&first)),
            ("POST", root, r#"{"public_key":"<public>"}"#, 409, "ssh key already exists"),
            ("POST", root, r#"{"purpose":"outbound","label":"way out"}"#, 201, &in_envelope(&second)),
            ("POST", &generate, r#"{"key_type":"dsa"}"#, 400, "key_type must be ed25519 or rsa"),
            ("POST", &generate, r#"{"purpose":"sideways"}"#, 400, "purpose must be inbound or outbound"),
            ("POST", &generate, r#"{"label":"mine"}"#, 200, &format!(r#"{{"key":{third},"public_key":"<text:own_public>","private_key":"-----BEGIN OPENSSH PRIVATE KEY-----\n<text>\n-----END OPENSSH PRIVATE KEY-----\n","key_type":"ed25519"}}"#)),
            ("GET", root, "", 200, &format!(r#"{{"keys":[{first},{second},{third}]}}"#)),
            ("DELETE", &one, "", 204, ""),
            ("DELETE", &one, "", 404, "ssh key not found"),
            ("DELETE", &format!("{root}/nonsense"), "", 404, "ssh key not found"),
            ("DELETE", &format!("{root}/<made>"), "", 204, ""),
            ("DELETE", &format!("{root}/<own>"), "", 204, ""),
        ]);
        for name in ["key", "made", "own", "made_public", "own_public"] {
            walk.forget(name);
        }
    }
}
