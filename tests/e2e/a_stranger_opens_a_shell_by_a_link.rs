use std::os::unix::fs::PermissionsExt as _;

use harness::{KeyPair, Ssh};
use reqwest::Method;
use serde_json::json;

use crate::lodger::{Lodger, ODD_PASSWORD, not_taken, on_terminal, terminal};

/// A shell is waiting for a line.
const PROMPT: &str = "[$#] $";

#[test]
fn an_entry_link_asks_for_the_password_and_ends_in_a_shell_on_the_device() {
    let lodger = Lodger::with_device("linked");
    let password = format!("{ODD_PASSWORD}\n");
    for id in [&lodger.short_id, &lodger.user_short_id] {
        let line = format!("curl -sSL {} | bash", lodger.url(&format!("/entry/{id}")));
        let turns = [
            ("Password: ", password.as_str()),
            (PROMPT, "echo on the device: $((40 + 2)); ps -ww -eo args\n"),
            ("on the device: 42", ""),
            (PROMPT, "exit 7\n"),
        ];
        let done = on_terminal(&line, &turns);
        assert!(done.stdout.contains("on the device: 42"), "{done:?}");
        assert_eq!(done.code, 7, "the status of the shell: {done:?}");
        // What others see of the processes tells no password.
        let ssh = done
            .stdout
            .lines()
            .find(|line| line.starts_with("ssh ") && line.contains(" -t -p "));
        let ssh = ssh.unwrap_or_else(|| panic!("no ssh among the processes: {done:?}"));
        assert!(!ssh.split(' ').any(|word| {
            word.len() == 24 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }));
        assert!(ssh.contains("StrictHostKeyChecking=yes"), "{ssh}");
        assert!(!done.stdout.contains(r#"qu"ote"#), "{done:?}");
    }

    // Wrong once, then right; and with an ssh that asks no program, by sshpass.
    let old = lodger.station.folder().join("old");
    std::fs::create_dir(&old).unwrap();
    let real = harness::run(std::process::Command::new("which").arg("ssh")).ok();
    let shim = format!(
        "#!/bin/sh\n[ \"$1\" = -V ] && {{ echo OpenSSH_7.9p1 >&2; exit; }}\nexec {} \"$@\"\n",
        real.trim()
    );
    std::fs::write(old.join("ssh"), shim).unwrap();
    std::fs::set_permissions(old.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!(
        "PATH={}:$PATH; curl -sSL {} | bash",
        old.display(),
        lodger.url(&format!("/entry/{}", lodger.short_id))
    );
    let turns = [
        ("Password: ", "not the password\n"),
        ("wrong password[^:]*Password: ", password.as_str()),
        (PROMPT, "exit 3\n"),
    ];
    let done = on_terminal(&line, &turns);
    assert_eq!(done.code, 3, "{done:?}");

    // No temporary folder is left behind, and three wrong ones are enough.
    let line = format!("curl -sSL {} | bash", lodger.url("/entry/nobody"));
    let wrong = ("Password: ", "wrong\n");
    let done = on_terminal(&line, &[wrong, wrong, wrong]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("too many wrong passwords"), "{done:?}");

    lodger.wait_done(&lodger.act("stop"));
    let line = format!(
        "curl -sSL {} | bash",
        lodger.url(&format!("/entry/{}", lodger.short_id))
    );
    let done = on_terminal(&line, &[("Password: ", password.as_str())]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.stdout.contains("Your machine is not running."),
        "{done:?}"
    );
}

#[test]
fn the_bootstrap_signs_in_waits_and_ends_in_a_shell() {
    let lodger = Lodger::with_device("booted");
    lodger.wait_done(&lodger.act("stop"));
    let line = format!("curl -sSL {} | bash", lodger.url("/v1/bootstrap/script"));
    let line = format!("export POLL_INTERVAL=1; {line}");
    let username = format!("{}\n", lodger.username);
    let password = format!("{ODD_PASSWORD}\n");
    let entry_password = format!("{}\n", lodger.entry_password);
    let turns = [
        ("Username: ", username.as_str()),
        ("Password: ", password.as_str()),
        ("[Pp]assword: ", entry_password.as_str()),
        (PROMPT, "echo on the device: $((40 + 2))\n"),
        ("on the device: 42", ""),
        (PROMPT, "exit 7\n"),
    ];
    let done = on_terminal(&line, &turns);
    assert!(
        done.stdout.contains("signed in, the host is starting"),
        "{done:?}"
    );
    assert!(done.stdout.contains("on the device: 42"), "{done:?}");
    assert_eq!(done.code, 7, "{done:?}");
    assert_eq!(lodger.status(), "running");

    let typed = |name: &str, password: &str| {
        let (name, password) = (format!("{name}\n"), format!("{password}\n"));
        on_terminal(&line, &[("Username: ", &name), ("Password: ", &password)])
    };
    let wrong = typed(&lodger.username, "wrong");
    assert_eq!(wrong.code, 10, "{wrong:?}");
    let path = format!("/v1/admin/users/{}", lodger.user_id);
    lodger.call(Method::PATCH, &path, &json!({"status": "disabled"}));
    let disabled = typed(&lodger.username, ODD_PASSWORD);
    assert_eq!(disabled.code, 11, "{disabled:?}");
    let nobody = json!({"username": "roofless", "password": "password of nobody"});
    lodger.call(Method::POST, "/v1/admin/users", &nobody);
    let roofless = typed("roofless", "password of nobody");
    assert_eq!(roofless.code, 13, "{roofless:?}");
    // Nothing listens on the discard port.
    let mut gone = terminal(
        &format!("export BOOTSTRAP_API=http://127.0.0.1:9; {line}"),
        &[("Username: ", "x\n"), ("Password: ", "x\n")],
    );
    let gone = harness::run(&mut gone);
    assert_eq!(gone.code, 2, "{gone:?}");
}

#[test]
fn a_host_is_reached_by_its_short_id() {
    let lodger = Lodger::with_device("short");
    let kernel = harness::run(std::process::Command::new("uname").arg("-a")).ok();
    assert_eq!(lodger.by_password().run("uname -a").ok(), kernel);
    let done = lodger.by_password().run("echo out; echo err >&2; exit 3");
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str(), done.code),
        ("out\n", "err\n", 3)
    );
    let text = "line\n".repeat(50_000);
    let counted = lodger
        .by_password()
        .run_with_input("wc -l", text.as_bytes());
    assert_eq!(counted.ok().trim(), "50000");

    // A key of the owner, and of nobody else: the administrator's opens their own devices, not this.
    let own = KeyPair::make(&lodger.station.folder().join("own"));
    let keys = format!("/v1/admin/users/{}/ssh-keys", lodger.user_id);
    lodger.call(Method::POST, &keys, &json!({"public_key": own.public()}));
    assert_eq!(lodger.ssh().key(&own).run("echo by key").ok(), "by key\n");
    let refused = lodger.ssh().key(&lodger.station.key).run("true");
    assert_eq!(refused.code, 255);
    assert!(refused.stderr.contains("Permission denied"), "{refused:?}");
    // The owner's key opens nothing else.
    let elsewhere = Ssh::gateway(&lodger.station.server, "short", lodger.station.folder());
    assert_ne!(elsewhere.key(&own).run("true").code, 0);

    // A password from the entry is good for one login.
    let path = format!("/v1/entry/{}/auth", lodger.short_id);
    let body = json!({"password": ODD_PASSWORD});
    let ready = lodger.call(Method::POST, &path, &body);
    let once = lodger.ssh().password(ready["ssh_pass"].as_str().unwrap());
    assert_eq!(once.run("echo once").ok(), "once\n");
    assert!(not_taken(&once.run("echo twice")));

    // direct-tcpip only where the policy allows it.
    let port = lodger.station.device.sshd().port();
    let banner = |line: &str| {
        let ssh = lodger.by_password();
        let mut command = ssh.program("ssh");
        command.args(["-W", &format!("127.0.0.1:{port}"), ssh.target(), line]);
        harness::run_with_input(&mut command, b"")
    };
    let refused = banner("");
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(!refused.stdout.contains("SSH-2.0"), "{refused:?}");
    lodger.call(
        Method::PATCH,
        &lodger.host_path(),
        &json!({"direct_tcpip_allowed": true}),
    );
    assert!(
        banner("").stdout.contains("SSH-2.0-OpenSSH"),
        "{:?}",
        banner("")
    );
    let remote = lodger.by_password().option("ExitOnForwardFailure=yes");
    let mut remote = remote.command(&["-R", "0:127.0.0.1:22", "true"]);
    assert_ne!(harness::run(&mut remote).code, 0, "forwards are refused");

    // What cannot be reached says why.
    lodger.call(
        Method::PATCH,
        "/v1/admin/devices/short",
        &json!({"state": "blocked"}),
    );
    let blocked = lodger.by_password().run("true");
    assert_eq!(blocked.code, 255);
    assert!(
        blocked
            .stderr
            .contains("Failed to connect to device: device is blocked"),
        "{blocked:?}"
    );
}
