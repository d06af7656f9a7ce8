use std::process::Command;
use std::time::Duration;

use harness::{KeyPair, Running, ServerOptions, eventually, run, wait_for};

use crate::openport_client::{GREETING, Scene, port, rsa, token};

const END_LIMIT: Duration = Duration::from_secs(120);
const OPEN: [(&str, &str); 1] = [("ip_link_protection", "false")];

#[test]
fn a_session_token_as_command_holds_the_connection_and_nothing_else_does() {
    let scene = Scene::new();
    let key = KeyPair::make(&scene.folder.path().join("key"));
    // Nobody has registered this key; a protected port leads nowhere without a click, so it is an open one.
    let session = scene.session(&key.public(), &OPEN);
    assert_eq!(session["account_id"], 0);
    let ssh = scene.open(&key);
    let (reverse, token) = (scene.reverse(&session), token(&session));
    let command = ssh.command(&["-R", &reverse, &token]);
    let mut held = Running::start("ssh -R token", &command, &scene.folder.path().join("held"));
    eventually("the tunnel serves", || scene.visit(&session) == GREETING);
    assert!(held.ended().is_none());
    assert_eq!(held.log(), "", "it is silent");
    drop(held);

    for line in ["uptime", "AAAAAAAAAAAAAAAA", ""] {
        let refused = run(&mut ssh.command(&["--", line]));
        assert_eq!(refused.code, 1, "{line}: {refused:?}");
    }
    let shell = run(&mut ssh.command(&["-tt"]));
    assert_eq!(shell.code, 1, "{shell:?}");
    assert!(shell.stdout.contains("no shell here"), "{shell:?}");
    let subsystem = run(&mut ssh.command(&["-s", "sftp"]));
    assert_ne!(subsystem.code, 0, "{subsystem:?}");

    // Beside a forward a shell stays, for clients that were not told `-N`.
    let command = ssh.command(&["-tt", "-R", &reverse]);
    let mut shell = Running::start("ssh -R", &command, &scene.folder.path().join("shell"));
    eventually("the tunnel serves", || scene.visit(&session) == GREETING);
    assert!(shell.ended().is_none(), "{}", shell.log());
    drop(shell);

    // Ports that are not reserved for the key, 0 included, and strangers are refused.
    let stranger = KeyPair::make(&scene.folder.path().join("stranger"));
    let refused = run(&mut scene.open(&stranger).command(&["-N"]));
    assert!(refused.stderr.contains("Permission denied"), "{refused:?}");
    scene.session(&stranger.public(), &OPEN);
    for (key, port) in [(&stranger, port(&session)), (&key, 0), (&key, 1)] {
        let reverse = format!("{port}:127.0.0.1:{}", scene.service);
        let refused = run(&mut scene.open(key).command(&["-N", "-R", &reverse]));
        assert_eq!(refused.code, 255, "{port}: {refused:?}");
        assert!(refused.stderr.contains("forward"), "{refused:?}");
    }
}

#[test]
fn of_many_keepalive_sessions_the_oldest_is_closed() {
    let scene = Scene::new();
    let client = scene.client("chatty");
    let socket = scene.folder.path().join("control");
    let path = format!("ControlPath={}", socket.display());
    let shared = scene.open(&client.key).option(&path);
    let reverse = scene.reverse(&client.session);
    let command = shared.command(&["-M", "-N", "-R", &reverse]);
    let mut master = Running::start("ssh -M", &command, &scene.folder.path().join("master"));
    wait_for("the connection is shared", END_LIMIT, || {
        socket.exists().then_some(())
    });
    let token = token(&client.session);
    let mut start = |number: usize| {
        let command = shared.command(&["-v", &token]);
        let log = scene.folder.path().join(format!("session{number}"));
        let session = Running::start("ssh token", &command, &log);
        eventually("the session is there", || {
            session
                .log()
                .contains("mux_client_request_session: master session id")
        });
        session
    };
    let mut sessions: Vec<_> = (0..16).map(&mut start).collect();
    assert!(sessions.iter_mut().all(|session| session.ended().is_none()));
    sessions.push(start(16));
    sessions[0].wait(END_LIMIT);
    assert!(
        sessions[1..]
            .iter_mut()
            .all(|session| session.ended().is_none())
    );
    assert!(master.ended().is_none());
}

#[test]
fn old_rsa_keys_log_in_with_a_line_break_in_what_was_told() {
    let scene = Scene::new();
    for bits in ["1024", "4096"] {
        let key = rsa(&scene.folder, bits);
        let line = key.public();
        let (head, tail) = line.split_at(100);
        let session = scene.session(&format!("{head}\n{tail}"), &OPEN);
        for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
            let only = format!("PubkeyAcceptedAlgorithms={algorithm}");
            let ssh = scene.open(&key).option(&only);
            let command = ssh.command(&["-N", "-R", &scene.reverse(&session)]);
            let log = scene.folder.path().join(format!("{bits}{algorithm}"));
            let _tunnel = Running::start("ssh -R", &command, &log);
            eventually("the tunnel serves", || scene.visit(&session) == GREETING);
        }
    }
}

#[test]
fn signatures_with_sha1_need_to_be_allowed() {
    let legacy = ServerOptions {
        config: "[ssh]\nlegacy_ssh_rsa = true\n".into(),
        ..ServerOptions::default()
    };
    for (options, allowed) in [(ServerOptions::default(), false), (legacy, true)] {
        let scene = Scene::with(options);
        let key = rsa(&scene.folder, "2048");
        let session = scene.session(&key.public(), &OPEN);
        let ssh = scene.open(&key).option("PubkeyAcceptedAlgorithms=ssh-rsa");
        let command = ssh.command(&["-N", "-R", &scene.reverse(&session)]);
        let mut tunnel = Running::start("ssh -R", &command, &scene.folder.path().join("sha1"));
        if allowed {
            eventually("the tunnel serves", || scene.visit(&session) == GREETING);
        } else {
            assert_eq!(tunnel.wait(END_LIMIT).code(), Some(255), "{}", tunnel.log());
            assert!(tunnel.log().contains("Permission denied"));
        }
    }
}

#[test]
fn dropbear_holds_a_session() {
    let scene = Scene::new();
    let key = scene.folder.path().join("dropbear_key");
    run(Command::new("dropbearkey")
        .args(["-t", "rsa", "-s", "1024", "-f"])
        .arg(&key))
    .ok();
    let shown = run(Command::new("dropbearkey").arg("-y").arg("-f").arg(&key)).ok();
    let public = shown.lines().find(|line| line.starts_with("ssh-rsa"));
    let session = scene.session(public.unwrap(), &OPEN);
    let mut command = Command::new("dbclient");
    command
        .args([
            "-y",
            "-y",
            "-N",
            "-K",
            "5",
            "-o",
            "ExitOnForwardFailure=yes",
        ])
        .arg("-i")
        .arg(&key)
        .args(["-R", &scene.reverse(&session)])
        .args(["-p", &scene.server.ssh_port().to_string()])
        .arg(format!("open@{}", scene.server.host()))
        .env("HOME", scene.folder.path());
    let mut tunnel = Running::start("dbclient -R", &command, &scene.folder.path().join("log"));
    eventually("the tunnel serves", || scene.visit(&session) == GREETING);
    assert!(tunnel.ended().is_none());
}

#[test]
fn a_client_id_logs_in_for_the_same_protocol() {
    let scene = Scene::new();
    let api = scene.server.api(&scene.server.full_key("factory"));
    let key = KeyPair::make(&scene.folder.path().join("key"));
    let public = key.public();
    let made = api.create(&[("name", "both"), ("public_key", public.trim())]);
    scene.operator.open_port("both");
    let session = scene.session(&public, &[]);
    let id = made["client_id"].as_str().unwrap();
    let ssh = harness::Ssh::gateway(&scene.server, id, scene.folder.path()).key(&key);
    let command = ssh.command(&["-R", &scene.reverse(&session), &token(&session)]);
    let mut tunnel = Running::start("ssh -R", &command, &scene.folder.path().join("log"));
    eventually("the tunnel serves", || scene.visit(&session) == GREETING);
    assert!(tunnel.ended().is_none());
}

#[test]
fn the_address_of_a_forward_is_repeated_as_it_came() {
    let scene = Scene::new();
    let client = scene.client("addresses");
    let session = scene.session(&client.key.public(), &OPEN);
    let reverse = scene.reverse(&session);
    // ssh takes a connection only under the address that it asked for.
    for address in ["", ":", "*:", "0.0.0.0:", "localhost:", "192.0.2.1:"] {
        let reverse = format!("{address}{reverse}");
        let command = scene.open(&client.key).command(&["-N", "-R", &reverse]);
        let log = scene.folder.path().join("addresses.log");
        let mut tunnel = Running::start("ssh -R", &command, &log);
        eventually("the tunnel serves", || scene.visit(&session) == GREETING);
        assert!(tunnel.ended().is_none());
        drop(tunnel);
        scene.operator.wait_offline("addresses");
    }
}

#[test]
fn a_forward_that_is_cancelled_closes_its_port_and_its_shell() {
    let scene = Scene::new();
    let client = scene.client("cancelled");
    let session = scene.session(&client.key.public(), &OPEN);
    let socket = scene.folder.path().join("control");
    let path = format!("ControlPath={}", socket.display());
    let shared = scene.open(&client.key).option(&path);
    let reverse = scene.reverse(&session);
    let command = shared.command(&["-M", "-N", "-R", &reverse]);
    let mut master = Running::start("ssh -M", &command, &scene.folder.path().join("master"));
    eventually("the tunnel serves", || scene.visit(&session) == GREETING);
    let command = shared.command(&["-tt"]);
    let mut shell = Running::start("ssh", &command, &scene.folder.path().join("shell"));
    // The one that is named beside it, since requests are answered in their order.
    assert_eq!(
        run(&mut shared.command(&["--", &token(&session), "x"])).code,
        1
    );
    assert!(shell.ended().is_none(), "{}", shell.log());
    run(&mut shared.command(&["-O", "cancel", "-R", &reverse])).ok();
    shell.wait(END_LIMIT);
    assert_eq!(scene.visit(&session), "");
    assert!(master.ended().is_none());
    run(&mut shared.command(&["-O", "forward", "-R", &reverse])).ok();
    eventually("the tunnel serves", || scene.visit(&session) == GREETING);
}
