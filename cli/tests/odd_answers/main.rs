//! The program against answers that the real server does not give: pages of many devices, hostile
//! names, a changed host key, something that is no Moorline at all.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail it by panicking")]

mod pretender;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use pretender::{HOST_KEY, Pretender, device, gateway_answer, login_answer, ok, server};

/// Runs the program with a config folder of its own.
fn run(config: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_moorline"))
        .args(arguments)
        .env("MOORLINE_CONFIG_DIR", config)
        .env_remove("MOORLINE_PROFILE")
        .env_remove("MOORLINE_USERNAME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its stdin may be gone by now.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A config folder that is logged in to `server`.
fn logged_in(server: &Pretender) -> TempDir {
    let config = tempfile::tempdir().unwrap();
    let login = ["login", &server.url, "-u", "ada", "--password-stdin"];
    let output = run(config.path(), &login, "hunter2\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    config
}

#[test]
fn every_page_of_devices_is_fetched() {
    let server = server(|call| {
        let offset: usize = call.split("offset=").nth(1).unwrap().parse().unwrap();
        assert!(call.contains("limit=500"), "{call}");
        let names = (offset..(offset + 500).min(1203)).map(|n| device(&format!("cam{n}"), ""));
        let page = names.collect::<Vec<_>>().join(",");
        ok(format!(r#"{{"devices":[{page}],"total":1203}}"#))
    });
    let config = logged_in(&server);
    let output = run(config.path(), &["device", "list", "--json"], "");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["total"], 1203);
    assert_eq!(list["devices"].as_array().unwrap().len(), 1203);
    let human = run(config.path(), &["device", "list"], "");
    assert_eq!(text(&human.stdout).lines().count(), 1204);
    assert_eq!(text(&human.stderr), "");
}

#[test]
fn every_page_of_forwards_is_fetched_and_nodes_are_shown() {
    let server = server(|call| {
        if call == "GET /v1/admin/nodes" {
            return ok(
                r#"{"nodes":[{"name":"eu1","status":"active","host":"eu1.example.net",
                "ssh_port":22,"first_port":10000,"last_port":59999}]}"#,
            );
        }
        assert!(
            call.starts_with("GET /v1/admin/sessions?limit=500&"),
            "{call}"
        );
        let offset: usize = call.split("offset=").nth(1).unwrap().parse().unwrap();
        let sessions = (offset..(offset + 500).min(1203)).map(|n| {
            format!(
                r#"{{"id":{n},"device":"cam{n}","device_id":"u{n}","node":"eu1","server":"eu1.example.net",
                "public_port":{},"device_port":0,"protected":true,"bytes":7}}"#,
                10_000 + n
            )
        });
        let page = sessions.collect::<Vec<_>>().join(",");
        ok(format!(r#"{{"sessions":[{page}],"total":1203}}"#))
    });
    let config = logged_in(&server);
    let output = run(config.path(), &["forward", "list", "--json"], "");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["total"], 1203);
    assert_eq!(list["forwards"].as_array().unwrap().len(), 1203);
    let human = text(&run(config.path(), &["forward", "ls"], "").stdout);
    assert_eq!(human.lines().count(), 1204);
    assert!(human.contains("eu1.example.net:11202"));
    let nodes = text(&run(config.path(), &["node", "list"], "").stdout);
    let words: Vec<&str> = nodes.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        words,
        ["eu1", "active", "eu1.example.net", "22", "10000-59999"]
    );
}

#[test]
fn a_device_cannot_steer_the_terminal() {
    let evil = r"x\u001b]0;owned\u0007\r\nroot";
    let server = server(move |_| {
        ok(format!(
            r#"{{"devices":[{}],"total":1}}"#,
            device("cam1", evil)
        ))
    });
    let config = logged_in(&server);
    let output = run(config.path(), &["device", "list"], "");
    let shown = text(&output.stdout);
    assert!(
        !shown.contains('\x1b') && !shown.contains('\x07'),
        "{shown:?}"
    );
    assert_eq!(shown.lines().count(), 2, "{shown:?}");
}

#[test]
fn a_changed_host_key_is_refused_until_the_next_login() {
    let mut calls = 0;
    let server = Pretender::start(move |call| match call {
        "POST /v1/auth/login" => login_answer(),
        _ => {
            calls += 1;
            let key = if calls == 1 {
                HOST_KEY
            } else {
                "ssh-ed25519 OTHER"
            };
            gateway_answer("gw.example.com", key)
        }
    });
    let config = logged_in(&server);
    let ssh = ["ssh", "cam1", "--print"];
    let refused = run(config.path(), &ssh, "");
    assert_eq!(refused.status.code(), Some(4));
    assert!(
        text(&refused.stderr).contains("hint: "),
        "{}",
        text(&refused.stderr)
    );
    let again = run(config.path(), &["login", "--password-stdin"], "hunter2\n");
    assert!(
        text(&again.stderr).contains("another host key"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(run(config.path(), &ssh, "").status.code(), Some(0));
}

#[test]
fn a_gateway_that_is_an_option_is_refused() {
    let server = Pretender::start(|call| match call {
        "POST /v1/auth/login" => login_answer(),
        _ => gateway_answer("-oProxyCommand=touch", HOST_KEY),
    });
    let config = tempfile::tempdir().unwrap();
    let login = ["login", &server.url, "-u", "ada", "--password-stdin"];
    let output = run(config.path(), &login, "hunter2\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(!config.path().join("profiles").exists());
}

#[test]
fn ssh_is_strict_and_its_checks_cannot_be_turned_off() {
    let server = server(|call| {
        assert_eq!(call, "GET /v1/admin/devices/cam1");
        ok(format!(r#"{{"device":{}}}"#, device("cam1", "")))
    });
    let config = logged_in(&server);
    let line = [
        "ssh",
        "cam1",
        "-o",
        "StrictHostKeyChecking=no",
        "--print",
        "--json",
        "id",
    ];
    let output = run(config.path(), &line, "");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let words: Vec<&str> = shown["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let at = |word: &str| words.iter().position(|w| *w == word).unwrap();
    assert!(at("StrictHostKeyChecking=yes") < at("StrictHostKeyChecking=no"));
    assert_eq!(words[words.len() - 3..], ["gw.example.com", "--", "id"]);
    let known_hosts = config.path().join("profiles/default/known_hosts");
    let kept = std::fs::read_to_string(known_hosts).unwrap();
    assert_eq!(kept, format!("moorline-default {HOST_KEY}\n"));
}

#[test]
fn refusals_have_their_own_exit_statuses_and_hints() {
    let stories = [
        (
            "401 Unauthorized",
            "",
            r#"{"error":"invalid token"}"#,
            4,
            "log in again",
        ),
        (
            "403 Forbidden",
            "",
            r#"{"error":"insufficient permissions"}"#,
            4,
            "administrator",
        ),
        (
            "404 Not Found",
            "",
            r#"{"error":"device not found"}"#,
            3,
            "device not found",
        ),
        (
            "429 Too Many Requests",
            "Retry-After: 7\r\n",
            r#"{"error":"slow"}"#,
            1,
            "in 7 s",
        ),
        (
            "500 Internal Server Error",
            "",
            r#"{"error":"internal error"}"#,
            1,
            "server's log",
        ),
        (
            "502 Bad Gateway",
            "",
            "<html>nginx</html>",
            5,
            "Bad Gateway",
        ),
        (
            "308 Permanent Redirect",
            "Location: https://b\r\n",
            "",
            1,
            "https://b",
        ),
        (
            "200 OK",
            "",
            "<html>Welcome to the hotel</html>",
            1,
            "is http://",
        ),
    ];
    for (status, headers, body, exit, words) in stories {
        let server = server(move |_| (status, headers.to_owned(), body.to_owned()));
        let config = logged_in(&server);
        let output = run(config.path(), &["device", "show", "cam1"], "");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{status}: {told}");
        assert!(told.starts_with("error: show device cam1: "), "{told}");
        assert!(told.contains(words), "{status}: {told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_answer_without_end_is_not_kept_in_memory() {
    let server = server(|_| ok("x".repeat(20 * 1024 * 1024)));
    let config = logged_in(&server);
    let output = run(config.path(), &["device", "show", "cam1"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("bytes"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_wrong_password_is_refused_and_nothing_is_kept() {
    let server = Pretender::start(|_| {
        let body = r#"{"error":"invalid credentials"}"#.to_owned();
        ("401 Unauthorized", String::new(), body)
    });
    let config = tempfile::tempdir().unwrap();
    let login = ["login", &server.url, "-u", "ada", "--password-stdin"];
    let output = run(config.path(), &login, "hunter2\n");
    assert_eq!(output.status.code(), Some(4));
    assert!(!text(&output.stderr).contains("hunter2"));
    assert!(!config.path().join("profiles").exists());
    let later = run(config.path(), &["device", "list"], "");
    assert_eq!(later.status.code(), Some(3));
}

#[test]
fn a_server_that_is_gone_is_unreachable_but_ssh_goes_on() {
    let server = server(|call| panic!("{call}"));
    let config = logged_in(&server);
    drop(server);
    let list = run(config.path(), &["device", "list"], "");
    assert_eq!(list.status.code(), Some(5));
    let ssh = run(config.path(), &["ssh", "cam1", "--print"], "");
    assert_eq!(ssh.status.code(), Some(0));
}

#[test]
fn removal_without_anybody_to_ask_needs_yes() {
    let server = server(|call| {
        assert_eq!(call, "DELETE /v1/admin/devices/cam1");
        ("204 No Content", String::new(), String::new())
    });
    let config = logged_in(&server);
    let unasked = run(config.path(), &["device", "rm", "cam1"], "y\n");
    assert_eq!(unasked.status.code(), Some(2));
    let removed = run(
        config.path(),
        &["device", "rm", "cam1", "--yes", "--json"],
        "",
    );
    let shown: serde_json::Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(shown["removed"][0], "cam1");
}

#[test]
fn ssh_config_is_included_and_taken_out_again() {
    let server = server(|_| {
        let devices = [device("cam1", ""), device("cam2", "")].join(",");
        ok(format!(r#"{{"devices":[{devices}],"total":2}}"#))
    });
    let config = logged_in(&server);
    let user_file = config.path().join("user_ssh_config");
    std::fs::write(&user_file, "Host other\n    User me\n").unwrap();
    let file = user_file.to_str().unwrap();
    let unasked = run(config.path(), &["ssh-config", "--file", file], "");
    assert_eq!(unasked.status.code(), Some(2));
    let written = run(config.path(), &["ssh-config", "--file", file, "--yes"], "");
    assert!(written.status.success(), "{}", text(&written.stderr));
    let resolved = Command::new("ssh")
        .args(["-G", "-F", file, "cam2"])
        .output()
        .unwrap();
    let resolved = text(&resolved.stdout);
    for line in [
        "user ada+cam2",
        "hostname gw.example.com",
        "port 2222",
        "hostkeyalias moorline-default",
    ] {
        assert!(resolved.lines().any(|l| l == line), "{line}: {resolved}");
    }
    assert!(
        resolved.contains("stricthostkeychecking true"),
        "{resolved}"
    );
    let removed = run(
        config.path(),
        &["ssh-config", "--file", file, "--remove", "--yes"],
        "",
    );
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    let kept = std::fs::read_to_string(&user_file).unwrap();
    assert_eq!(kept, "Host other\n    User me\n");
}
