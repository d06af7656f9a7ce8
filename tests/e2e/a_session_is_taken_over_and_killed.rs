use std::time::Duration;

use harness::{eventually, run};
use nix::sys::signal::Signal;

use crate::openport_client::{Client, GREETING, Scene};

const END_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_newer_ssh_takes_the_port_from_one_that_is_frozen() {
    let scene = Scene::new();
    let mut client = scene.client("frozen-ssh");
    client.session = scene.session(&client.key.public(), &[("ip_link_protection", "false")]);
    let mut first = scene.tunnel(&client);
    eventually("the first serves", || {
        scene.visit(&client.session) == GREETING
    });
    // A second session of the same key lives beside it and is left alone.
    let other = Client {
        key: client.key.clone(),
        session: scene.session(&client.key.public(), &[("ip_link_protection", "false")]),
    };
    let mut beside = scene.tunnel(&other);
    eventually("the other session serves", || {
        scene.visit(&other.session) == GREETING
    });

    first.signal(Signal::SIGSTOP);
    let again = scene.request_port(&[
        ("public_key", &client.key.public()),
        (
            "restart_session_token",
            client.session["session_token"].as_str().unwrap(),
        ),
        ("automatic_restart", "true"),
        ("ip_link_protection", "false"),
    ]);
    assert_eq!(again, client.session, "while the old tunnel seems up");
    let mut second = scene.tunnel(&client);
    eventually("the second serves", || {
        scene.visit(&client.session) == GREETING
    });
    first.signal(Signal::SIGCONT);
    first.wait(END_LIMIT);
    assert_eq!(scene.visit(&client.session), GREETING);
    assert_eq!(scene.visit(&other.session), GREETING);
    assert!(second.ended().is_none() && beside.ended().is_none());
}

#[test]
fn a_killed_session_ends_its_tunnel_and_its_client() {
    let scene = Scene::new();
    let mut client = scene.client("killed");
    client.session = scene.session(&client.key.public(), &[("ip_link_protection", "false")]);
    let mut tunnel = scene.tunnel(&client);
    eventually("the tunnel serves", || {
        scene.visit(&client.session) == GREETING
    });
    let killed = scene.kill_session(&client.session);
    assert_eq!(
        (killed.status, killed.text.as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    assert!(!tunnel.wait(END_LIMIT).success());
    assert_eq!(scene.visit(&client.session), "");

    let refused = scene.restart(&client, "true");
    assert_eq!(refused["error"], "Session killed");
    assert_eq!(refused["fatal_error"], true);
    // A client that does not ask first is not served either.
    let reverse = scene.reverse(&client.session);
    let line = ["-N", "-R", &reverse];
    let stubborn = run(&mut scene.open(&client.key).command(&line));
    assert_eq!(stubborn.code, 255, "{stubborn:?}");
    // A person may start it again.
    let again = scene.restart(&client, "false");
    assert_eq!(again["server_port"], client.session["server_port"]);
    let _tunnel = scene.tunnel(&client);
    scene.operator.wait_online("killed", None);
}

#[test]
fn a_device_out_of_service_loses_its_tunnel_and_gets_it_back() {
    let scene = Scene::new();
    let mut client = scene.client("blocked-key");
    client.session = scene.session(&client.key.public(), &[("ip_link_protection", "false")]);
    let mut tunnel = scene.tunnel(&client);
    eventually("the tunnel serves", || {
        scene.visit(&client.session) == GREETING
    });
    scene.operator.set_state("blocked-key", "blocked");
    tunnel.wait(END_LIMIT);
    assert_eq!(scene.visit(&client.session), "");
    let refused = scene.restart(&client, "true");
    assert_eq!(refused["error"], "Client blocked");
    assert!(refused.get("fatal_error").is_none());
    let login = run(&mut scene.open(&client.key).command(&["-N"]));
    assert!(login.stderr.contains("Permission denied"), "{login:?}");
    scene.operator.set_state("blocked-key", "active");
    let again = scene.restart(&client, "true");
    assert_eq!(again["server_port"], client.session["server_port"]);
    let _tunnel = scene.tunnel(&client);
    scene.operator.wait_online("blocked-key", None);
}
