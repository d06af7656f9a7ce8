use std::process::Command;

use harness::{
    ADMIN_PASSWORD, ADMIN_USER, Done, KeyPair, TestDevice, TestServer, binary, run, run_with_input,
};
use serde_json::Value;
use tempfile::TempDir;

/// An operator's home, with nothing in it.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("moorline"));
        command
            .args(arguments)
            .env("HOME", self.0.path())
            .env("XDG_CONFIG_HOME", self.0.path().join("config"))
            .env_remove("SSH_AUTH_SOCK")
            .current_dir(self.0.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }
}

#[test]
fn an_operator_logs_in_looks_around_and_reaches_a_device_by_plain_ssh() {
    let server = TestServer::start();
    let mut device = TestDevice::enrolled(&server, "yawl");
    let home = Home(TempDir::new().unwrap());

    // Nobody is logged in yet, then with the wrong password, then with the right one.
    assert_eq!(home.run(&["device", "list"]).code, 3);
    let login = [
        "login",
        &server.url(),
        "--username",
        ADMIN_USER,
        "--password-stdin",
    ];
    assert_eq!(
        run_with_input(&mut home.command(&login), b"wrong\n").code,
        4
    );
    run_with_input(
        &mut home.command(&login),
        format!("{ADMIN_PASSWORD}\n").as_bytes(),
    )
    .ok();
    assert_eq!(home.json(&["whoami"])["username"], ADMIN_USER);

    let devices = home.json(&["device", "list"]);
    let listed = devices["devices"]
        .as_array()
        .or_else(|| devices.as_array())
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert!(home.run(&["device", "list"]).ok().contains("yawl"));
    assert!(home.run(&["device", "show", "yawl"]).ok().contains("yawl"));
    assert_eq!(home.run(&["device", "show", "nothing"]).code, 3);

    // A key, then plain ssh by name through the configuration that is written.
    std::fs::create_dir(home.0.path().join(".ssh")).unwrap();
    let key = KeyPair::make(&home.0.path().join(".ssh/id_ed25519"));
    home.run(&["key", "add", key.public_file().to_str().unwrap()])
        .ok();
    assert!(home.run(&["key", "list"]).ok().contains("SHA256:"));
    // ssh itself looks for keys in the home that the user database names, not in $HOME.
    let identity = key.private_file().to_str().unwrap();
    let ssh = |line: &[&str]| home.run(&[&["ssh", "-i", identity], line].concat());
    let by_program = ssh(&["yawl", "--", "echo", "through the program"]);
    assert_eq!(by_program.ok(), "through the program\n");

    home.run(&["ssh-config", "--yes"]).ok();
    let config = home.0.path().join(".ssh/config");
    let plain = run(Command::new("ssh")
        .arg("-F")
        .arg(&config)
        .args(["-oBatchMode=yes", "-oIdentitiesOnly=yes"])
        .arg(format!("-oIdentityFile={}", key.private_file().display()))
        .args(["yawl", "echo by plain ssh; exit 6"])
        .env("HOME", home.0.path()));
    assert_eq!(
        (plain.stdout.as_str(), plain.code),
        ("by plain ssh\n", 6),
        "{plain:?}"
    );

    // Renamed, blocked, unblocked, removed.
    home.run(&["device", "rename", "yawl", "ketch"]).ok();
    assert!(ssh(&["ketch", "--", "true"]).code == 0);
    home.run(&["device", "block", "ketch"]).ok();
    assert_ne!(ssh(&["ketch", "--", "true"]).code, 0);
    home.run(&["device", "unblock", "ketch"]).ok();
    device.stop();
    home.run(&["device", "rm", "ketch", "--yes"]).ok();
    assert_eq!(home.run(&["device", "show", "ketch"]).code, 3);

    // An API key: made, used, listed, revoked.
    let made = home.json(&[
        "api-key",
        "create",
        "--name",
        "line-1",
        "--scope",
        "device:create,device:read",
    ]);
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(
        server.api(secret).create(&[("prefix", "x")])["client_name"],
        "x000001"
    );
    assert!(!home.run(&["api-key", "list"]).ok().contains(secret));
    home.run(&["api-key", "revoke", "line-1"]).ok();
    assert_eq!(server.api(secret).call("device_list", &[]).error().0, 32);

    home.run(&["key", "rm", &fingerprint(&key)]).ok();
    home.run(&["logout"]).ok();
    assert_ne!(home.run(&["device", "list"]).code, 0);
}

fn fingerprint(key: &KeyPair) -> String {
    let shown = run(Command::new("ssh-keygen").arg("-lf").arg(key.public_file())).ok();
    shown.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn every_shell_gets_its_completion_and_a_server_that_is_away_is_said_to_be() {
    let home = Home(TempDir::new().unwrap());
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            home.run(&["completions", shell]).ok().contains("moorline"),
            "{shell}"
        );
    }
    let nobody = format!("http://127.0.0.1:{}", harness::free_port());
    let login = ["login", &nobody, "--username", "x", "--password-stdin"];
    assert_eq!(run_with_input(&mut home.command(&login), b"y\n").code, 5);
}
