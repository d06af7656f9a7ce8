use std::process::Command;
use std::time::Duration;

use harness::{ServerOptions, TestDevice, TestServer, run, wait_for};
use serde_json::Value;

use harness::Postgres;

mod borders;
mod events;
mod hosts;
mod people;
mod walk;
mod ways_in;
mod ways_out;

use walk::Walk;

/// How many were walked.
const ROWS: usize = 418;
/// What the schedulers do every minute is done by then.
const BY_THEN: Duration = Duration::from_secs(600);

#[test]
fn the_control_contract_holds_on_sqlite() {
    walked(None);
}

#[test]
fn the_control_contract_holds_on_postgresql() {
    let database = Postgres::start();
    walked(Some(&database));
}

/// Section after section, on a server with two devices whose agents run and one that was never switched on.
fn walked(database: Option<&Postgres>) {
    let server = TestServer::start_with(ServerOptions {
        database: database.map(Postgres::url),
        jwt_secret: Some(borders::JWT_SECRET.to_owned()),
        ..ServerOptions::default()
    });
    let boat = TestDevice::enrolled(&server, "boat");
    let mut barge = TestDevice::enrolled(&server, "barge");
    let secret = server.full_key("raft");
    let raft = server.api(&secret).create(&[("name", "raft")]);
    let mut walk = Walk::new(&server.url());
    walk.know("base", &server.url());
    walk.know("ssh_port", &server.ssh_port().to_string());
    let known_hosts = server.known_hosts();
    let (_, host_key) = known_hosts.trim().split_once(' ').unwrap();
    walk.know("host_key", host_key);
    walk.know("raft_device", raft["client_id"].as_str().unwrap());
    for name in ["boat", "barge"] {
        let id = server.api(&secret).device(name).unwrap();
        let id = id["client_id"].as_str().unwrap();
        walk.know(&format!("{name}_device"), id);
    }

    people::login_and_health(&mut walk);
    conventions(&mut walk);
    people::users(&mut walk);
    people::keys(&mut walk);
    ways_out::egress_ips(&mut walk);
    hosts::wishes(&mut walk);
    hosts::containers(&mut walk);
    hosts::device_host(&mut walk);
    ways_in::people(&mut walk);
    ways_in::portal(&mut walk);
    ways_in::desktops(&mut walk);
    ways_in::entry(&mut walk);
    ways_in::bootstrap_refuses(&mut walk);
    ways_in::bootstrap_hands_off(&mut walk);
    hosts::force(&mut walk);
    borders::tokens(&mut walk);
    borders::users(&mut walk);
    borders::secrets(&mut walk);
    borders::hosts(&mut walk);
    borders::work(&mut walk);
    borders::running_container(&mut walk, |short_id| {
        let set = format!("UPDATE hosts SET status = 'running' WHERE short_id = '{short_id}'");
        sql(&server, database, &set);
    });
    borders::waiting(&mut walk);

    what_happens_by_itself(&mut walk, &server, database, &mut barge);
    events::every_type_was_seen(&mut walk);
    events::pages(&mut walk);
    borders::events(&mut walk);
    installation(&server);

    // A database that does not answer is told; nothing is asked of it after that.
    sql(&server, database, "ALTER TABLE nodes RENAME TO gone");
    walk.carry("");
    let degraded = r#"{"status":"degraded","checks":{"database":"unavailable","agent":"ok"},"tunnels":<number>}"#;
    walk.row(("GET", "/healthz", "", 503, degraded));
    assert_eq!(walk.steps(), ROWS);
    drop(boat);
}

/// Section 2, and what section 17 does not serve.
fn conventions(walk: &mut Walk) {
    walk.carry("admin_token");
    let none = "404 page not found";
    for path in [
        "/",
        "/v1",
        "/v1/users",
        "/v1/hosts",
        "/v1/tasks",
        "/v1/users/<nobody>",
        "/v1/hosts/<nobody>",
        "/v1/hosts/<nobody>/start",
        "/v1/tasks/<nobody>",
        "/v1/admin/nothing",
        "/v1/user/nothing",
        "/nothing",
    ] {
        walk.plain("GET", path, 404, none);
    }
    for path in ["/v1/users", "/v1/hosts", "/v1/hosts/<nobody>/start"] {
        walk.plain("POST", path, 404, none);
    }
    for (method, path, allowed) in [
        ("PUT", "/v1/admin/users", "GET,HEAD,POST"),
        ("GET", "/v1/auth/login", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
        ("PUT", "/v1/admin/hosts/<nobody>/start", "POST"),
        (
            "POST",
            "/v1/admin/egress-ips/<nobody>",
            "GET,HEAD,PUT,DELETE",
        ),
        ("GET", "/v1/admin/bindings", "POST"),
        ("DELETE", "/v1/bootstrap/script", "GET,HEAD"),
        ("GET", "/v1/entry/abc123/auth", "POST"),
        ("POST", "/entry/abc123", "GET,HEAD"),
    ] {
        let answer = walk.ask(method, path, "", &[]);
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    let long = format!(r#"{{"username":"{}"}}"#, "x".repeat(1024 * 1024));
    walk.row((
        "POST",
        "/v1/admin/users",
        &long,
        413,
        "request body too large",
    ));
    walk.row((
        "POST",
        "/v1/auth/login",
        &long,
        413,
        "request body too large",
    ));
}

/// Sections 9, 10 and 15: a device that does not come, one that goes, time that is over, a task that nobody does.
fn what_happens_by_itself(
    walk: &mut Walk,
    server: &TestServer,
    database: Option<&Postgres>,
    barge: &mut TestDevice,
) {
    let taken = |walk: &mut Walk, name: &str, device: &str| {
        let body = format!(r#"{{"user_id":"<{name}>","device_id":"<{device}_device>"}}"#);
        let made = format!(
            r#"{{"host":{{"id":"<uuid:{name}_{device}>",<any>}},"task_id":"<uuid:{name}_{device}_task>","short_id":"<short>","entry_password":"<entry>","status":"202 Accepted"}}"#
        );
        walk.row(("POST", "/v1/admin/hosts", &body, 202, &made));
        let task = walk.ended(&format!("{name}_{device}_task"));
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    let status = |walk: &Walk, host: &str| {
        let sheet = walk.ask("GET", &format!("/v1/admin/hosts/<{host}>"), "", &[]);
        sheet.json()["host"]["status"].clone()
    };
    walk.carry("admin_token");
    taken(walk, "otto", "barge");
    taken(walk, "otto", "raft");
    taken(walk, "anna", "boat");
    assert_eq!(status(walk, "otto_barge"), "running");
    assert_eq!(status(walk, "otto_raft"), "stopped");
    barge.kill();
    walk.row((
        "POST",
        "/v1/admin/hosts/<otto_raft>/start",
        "",
        202,
        r#"{"task_id":"<uuid:raft_task>","status":"202 Accepted"}"#,
    ));
    let soon = run(Command::new("date").args(["-u", "-d", "3 seconds", "+%FT%TZ"])).ok();
    let body = format!(r#"{{"expires_at":"{}"}}"#, soon.trim());
    walk.row((
        "PUT",
        "/v1/admin/users/<anna>/expiry",
        &body,
        200,
        r#"{"user":{<any>}}"#,
    ));
    // As if nobody had touched it for ten minutes and more.
    let stale = "UPDATE tasks SET status = 'running', updated_at = 1 \
                 WHERE number = (SELECT min(number) FROM tasks WHERE host_id IS NULL)";
    sql(server, database, stale);
    let stuck = walk.ended("raft_task");
    assert_eq!(stuck["error_code"], "ssh_not_ready", "{stuck}");
    assert_eq!(status(walk, "otto_raft"), "failed");
    // From then on, before any scheduler looks: no login, no entry.
    let anna = r#"{"username":"anna","password":"Annas third one"}"#;
    walk.carry("");
    walk.rows(&[
        ("POST", "/v1/auth/login", anna, 403, "account is not active"),
        ("POST", "/v1/entry/<anna_short>/auth", r#"{"password":"Annas third one"}"#, 403, "account is not active"),
        ("POST", "/v1/bootstrap/sessions", anna, 403, r#"{"error_code":"account_expired","message":"account has expired, contact the administrator"}"#),
    ]);
    walk.carry("admin_token");
    for kind in [
        "user.expired",
        "host.stop.expired",
        "reconcile.task.stale",
        "reconcile.host.drift",
    ] {
        wait_for(kind, BY_THEN, || events::seen(walk, kind).then_some(()));
    }
    wait_for("both hosts are stopped", BY_THEN, || {
        let stopped = |host| status(walk, host) == "stopped";
        (stopped("otto_barge") && stopped("anna_boat")).then_some(())
    });
    let tasks = walk.ask("GET", "/v1/admin/tasks", "", &[]).json();
    let has = |members: &[(&str, &str)]| {
        let fits = |task: &Value| members.iter().all(|(name, value)| task[*name] == *value);
        tasks["tasks"].as_array().unwrap().iter().any(fits)
    };
    assert!(
        has(&[
            ("requested_by", "system:expiry"),
            ("kind", "stop_host"),
            ("status", "succeeded")
        ]),
        "{tasks}"
    );
    assert!(
        has(&[
            ("error_code", "stale_timeout"),
            ("error_message", "task exceeded stale threshold"),
            ("status", "failed")
        ]),
        "{tasks}"
    );
    assert!(
        has(&[("requested_by", "bootstrap:anna"), ("kind", "start_host")]),
        "{tasks}"
    );
    // A later date does not bring the user back; the administrator does.
    walk.row((
        "PUT",
        "/v1/admin/users/<anna>/expiry",
        r#"{"expires_at":null}"#,
        200,
        r#"{"user":{"id":"<anna>","username":"anna","status":"expired",<any>}}"#,
    ));
}

/// Section 17: a client that knows compact JSON and text tools, and goes by ids only.
fn installation(server: &TestServer) {
    const CLIENT: &str = r#"
        set -euo pipefail
        cut_out() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | sed 's/^[^:]*:"//; s/"$//'; }
        post() { curl -q -sS -f -H "Authorization: Bearer $TOKEN" -d "$2" "$BASE$1"; }
        TOKEN=$(curl -q -sS -f -d '{"username":"admin","password":"'"$PASSWORD"'"}' "$BASE/v1/auth/login" | cut_out token)
        claims=$(cut -d. -f2 <<<"$TOKEN" | tr '_-' '/+')
        claims=$(base64 -d <<<"$claims===" 2>/dev/null || true)
        for claim in '"user_id":"' '"role":"admin"' '"sub":"' '"exp":'; do grep -q "$claim" <<<"$claims"; done
        user=$(post /v1/admin/users '{"username":"flow"}' | cut_out id)
        ip=$(post /v1/admin/egress-ips '{"label":"flow","ip_address":"198.51.100.9"}' | cut_out id)
        host=$(post /v1/admin/hosts '{"user_id":"'"$user"'"}' | cut_out id)
        binding=$(post /v1/admin/bindings '{"host_id":"'"$host"'","egress_ip_id":"'"$ip"'"}' | cut_out binding_id)
        task=$(post "/v1/admin/hosts/$host/start" '{"mode":"x"}' | grep '"status":"202 Accepted"' | cut_out task_id)
        other=$(post /v1/admin/hosts '{"user_id":"'"$user"'","slot_key":"two","egress_ip_id":"'"$ip"'"}' | cut_out id)
        for id in "$user" "$ip" "$host" "$binding" "$task" "$other"; do
            grep -qE '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' <<<"$id"
        done
        curl -q -sS -f -H "Authorization: Bearer $TOKEN" "$BASE/v1/admin/hosts/$other" | grep -q "\"id\":\"$ip\""
        gone=$(curl -q -sS -o /dev/null -w '%{http_code} %{size_download}' -X DELETE -H "Authorization: Bearer $TOKEN" "$BASE/v1/admin/users/$user")
        [ "$gone" = '204 0' ]
        echo done
    "#;
    let mut client = Command::new("bash");
    client
        .args(["-c", CLIENT])
        .env("BASE", server.url())
        .env("PASSWORD", harness::ADMIN_PASSWORD)
        .env("no_proxy", "*");
    assert_eq!(run(&mut client).ok(), "done\n");
}

/// Does to the database what time and accidents do.
fn sql(server: &TestServer, database: Option<&Postgres>, statement: &str) {
    let mut command = match database {
        Some(database) => {
            let mut command = Command::new("psql");
            command
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &database.url()])
                .args(["-c", statement]);
            command
        }
        None => {
            let script = "import sqlite3, sys\n\
                with sqlite3.connect(sys.argv[1], timeout=30) as database:\n \
                database.execute(sys.argv[2])";
            let file = server.data().join("moorline.db");
            let mut command = Command::new("python3");
            command.args(["-c", script]).arg(file).arg(statement);
            command
        }
    };
    run(&mut command).ok();
}
