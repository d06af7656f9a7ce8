use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use harness::{ADMIN_PASSWORD, ADMIN_USER, TestServer, run_with_input};
use tempfile::TempDir;

use crate::the_operators_program_does_its_work::Home;

/// A program that ends with the story.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn log_in(home: &Home, server: &TestServer, name: &str, password: &str) -> i32 {
    let url = server.url();
    let login = ["login", &url, "--username", name, "--password-stdin"];
    let line = format!("{password}\n");
    run_with_input(&mut home.command(&login), line.as_bytes()).code
}

#[test]
fn users_are_made_disabled_and_removed_and_every_step_is_seen() {
    let server = TestServer::start();
    let admin = Home(TempDir::new().unwrap());
    let anna = Home(TempDir::new().unwrap());
    assert_eq!(log_in(&admin, &server, ADMIN_USER, ADMIN_PASSWORD), 0);

    // Somebody watches all the while.
    let mut watch = admin.command(&["event", "follow", "--type", "admin.user.updated"]);
    let mut watch = Running(watch.stdout(Stdio::piped()).spawn().unwrap());
    let mut watched = BufReader::new(watch.0.stdout.take().unwrap()).lines();

    let made = admin.json(&["user", "create", "anna", "--expires", "30d"]);
    let password = made["password"].as_str().unwrap();
    assert_eq!(made["user"]["status"], "active");
    assert_eq!(log_in(&anna, &server, "anna", password), 0);
    assert_eq!(anna.run(&["user", "list"]).code, 4, "not hers to see");
    assert_eq!(anna.run(&["event", "list"]).code, 4);
    assert_eq!(anna.run(&["egress", "list"]).code, 4);
    assert_eq!(admin.run(&["user", "create", "anna"]).code, 1, "taken");

    admin.run(&["user", "disable", "anna"]).ok();
    assert_eq!(anna.run(&["key", "list"]).code, 4);
    assert_eq!(log_in(&anna, &server, "anna", password), 4);
    let seen = watched.next().unwrap().unwrap();
    assert!(
        seen.contains("admin.user.updated") && seen.contains("anna"),
        "{seen}"
    );
    let short_id = made["user"]["short_id"].as_str().unwrap();
    admin.run(&["user", "enable", short_id]).ok();
    let rotated = admin.json(&["user", "rotate-password", "anna"]);
    assert_eq!(log_in(&anna, &server, "anna", password), 4);
    let password = rotated["new_password"].as_str().unwrap();
    assert_eq!(log_in(&anna, &server, "anna", password), 0);
    admin.run(&["user", "expire", "anna", "never"]).ok();
    let shown = admin.json(&["user", "show", "anna"]);
    assert_eq!(shown["user"].get("expires_at"), None);
    assert_eq!(
        admin.run(&["user", "rm", ADMIN_USER, "--yes"]).code,
        1,
        "the last one stays"
    );
    admin.run(&["user", "rm", "anna", "--yes"]).ok();
    assert_eq!(admin.run(&["user", "show", "anna"]).code, 3);
    let listed = admin
        .run(&["event", "list", "--type", "admin.user.deleted"])
        .ok();
    assert!(listed.contains("anna"), "{listed}");
}

#[test]
fn an_egress_ip_is_made_changed_and_removed_without_showing_its_secrets() {
    let server = TestServer::start();
    let admin = Home(TempDir::new().unwrap());
    assert_eq!(log_in(&admin, &server, ADMIN_USER, ADMIN_PASSWORD), 0);
    let config = admin.0.path().join("proxy.json");
    std::fs::write(
        &config,
        r#"{"type":"trojan","server":"p.example.net","server_port":443,"password":"hush hush"}"#,
    )
    .unwrap();
    let config = config.to_str().unwrap();

    let exit = [
        "egress",
        "create",
        "--label",
        "exit",
        "--address",
        "203.0.113.10",
    ];
    let made = admin.json(&[&exit[..], &["--endpoint", "vpn.example.net:51820"]].concat());
    let key = made["egress_ip"]["wg_client_public_key"].as_str().unwrap();
    assert_eq!(key.len(), 44);
    assert_eq!(admin.run(&exit).code, 1, "the address is taken");
    let proxy = [
        "egress",
        "create",
        "--label",
        "proxy",
        "--address",
        "203.0.113.11",
    ];
    let made = admin
        .run(&[&proxy[..], &["--proxy-config", config]].concat())
        .ok();
    assert!(made.contains("***") && !made.contains("hush"), "{made}");

    let changed = admin.json(&["egress", "set", "203.0.113.10", "--label", "way out"]);
    assert_eq!(changed["egress_ip"]["wg_endpoint"], "vpn.example.net:51820");
    assert_eq!(
        admin.run(&["egress", "set", "way out"]).code,
        2,
        "nothing to change"
    );
    let test = admin.run(&["egress", "test", "way out"]);
    assert_eq!(test.code, 1, "no tunnel: {test:?}");
    assert!(test.stdout.contains("wg_public_key"), "{test:?}");
    let listed = admin.run(&["egress", "list"]).ok();
    assert!(listed.contains("way out") && listed.contains("203.0.113.11"));
    assert!(
        !admin
            .run(&["egress", "show", "proxy"])
            .ok()
            .contains("hush")
    );
    for name in ["way out", "203.0.113.11"] {
        admin.run(&["egress", "rm", name, "--yes"]).ok();
    }
    assert_eq!(admin.run(&["egress", "show", "proxy"]).code, 3);
}
