//! Sections 11 to 14: portal, bootstrap, entry, desktops.

use harness::eventually;

use super::walk::Walk;

/// People without a host: one who may log in, one who may not.
pub(super) fn people(walk: &mut Walk) {
    walk.carry("admin_token");
    for name in ["otto", "dora"] {
        let body = format!(r#"{{"username":"{name}","password":"password of {name}"}}"#);
        let made = format!(
            r#"{{"user":{{"id":"<uuid:{name}>",<any>}},"short_id":"<short:{name}_short>","password":"password of {name}"}}"#
        );
        walk.row(("POST", "/v1/admin/users", &body, 201, &made));
    }
    walk.row((
        "PATCH",
        "/v1/admin/users/<dora>",
        r#"{"status":"disabled"}"#,
        200,
        r#"{"user":{<any>}}"#,
    ));
    walk.row((
        "POST",
        "/v1/auth/login",
        r#"{"username":"otto","password":"password of otto"}"#,
        200,
        r#"{"token":"<jwt:otto_token>",<any>}"#,
    ));
}

pub(super) fn portal(walk: &mut Walk) {
    walk.carry("anna_token");
    let connection = |host: &str, more: &str| {
        format!(
            r#""connection_info":{{"curl_command":"curl -sSL <base>/entry/<{host}_short> | bash","ssh_command":"ssh <{host}_short>@127.0.0.1 -p <ssh_port>","ssh_port":<ssh_port>{more}}}"#
        )
    };
    let vnc = r#","vnc_url":"<base>/v1/user/hosts/<desk>/vnc/vnc.html""#;
    let required = "old_password and new_password are required";
    const CHANGE: &str = "/v1/user/change-password";
    walk.rows(&[
        ("GET", "/v1/user/hosts", "", 200, r#"{"hosts":[{"id":"<desk>","hostname":"<desk_name>","status":"failed","egress_ip":"","created_at":"<time>","short_id":"<desk_short>","kind":"container"},{"id":"<berth>","hostname":"boat","status":"running","egress_ip":"","created_at":"<time>","short_id":"<berth_short>","kind":"device"}]}"#),
        ("GET", "/v1/user/hosts/<berth>", "", 200, &format!(r#"{{"id":"<berth>","hostname":"boat","status":"running","timezone":"","created_at":"<time>","updated_at":"<time>","egress_bindings":[],{}}}"#, connection("berth", ""))),
        ("GET", "/v1/user/hosts/<desk>", "", 200, &format!(r#"{{"id":"<desk>","hostname":"<desk_name>","status":"failed","timezone":"America/Los_Angeles","created_at":"<time>","updated_at":"<time>","egress_bindings":[],{}}}"#, connection("desk", vnc))),
        ("GET", "/v1/user/hosts/<nobody>", "", 404, "host not found"),
        ("GET", "/v1/user/hosts/nonsense", "", 404, "host not found"),
        ("POST", "/v1/user/hosts/<nobody>/rebuild", "", 404, "host not found"),
        ("GET", "/v1/admin/hosts", "", 403, "insufficient permissions"),
        ("POST", "/v1/admin/users", r#"{"username":"mine"}"#, 403, "insufficient permissions"),
        ("POST", "/v1/user/hosts/<desk>/rebuild", "", 202, r#"{"task_id":"<uuid:own_task>","status":"202 Accepted"}"#),
        ("POST", CHANGE, "{}", 400, required),
        ("POST", CHANGE, r#"{"old_password":"Annas second one"}"#, 400, required),
        ("POST", CHANGE, r#"{"old_password":"Annas second one","new_password":"seven c"}"#, 400, "new password must be 8-128 characters"),
        ("POST", CHANGE, r#"{"old_password":"not that one","new_password":"Annas third one"}"#, 401, "invalid old password"),
        ("POST", CHANGE, r#"{"old_password":"Annas second one","new_password":"Annas third one"}"#, 200, r#"{"status":"ok"}"#),
        ("GET", "/v1/user/hosts", "", 401, "invalid token"),
    ]);
    walk.carry("admin_token");
    let rebuilt = walk.ended("own_task");
    assert_eq!(rebuilt["requested_by"], walk.known("anna"), "{rebuilt}");
    assert_eq!(rebuilt["error_code"], "egress_binding_missing");
    // Administrators pass; others do not.
    walk.row((
        "GET",
        "/v1/user/hosts/<berth>",
        "",
        200,
        r#"{"id":"<berth>",<any>}"#,
    ));
    walk.carry("otto_token");
    walk.row(("GET", "/v1/user/hosts", "", 200, r#"{"hosts":[]}"#));
    walk.row(("GET", "/v1/user/hosts/<berth>", "", 403, "forbidden"));
    walk.row((
        "POST",
        "/v1/user/hosts/<berth>/rebuild",
        "",
        403,
        "forbidden",
    ));
}

pub(super) fn desktops(walk: &mut Walk) {
    walk.carry("otto_token");
    walk.plain(
        "GET",
        "/v1/user/hosts/<berth>/vnc/vnc.html",
        403,
        "forbidden",
    );
    walk.plain(
        "GET",
        "/v1/admin/hosts/<berth>/vnc/vnc.html",
        403,
        "insufficient permissions",
    );
    walk.carry("admin_token");
    for role in ["admin", "user"] {
        let at = |host: &str| format!("/v1/{role}/hosts/{host}/vnc/vnc.html?autoconnect=true");
        walk.plain("GET", &at("<desk>"), 409, "host is not running");
        walk.plain("POST", &at("<berth>"), 409, "host has no VNC");
        walk.plain("GET", &at("<nobody>"), 404, "host not found");
        walk.plain("GET", &at("nonsense"), 404, "host not found");
    }
    walk.carry("");
    walk.plain(
        "GET",
        "/v1/admin/hosts/<berth>/vnc/",
        401,
        "missing or invalid authorization header",
    );
    // The cookie is enough here.
    let cookie = walk.filled("Cookie: admin_token=<admin_token>");
    let answer = walk.ask(
        "GET",
        "/v1/admin/hosts/<berth>/vnc/x.js",
        "",
        &["-H", &cookie],
    );
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (409, "host has no VNC\n")
    );
}

fn failure(code: &str, message: &str) -> String {
    format!(r#"{{"error_code":"{code}","message":"{message}"}}"#)
}

const SESSIONS: &str = "/v1/bootstrap/sessions";
const ANNA: &str = r#"{"username":"anna","password":"Annas third one"}"#;

pub(super) fn bootstrap_refuses(walk: &mut Walk) {
    walk.carry("");
    script(walk, "/v1/bootstrap/script");
    let required = failure("invalid_request", "username and password are required");
    let wrong = failure("auth_invalid", "wrong username or password");
    let unknown = failure("task_not_found", "task not found");
    walk.rows(&[
        (
            "POST",
            SESSIONS,
            "{",
            400,
            &failure("invalid_request", "request is not valid"),
        ),
        ("POST", SESSIONS, "{}", 400, &required),
        (
            "POST",
            SESSIONS,
            r#"{"username":" ","password":"x"}"#,
            400,
            &required,
        ),
        (
            "POST",
            SESSIONS,
            r#"{"username":"anna","password":"x"}"#,
            401,
            &wrong,
        ),
        (
            "POST",
            SESSIONS,
            r#"{"username":"nobody","password":"x"}"#,
            401,
            &wrong,
        ),
        (
            "POST",
            SESSIONS,
            r#"{"username":"otto","password":"password of otto"}"#,
            404,
            &failure(
                "host_not_found",
                "no host is assigned, contact the administrator",
            ),
        ),
        (
            "POST",
            SESSIONS,
            r#"{"username":"dora","password":"x"}"#,
            401,
            &wrong,
        ),
        (
            "POST",
            SESSIONS,
            r#"{"username":"dora","password":"password of dora"}"#,
            403,
            &failure(
                "account_disabled",
                "account is disabled, contact the administrator",
            ),
        ),
        // The main host is the container in slot `primary`, which is bound to no egress IP.
        ("POST", SESSIONS, ANNA, 200, &session("bound")),
    ]);
    until(walk, "bound", "failed");
    let message = "no egress IP is bound to the host, contact the administrator";
    let failed = r#"{"task_id":"<bound>","task_status":"failed","stage_code":"host_starting","stage_text":"the host is starting","error_code":"egress_binding_missing","error_message":"TEXT","retryable":false}"#;
    walk.row((
        "GET",
        "/v1/bootstrap/tasks/<bound>",
        "",
        200,
        &failed.replace("TEXT", message),
    ));
    walk.row((
        "GET",
        "/v1/bootstrap/tasks/<bound>/handoff",
        "",
        503,
        &failure("egress_binding_missing", message),
    ));
    for id in ["<start_task>", "<nobody>", "nonsense", "%FF"] {
        for more in ["", "/handoff"] {
            walk.row((
                "GET",
                &format!("/v1/bootstrap/tasks/{id}{more}"),
                "",
                404,
                &unknown,
            ));
        }
    }
}

fn session(task: &str) -> String {
    format!(
        r#"{{"task_id":"<uuid:{task}>","status_url":"/v1/bootstrap/tasks/<uuid:{task}>","stage_code":"auth_passed","stage_text":"signed in, the host is starting"}}"#
    )
}

fn until(walk: &Walk, task: &str, status: &str) {
    eventually(&format!("{task} is {status}"), || {
        let answer = walk.ask("GET", &format!("/v1/bootstrap/tasks/<{task}>"), "", &[]);
        answer.json()["task_status"] == status
    });
}

/// Once the container is gone, the device is the main host.
pub(super) fn bootstrap_hands_off(walk: &mut Walk) {
    walk.carry("admin_token");
    walk.row((
        "DELETE",
        "/v1/admin/hosts/<desk>",
        "",
        200,
        r#"{"status":"deleted"}"#,
    ));
    walk.carry("");
    walk.row(("POST", SESSIONS, ANNA, 200, &session("handed")));
    until(walk, "handed", "succeeded");
    walk.rows(&[
        ("GET", "/v1/bootstrap/tasks/<handed>", "", 200, r#"{"task_id":"<handed>","task_status":"succeeded","stage_code":"ssh_ready","stage_text":"SSH is ready"}"#),
        ("GET", "/v1/bootstrap/tasks/<handed>/handoff", "", 200, r#"{"ready":true,"host":"127.0.0.1","port":<ssh_port>,"user":"<berth_short>","ssh_options":["-o","StrictHostKeyChecking=no","-o","UserKnownHostsFile=/dev/null"],"host_key":"<host_key>"}"#),
    ]);
}

pub(super) fn entry(walk: &mut Walk) {
    walk.carry("");
    for id in [
        "<berth_short>",
        "<anna_short>",
        "nobody",
        "%FF",
        "%27%3Bid%3B%27",
    ] {
        script(walk, &format!("/entry/{id}"));
    }
    let ready = r#"{"ssh_user":"<berth_short>","ssh_pass":"<once>","ssh_host":"127.0.0.1","ssh_port":<ssh_port>,"status":"ready","ssh_host_key":"<host_key>"}"#;
    let not_ready =
        r#"{"status":"not_ready","message":"Your machine is not running. Please contact admin."}"#;
    let anna = r#"{"password":"Annas third one"}"#;
    let wrong = r#"{"password":"wrong"}"#;
    walk.rows(&[
        // The main host does not run, the other does.
        ("POST", "/v1/entry/<anna_short>/auth", anna, 200, not_ready),
        ("POST", "/v1/entry/<desk_short>/auth", anna, 200, not_ready),
        ("POST", "/v1/entry/<berth_short>/auth", anna, 200, ready),
        (
            "POST",
            "/v1/entry/<berth_short>/auth",
            "",
            400,
            "password is required",
        ),
        (
            "POST",
            "/v1/entry/<berth_short>/auth",
            "{}",
            400,
            "password is required",
        ),
        (
            "POST",
            "/v1/entry/<berth_short>/auth",
            "{",
            400,
            "invalid request body",
        ),
        (
            "POST",
            "/v1/entry/<berth_short>/auth",
            wrong,
            401,
            "invalid credentials",
        ),
        (
            "POST",
            "/v1/entry/<berth_short>/auth",
            r#"{"password":"<rotated_password>"}"#,
            401,
            "invalid credentials",
        ),
        (
            "POST",
            "/v1/entry/<dora_short>/auth",
            r#"{"password":"password of dora"}"#,
            403,
            "account is not active",
        ),
        (
            "POST",
            "/v1/entry/<otto_short>/auth",
            r#"{"password":"password of otto"}"#,
            404,
            r#"{"error":"no host assigned","status":"no_host"}"#,
        ),
    ]);
    // From elsewhere: an address has ten failures a minute.
    for id in ["nobody", "%FF", "%00", "a%2Fb"] {
        let answer = walk.ask(
            "POST",
            &format!("/v1/entry/{id}/auth"),
            wrong,
            &["--interface", "127.0.0.78"],
        );
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, "{\"error\":\"invalid credentials\"}\n"),
            "{id}"
        );
    }
}

fn script(walk: &Walk, path: &str) {
    let answer = walk.ask("GET", path, "", &[]);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/x-shellscript; charset=utf-8"), "{path}");
    assert!(answer.body.starts_with("#!/usr/bin/env bash\n"), "{path}");
    assert!(answer.body.ends_with("\nmain \"$@\"\n"), "{path}");
}
