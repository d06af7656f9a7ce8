//! Defaults, limits and claims: what the tables of the contract say in passing.

use std::process::Command;

use harness::run;
use serde_json::Value;

use super::walk::Walk;

/// `ADMIN_JWT_SECRET` of the server.
pub(super) const JWT_SECRET: &str = "a secret of thirty-two characters and more";
const USERS: &str = "/v1/admin/users";
const HOSTS: &str = "/v1/admin/hosts";
const IPS: &str = "/v1/admin/egress-ips";

/// What a client can do who reads tokens, and one who makes them.
const TOKENS: &str = r#"
import base64, hashlib, hmac, json, sys
secret, token, changes = sys.argv[1:4]
def parts(text): return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
def text(value): return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
head, claims = (parts(part) for part in token.split(".")[:2])
if not changes:
    print(json.dumps({"head": head, "claims": claims}))
    sys.exit()
for name, value in json.loads(changes).items():
    if value is None: claims.pop(name)
    else: claims[name] = value
signed = text(head) + "." + text(claims)
mark = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
print(signed + "." + base64.urlsafe_b64encode(mark).rstrip(b"=").decode(), end="")
"#;

fn python(secret: &str, token: &str, changes: &str) -> String {
    run(Command::new("python3").args(["-c", TOKENS, secret, token, changes])).ok()
}

/// Section 1: what is in a token, and which are refused in which words.
pub(super) fn tokens(walk: &mut Walk) {
    let token = walk.known("admin_token").to_owned();
    let read: Value = serde_json::from_str(&python(JWT_SECRET, &token, "")).unwrap();
    let claims = &read["claims"];
    assert_eq!(read["head"]["alg"], "HS256");
    assert_eq!(
        (&claims["iss"], &claims["role"]),
        (&"moorline".into(), &"admin".into())
    );
    assert_eq!(claims["sub"], claims["user_id"]);
    assert_eq!(claims["sub"], walk.known("admin"));
    let seconds = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(seconds, 24 * 60 * 60);
    let nobody = format!(r#"{{"sub":"{0}","user_id":"{0}"}}"#, walk.known("nobody"));
    for (secret, changes, status, text) in [
        (JWT_SECRET, r#"{"jti":"x"}"#, 200, ""),
        (
            JWT_SECRET,
            r#"{"role":null}"#,
            401,
            "token missing role claim, please re-login",
        ),
        (JWT_SECRET, r#"{"exp":1}"#, 401, "invalid token"),
        (JWT_SECRET, nobody.as_str(), 401, "invalid token"),
        (
            "another secret of thirty-two letters",
            r#"{"jti":"x"}"#,
            401,
            "invalid token",
        ),
    ] {
        walk.know("forged", &python(secret, &token, changes));
        walk.carry("forged");
        let stats =
            r#"{"active_users":<number>,"running_hosts":<number>,"available_ips":<number>}"#;
        let wanted = if status == 200 { stats } else { text };
        walk.row(("GET", "/v1/admin/dashboard/stats", "", status, wanted));
    }
    // The header comes before the query, and the query before the cookie.
    let bad = ["-H", "Authorization: Bearer x.y.z"];
    walk.carry("");
    let path = "/v1/admin/hosts/<nobody>/vnc/x?token=<admin_token>";
    assert_eq!(walk.ask("GET", path, "", &bad).status, 401);
    let cookie = walk.filled("Cookie: admin_token=<admin_token>");
    let path = "/v1/admin/hosts/<nobody>/vnc/x?token=x.y.z";
    assert_eq!(walk.ask("GET", path, "", &["-H", &cookie]).status, 401);
    let path = "/v1/admin/hosts/<nobody>/vnc/x";
    assert_eq!(walk.ask("GET", path, "", &["-H", &cookie]).status, 404);
}

/// Sections 4 and 3: the shortest and the longest that is taken, and tokens of those who may no longer.
pub(super) fn users(walk: &mut Walk) {
    walk.carry("admin_token");
    let (x50, x128) = ("x".repeat(50), "y".repeat(128));
    let (shortest, longest) = ("edn", x50.as_str());
    for (name, password, known) in [
        (shortest, "12345678", "edna"),
        (longest, x128.as_str(), "long"),
    ] {
        let body = format!(r#"{{"username":"{name}","password":"{password}","expires_at":null}}"#);
        let made = format!(
            r#"{{"user":{{"id":"<uuid:{known}>","username":"{name}","status":"active","role":"user","short_id":"<short:{known}_short>","created_at":"<time>","updated_at":"<time>"}},"short_id":"<{known}_short>","password":"{password}"}}"#
        );
        let made = made.replace(&format!("<{known}_short>"), "<short>");
        walk.row(("POST", USERS, &body, 201, &made));
    }
    let log_in =
        |name: &str, password: &str| format!(r#"{{"username":"{name}","password":"{password}"}}"#);
    let logged_in =
        |known: &str| format!(r#"{{"token":"<jwt:{known}_token>","role":"user",<any>}}"#);
    walk.row((
        "POST",
        "/v1/auth/login",
        &log_in("edn", "12345678"),
        200,
        &logged_in("edna"),
    ));
    walk.row((
        "POST",
        "/v1/auth/login",
        &log_in(longest, &x128),
        200,
        &logged_in("long"),
    ));
    // A name that is somebody's short id would be taken for theirs.
    let body = r#"{"username":"<edna_short>","password":"password of namesake"}"#;
    walk.row(("POST", USERS, body, 409, "username already exists"));
    let login = r#"{"username":"<edna_short>","password":"12345678"}"#;
    let named = r#"{"token":"<jwt>","role":"user","username":"edn","short_id":"<edna_short>","expires_in":86400}"#;
    walk.row(("POST", "/v1/auth/login", login, 200, named));
    // Disabled, then gone.
    let user = r#"{"user":{<any>}}"#;
    walk.row((
        "PATCH",
        "/v1/admin/users/<long>",
        r#"{"status":"disabled"}"#,
        200,
        user,
    ));
    walk.carry("long_token");
    walk.row(("GET", "/v1/user/hosts", "", 403, "account is not active"));
    walk.carry("admin_token");
    walk.row(("DELETE", "/v1/admin/users/<long>", "", 204, ""));
    walk.carry("long_token");
    walk.row(("GET", "/v1/user/hosts", "", 401, "invalid token"));
}

/// Section 6: every secret is masked, wherever in a configuration it stands.
pub(super) fn secrets(walk: &mut Walk) {
    walk.carry("admin_token");
    let config = |server_port: u16, uuid: &str, password: &str| {
        format!(
            r#"{{"server":"p.example.net","server_port":{server_port},"tls":{{"password":"{password}"}},"type":"vless","uuid":"{uuid}"}}"#
        )
    };
    let shown = |config: &str| {
        format!(
            r#"{{"egress_ip":{{"id":"<uuid:masked>","label":"masked","ip_address":"192.0.2.9","provider":"a provider","status":"available","tunnel_type":"proxy","wg_allowed_ips":"","proxy_config":{config},"created_at":"<time>","updated_at":"<time>"}}}}"#
        )
    };
    let wish = |config: &str| {
        format!(
            r#"{{"label":"masked","ip_address":"192.0.2.9","provider":"a provider","tunnel_type":"proxy","proxy_config":{config}}}"#
        )
    };
    let masked = |server_port| config(server_port, "***", "***");
    let untold = r#"{"status":"error","message":"<text>","tested_at":"<time>","results":{"connectivity":{"status":""},"egress_ip":{"status":""},"dns_leak":{"status":""}}}"#;
    let path = "/v1/admin/egress-ips/<masked>";
    walk.rows(&[
        (
            "POST",
            IPS,
            &wish(&config(65535, "hush hush", "hush too")),
            201,
            &shown(&masked(65535)),
        ),
        (
            "PUT",
            path,
            &format!(r#"{{"proxy_config":{}}}"#, masked(1)),
            200,
            &shown(&masked(1)),
        ),
        (
            "PUT",
            path,
            r#"{"ip_address":"192.0.2"}"#,
            400,
            "invalid ip address",
        ),
        (
            "PUT",
            path,
            r#"{"proxy_config":{"type":"vless","server":"p","server_port":1,"uuid":""}}"#,
            400,
            "proxy_config.uuid is required for vless",
        ),
        (
            "PUT",
            path,
            r#"{"status":"disabled","no such":1}"#,
            200,
            &shown(&masked(1)).replace("available", "disabled"),
        ),
        (
            "PUT",
            path,
            r#"{"status":"available"}"#,
            200,
            &shown(&masked(1)),
        ),
        (
            "POST",
            "/v1/admin/egress-ips/<masked>/test",
            "",
            200,
            untold,
        ),
    ]);
    let none = walk.ask("GET", path, "", &[]).body;
    assert!(!none.contains("hush"), "{none}");
}

/// Section 8: the least and the most that a host may have, and what is between.
pub(super) fn hosts(walk: &mut Walk) {
    walk.carry("admin_token");
    let slot = "s".repeat(32);
    for (wish, shown) in [
        (
            r#""slot_key":"a","memory_limit_mb":256,"cpu_limit":0.1,"disk_limit_gb":1"#,
            r#""slot_key":"a","timezone":"America/Los_Angeles","hostname":"<desktop>","memory_limit_mb":256,"cpu_limit":0.1,"disk_limit_gb":1"#,
        ),
        (
            r#""slot_key":"SLOT","timezone":"UTC","memory_limit_mb":1048576,"cpu_limit":256,"disk_limit_gb":65536"#,
            r#""slot_key":"SLOT","timezone":"UTC","hostname":"<desktop>","memory_limit_mb":1048576,"cpu_limit":256.0,"disk_limit_gb":65536"#,
        ),
        (
            r#""kind":"container","memory_limit_mb":0,"cpu_limit":0,"disk_limit_gb":0,"egress_ip_id":"<masked>""#,
            r#""slot_key":"primary","timezone":"America/Los_Angeles","hostname":"<desktop>","memory_limit_mb":4096,"cpu_limit":2.0,"disk_limit_gb":20"#,
        ),
    ] {
        for name in ["cell", "cell_task"] {
            walk.forget(name);
        }
        let body = format!(r#"{{"user_id":"<edna>",{}}}"#, wish.replace("SLOT", &slot));
        let made = format!(
            r#"{{"host":{{"id":"<uuid:cell>","user_id":"<edna>","status":"pending","short_id":"<short>","template_image_ref":"managed-user","home_volume_name":"<text>",{},"created_at":"<time>","updated_at":"<time>","kind":"container"}},"task_id":"<uuid:cell_task>","short_id":"<short>","entry_password":"<entry>","status":"202 Accepted"}}"#,
            shown.replace("SLOT", &slot)
        );
        walk.row(("POST", HOSTS, &body, 202, &made));
        walk.ended("cell_task");
        if !wish.contains("egress_ip_id") {
            walk.row((
                "DELETE",
                "/v1/admin/hosts/<cell>",
                "",
                200,
                r#"{"status":"deleted"}"#,
            ));
        }
    }
    for (more, status, text) in [
        (
            r#""memory_limit_mb":-1"#,
            400,
            "memory_limit_mb is out of range",
        ),
        (r#""cpu_limit":-0.5"#, 400, "cpu_limit is out of range"),
        (r#""memory_limit_mb":"much""#, 400, "invalid request body"),
        (r#""slot_key":"two words""#, 400, "slot_key is not valid"),
        (r#""device_id":"nonsense""#, 404, "device not found"),
    ] {
        let body = format!(r#"{{"user_id":"<edna>",{more}}}"#);
        walk.row(("POST", HOSTS, &body, status, text));
    }
    // The links name the host that was asked.
    let host = ["-H", "Host: moor.example.net:9090"];
    let sheet = walk.ask("GET", "/v1/admin/hosts/<cell>", "", &host).json();
    let connection = &sheet["connection_info"];
    let short_id = sheet["host"]["short_id"].as_str().unwrap();
    let port = walk.known("ssh_port");
    assert_eq!(
        connection["curl_command"],
        format!("curl -sSL http://moor.example.net:9090/entry/{short_id} | bash")
    );
    assert_eq!(
        connection["ssh_command"],
        format!("ssh {short_id}@moor.example.net -p {port}")
    );
    assert_eq!(
        connection["vnc_url"],
        walk.filled("http://moor.example.net:9090/v1/admin/hosts/<cell>/vnc/vnc.html")
    );
}

/// Section 9: there is no container engine, and the tasks say so; a container that is not there can be stopped.
pub(super) fn work(walk: &mut Walk) {
    walk.carry("admin_token");
    let queued = |task: &str| format!(r#"{{"task_id":"<uuid:{task}>","status":"202 Accepted"}}"#);
    for (action, status, code) in [
        ("stop", "succeeded", ""),
        ("start", "failed", "host_action_failed"),
        ("rebuild", "failed", "host_action_failed"),
    ] {
        let task = format!("cell_{action}");
        let path = format!("{HOSTS}/<cell>/{action}");
        walk.row(("POST", &path, "", 202, &queued(&task)));
        let ended = walk.ended(&task);
        assert_eq!(
            (&ended["status"], &ended["error_code"]),
            (&status.into(), &code.into()),
            "{ended}"
        );
        let message = ended["error_message"].as_str().unwrap();
        assert_eq!(message.is_empty(), code.is_empty(), "{ended}");
        assert_eq!(
            message == "no container engine is configured on node local",
            status == "failed",
            "{ended}"
        );
        let first: String = message.chars().take(160).collect();
        assert_eq!(ended["last_error_summary"], first);
    }
    let own = r#"{"hosts":[{"id":"<cell>","hostname":"<text>","status":"failed","egress_ip":"192.0.2.9","created_at":"<time>","short_id":"<short>","kind":"container"}]}"#;
    walk.carry("edna_token");
    walk.row(("GET", "/v1/user/hosts", "", 200, own));
    let bound = r#"{"id":"<cell>","hostname":"<text>","status":"failed","timezone":"America/Los_Angeles","created_at":"<time>","updated_at":"<time>","egress_bindings":[{"ip_address":"192.0.2.9","tunnel_type":"proxy"}],"connection_info":{<any>}}"#;
    walk.row(("GET", "/v1/user/hosts/<cell>", "", 200, bound));
}

/// Sections 8 and 14: what is refused while a container runs; `make_run` does what an engine would.
pub(super) fn running_container(walk: &mut Walk, make_run: impl Fn(&str)) {
    walk.carry("admin_token");
    let sheet = walk.ask("GET", "/v1/admin/hosts/<cell>", "", &[]).json();
    let binding = sheet["bindings"][0]["binding_id"]
        .as_str()
        .unwrap()
        .to_owned();
    walk.know("cell_binding", &binding);
    make_run(sheet["host"]["short_id"].as_str().unwrap());
    walk.rows(&[
        (
            "POST",
            "/v1/admin/bindings",
            r#"{"host_id":"<cell>","egress_ip_id":"<exit>"}"#,
            409,
            "cannot bind egress IP to running host, stop host first",
        ),
        (
            "DELETE",
            "/v1/admin/bindings/<cell_binding>",
            "",
            409,
            "cannot unbind egress IP from running host, stop host first",
        ),
        (
            "DELETE",
            "/v1/admin/hosts/<cell>",
            "",
            409,
            "host is running, stop it first or use force=true",
        ),
    ]);
    walk.plain(
        "GET",
        "/v1/admin/hosts/<cell>/vnc/vnc.html",
        503,
        "cannot reach container",
    );
    walk.row((
        "DELETE",
        "/v1/admin/hosts/<cell>?force=true",
        "",
        200,
        r#"{"status":"deleted"}"#,
    ));
}

/// Sections 9 and 12: a device that is off is waited for; who asks meanwhile is told so, and what waits behind is canceled
/// with its host.
pub(super) fn waiting(walk: &mut Walk) {
    walk.carry("admin_token");
    let body = r#"{"user_id":"<edna>","device_id":"<raft_device>"}"#;
    let made =
        r#"{"host":{"id":"<uuid:edna_raft>",<any>},"task_id":"<uuid:edna_raft_task>",<any>}"#;
    walk.row(("POST", HOSTS, body, 202, made));
    walk.ended("edna_raft_task");
    let listed = walk.ask("GET", HOSTS, "", &[]).json();
    let raft = walk.known("edna_raft");
    let hosts = listed["hosts"].as_array().unwrap();
    let raft = hosts.iter().find(|host| host["id"] == *raft).unwrap();
    assert_eq!(
        (&raft["status"], &raft["docker_status"]),
        (&"stopped".into(), &"exited".into())
    );
    walk.carry("");
    let session = r#"{"task_id":"<uuid:edna_start>","status_url":"<text>","stage_code":"auth_passed","stage_text":"signed in, the host is starting"}"#;
    let edna = r#"{"username":"edn","password":"12345678"}"#;
    walk.row(("POST", "/v1/bootstrap/sessions", edna, 200, session));
    let not_ready =
        r#"{"error_code":"ssh_not_ready","message":"SSH is not ready yet, try again later"}"#;
    walk.row((
        "GET",
        "/v1/bootstrap/tasks/<edna_start>/handoff",
        "",
        503,
        not_ready,
    ));
    harness::eventually("the runtime is being checked", || {
        let told = walk
            .ask("GET", "/v1/bootstrap/tasks/<edna_start>", "", &[])
            .json();
        assert!(told.get("error_code").is_none(), "{told}");
        told["stage_code"] == "runtime_validating" && told["stage_text"] == "checking the runtime"
    });
    walk.carry("admin_token");
    let queued = r#"{"task_id":"<uuid:edna_stop>","status":"202 Accepted"}"#;
    walk.row(("POST", "/v1/admin/hosts/<edna_raft>/stop", "", 202, queued));
    walk.row((
        "DELETE",
        "/v1/admin/hosts/<edna_raft>?force=true",
        "",
        200,
        r#"{"status":"deleted"}"#,
    ));
    let canceled = walk.ended("edna_stop");
    assert_eq!(
        (&canceled["status"], &canceled["host_id"]),
        (&"canceled".into(), &Value::Null)
    );
}

/// Section 10: filters keep what they name, and both ends of a time belong to it.
pub(super) fn events(walk: &mut Walk) {
    walk.carry("admin_token");
    let kind = "type=admin.egress_ip.created&limit=1";
    let page = walk
        .ask("GET", &format!("/v1/admin/events?{kind}"), "", &[])
        .json();
    let (event, total) = (&page["events"][0], &page["total"]);
    let at = event["created_at"].as_str().unwrap();
    for (filter, wanted) in [
        (format!("&since={at}"), 1.into()),
        (format!("&until={at}"), total.clone()),
        (format!("&since={at}&until={at}"), 1.into()),
    ] {
        let found = walk
            .ask("GET", &format!("/v1/admin/events?{kind}{filter}"), "", &[])
            .json();
        assert_eq!(
            (&found["total"], &found["events"][0]["id"]),
            (&wanted, &event["id"]),
            "{filter}"
        );
    }
    for (filter, member) in [
        ("user_id=<anna>", "user_id"),
        ("host_id=<otto_raft>", "host_id"),
    ] {
        let path = format!("/v1/admin/events?limit=200&{filter}");
        let page = walk.ask("GET", &path, "", &[]).json();
        let events = page["events"].as_array().unwrap();
        let id = walk.filled(filter.split_once('=').unwrap().1);
        assert!(!events.is_empty(), "{filter}");
        assert!(events.iter().all(|event| event[member] == *id), "{page}");
    }
}
