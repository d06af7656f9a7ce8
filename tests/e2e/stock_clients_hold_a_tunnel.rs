use std::process::Command;

use harness::{Api, KeyPair, Operator, Running, Ssh, Sshd, TestServer, eventually, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::station::me;

/// A device that was made by hand, with its sshd; what holds its tunnel is up to the story.
struct Bare {
    server: TestServer,
    operator: Operator,
    api: Api,
    sshd: Sshd,
    folder: TempDir,
}

impl Bare {
    fn new() -> Self {
        let server = TestServer::start();
        Self {
            operator: Operator::login(&server),
            api: server.api(&server.full_key("factory")),
            server,
            sshd: Sshd::start(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn make(&self, name: &str, public_key: &str) -> Value {
        let port = self.sshd.port().to_string();
        let user = me();
        let wishes = [
            ("name", name),
            ("public_key", public_key),
            ("fwport", &port),
            ("username", &user),
        ];
        let made = self.api.create(&wishes);
        self.operator.open_port(name);
        made
    }

    /// Logs in through the public port with a key that the device's sshd lets in.
    fn log_in(&self, made: &Value) {
        let port = u16::try_from(made["port"].as_u64().unwrap()).unwrap();
        let file = self.folder.path().join(format!("operator{port}"));
        let key = if file.exists() {
            KeyPair::at(&file)
        } else {
            KeyPair::make(&file)
        };
        self.sshd.authorize(&key);
        let known_hosts = self.folder.path().join("known_hosts");
        let host = self.server.host();
        std::fs::write(
            &known_hosts,
            format!("[{host}]:{port} {}\n", self.sshd.host_key()),
        )
        .unwrap();
        let ssh = Ssh::new(host, port, &me(), &known_hosts).key(&key);
        // The device is online a moment before its forward is granted.
        eventually("ssh is served on the public port", || {
            ssh.run("echo there").code == 0
        });
        let big = ssh.run("head -c 5000000 /dev/zero | tr '\\0' x").ok();
        assert_eq!(big.len(), 5_000_000);
    }

    /// A visitor that asks for much and reads nothing leaves the next one going.
    fn stall_and_log_in(&self, made: &Value) {
        let port = made["port"].as_u64().unwrap();
        let key = self.folder.path().join(format!("operator{port}"));
        let mut stalled = Command::new("ssh")
            .args([
                "-F/dev/null",
                "-oBatchMode=yes",
                "-oStrictHostKeyChecking=no",
                "-oUserKnownHostsFile=/dev/null",
            ])
            .args([
                "-i",
                key.to_str().unwrap(),
                "-p",
                &port.to_string(),
                &format!("{}@127.0.0.1", me()),
            ])
            .arg("yes | head -c 100000000")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..3 {
            self.log_in(made);
        }
        stalled.kill().unwrap();
        stalled.wait().unwrap();
    }

    fn reverse(&self, made: &Value) -> String {
        format!("{}:localhost:{}", made["port"], self.sshd.port())
    }
}

#[test]
fn openssh_holds_a_tunnel() {
    let bare = Bare::new();
    let key = KeyPair::make(&bare.folder.path().join("device_key"));
    let made = bare.make("openssh", key.public().trim());
    let id = made["client_id"].as_str().unwrap();
    let ssh = Ssh::gateway(&bare.server, id, bare.folder.path())
        .key(&key)
        .option("ExitOnForwardFailure=yes")
        .option("ServerAliveInterval=5");
    let reverse = bare.reverse(&made);
    let command = ssh.command(&["-N", "-R", &reverse]);
    let tunnel = Running::start("ssh -R", &command, &bare.folder.path().join("log"));
    bare.operator.wait_online("openssh", None);
    bare.log_in(&made);

    bare.stall_and_log_in(&made);

    // Another device's port is not for it.
    let other = bare.make("other", "");
    let stolen = format!("{}:localhost:{}", other["port"], bare.sshd.port());
    let refused = run(&mut ssh.command(&["-N", "-R", &stolen]));
    assert_eq!(refused.code, 255, "{refused:?}");
    assert!(refused.stderr.contains("forward"), "{refused:?}");
    drop(tunnel);
    bare.operator.wait_offline("openssh");
}

#[test]
fn dropbear_holds_a_tunnel() {
    let bare = Bare::new();
    let key = bare.folder.path().join("dropbear_key");
    run(Command::new("dropbearkey")
        .args(["-t", "ed25519", "-f"])
        .arg(&key))
    .ok();
    let shown = run(Command::new("dropbearkey").arg("-y").arg("-f").arg(&key)).ok();
    let public = shown
        .lines()
        .find(|line| line.starts_with("ssh-ed25519"))
        .unwrap();
    let made = bare.make("dropbear", public);
    let id = made["client_id"].as_str().unwrap();

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
            "-i",
        ])
        .arg(&key)
        .args([
            "-R",
            &bare.reverse(&made),
            "-p",
            &bare.server.ssh_port().to_string(),
        ])
        .arg(format!("{id}@{}", bare.server.host()))
        .env("HOME", bare.folder.path());
    let tunnel = Running::start("dbclient -R", &command, &bare.folder.path().join("log"));
    bare.operator.wait_online("dropbear", None);
    bare.log_in(&made);
    bare.stall_and_log_in(&made);
    drop(tunnel);
    bare.operator.wait_offline("dropbear");
}
