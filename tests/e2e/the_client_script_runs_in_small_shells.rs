use std::path::PathBuf;
use std::process::Command;

use harness::{Api, Done, KeyPair, Operator, Running, Ssh, Sshd, TestServer, eventually, run};
use tempfile::TempDir;

use crate::station::me;

/// A device that has nothing but the script.
struct Small {
    _server: TestServer,
    operator: Operator,
    sshd: Sshd,
    folder: TempDir,
    shell: &'static [&'static str],
    ssh: &'static str,
    script: PathBuf,
    port: u16,
}

impl Small {
    fn with(shell: &'static [&'static str], ssh: &'static str) -> Self {
        let server = TestServer::start();
        let sshd = Sshd::start();
        let folder = TempDir::new().unwrap();
        let api: Api = server.api(&server.full_key("factory"));
        let operator = Operator::login(&server);
        let made = api.create(&[
            ("name", "small"),
            ("fwport", &sshd.port().to_string()),
            ("username", &me()),
        ]);
        operator.open_port("small");
        let script = folder.path().join("client.sh");
        std::fs::write(&script, api.script(made["client_id"].as_str().unwrap())).unwrap();
        Self {
            operator,
            _server: server,
            sshd,
            shell,
            ssh,
            script,
            port: u16::try_from(made["port"].as_u64().unwrap()).unwrap(),
            folder,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.shell[0]);
        command
            .args(&self.shell[1..])
            .arg(&self.script)
            .args(words)
            .env("MOORLINE_STATE_DIR", self.folder.path().join("state"))
            .env("MOORLINE_SSH", self.ssh)
            .env("HOME", self.folder.path());
        command
    }

    fn run(&self, words: &[&str]) -> Done {
        run(&mut self.command(words))
    }

    fn log_in(&self) {
        let key = KeyPair::make(&self.folder.path().join("operator"));
        self.sshd.authorize(&key);
        let known_hosts = self.folder.path().join("known_hosts");
        let line = format!("[127.0.0.1]:{} {}\n", self.port, self.sshd.host_key());
        std::fs::write(&known_hosts, line).unwrap();
        let ssh = Ssh::new("127.0.0.1", self.port, &me(), &known_hosts).key(&key);
        // The device is online a moment before its forward is granted.
        eventually("ssh is served on the public port", || {
            ssh.run("echo there").code == 0
        });
    }

    /// The whole life of the script: key, tunnel in the foreground, status, end, start and stop.
    fn lives(self) {
        assert_eq!(self.run(&["dance"]).code, 2);
        assert_eq!(self.run(&["status"]).code, 3);
        self.run(&["createkeypair"]).ok();
        self.run(&["createkeypair"]).ok();

        let log = self.folder.path().join("log");
        let mut foreground =
            Running::start("client script", &self.command(&[]), &log).with_children();
        self.operator.wait_online("small", None);
        eventually("the script says that it is connected", || {
            self.run(&["status"]).code == 0
        });
        assert_eq!(self.run(&["status"]).stdout, "connected\n");
        self.log_in();
        foreground.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(
            foreground
                .wait(std::time::Duration::from_secs(120))
                .success()
        );
        self.operator.wait_offline("small");

        self.run(&["start"]).ok();
        self.run(&["start"]).ok();
        self.operator.wait_online("small", None);
        self.run(&["stop"]).ok();
        self.operator.wait_offline("small");
        let status = self.run(&["status"]);
        assert_eq!((status.code, status.stdout.as_str()), (3, "not running\n"));
        self.refuses_another_host_key();
    }

    fn refuses_another_host_key(&self) {
        let stranger = KeyPair::make(&self.folder.path().join("stranger"));
        let public = stranger.public();
        let wrong = public
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let text = std::fs::read_to_string(&self.script).unwrap();
        let mut lines = Vec::new();
        for line in text.lines() {
            if line.starts_with("SERVER_HOST_KEY=") {
                lines.push(format!("SERVER_HOST_KEY='{wrong}'"));
            } else {
                lines.push(line.to_owned());
            }
        }
        std::fs::write(&self.script, lines.join("\n") + "\n").unwrap();
        let log = self.folder.path().join("mismatch");
        let script = Running::start("client script", &self.command(&[]), &log).with_children();
        eventually("the script says that the host key is wrong", || {
            script.log().contains("HOST KEY MISMATCH")
        });
        assert!(self.operator.device("small").tunnel.is_none());
        assert_eq!(self.run(&["status"]).code, 1);
    }
}

#[test]
fn dash_with_openssh() {
    Small::with(&["dash"], "ssh").lives();
}

#[test]
fn dash_with_dropbear() {
    Small::with(&["dash"], "dbclient").lives();
}

#[test]
fn busybox_with_openssh() {
    Small::with(&["busybox", "sh"], "ssh").lives();
}

#[test]
fn busybox_with_dropbear() {
    Small::with(&["busybox", "sh"], "dbclient").lives();
}
