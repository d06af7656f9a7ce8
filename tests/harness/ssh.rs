use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Done, run, run_with_input};
use crate::server::TestServer;

/// An ed25519 key pair in two files.
#[derive(Clone, Debug)]
pub struct KeyPair {
    private: PathBuf,
}

impl KeyPair {
    /// Makes a pair; `private` is the file of the private half.
    pub fn make(private: &Path) -> Self {
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
            .arg(private))
        .ok();
        Self {
            private: private.to_path_buf(),
        }
    }

    /// A pair that was made before.
    #[must_use]
    pub fn at(private: &Path) -> Self {
        Self {
            private: private.to_path_buf(),
        }
    }

    /// File of the private half.
    #[must_use]
    pub fn private_file(&self) -> &Path {
        &self.private
    }

    /// File of the public half.
    #[must_use]
    pub fn public_file(&self) -> PathBuf {
        self.private.with_extension("pub")
    }

    /// The public half, one line with its line break.
    #[must_use]
    pub fn public(&self) -> String {
        std::fs::read_to_string(self.public_file()).unwrap()
    }
}

/// Stock OpenSSH programs that read no configuration of the machine and check the host key against one file.
#[derive(Clone, Debug)]
pub struct Ssh {
    options: Vec<String>,
    password: Option<String>,
    target: String,
}

impl Ssh {
    /// `user` at `port` of `host`; the host's key has to be in `known_hosts`.
    #[must_use]
    pub fn new(host: &str, port: u16, user: &str, known_hosts: &Path) -> Self {
        let options = [
            "-F/dev/null".to_owned(),
            format!("-oPort={port}"),
            format!("-oUserKnownHostsFile={}", known_hosts.display()),
            "-oGlobalKnownHostsFile=/dev/null".into(),
            "-oStrictHostKeyChecking=yes".into(),
            "-oConnectTimeout=120".into(),
            "-oIdentitiesOnly=yes".into(),
            "-oIdentityAgent=none".into(),
            "-oLogLevel=ERROR".into(),
        ];
        Self {
            options: options.into(),
            password: None,
            target: format!("{user}@{host}"),
        }
    }

    /// The gateway of `server`, by the name of a device.
    #[must_use]
    pub fn gateway(server: &TestServer, user: &str, folder: &Path) -> Self {
        let known_hosts = folder.join("gateway_known_hosts");
        std::fs::write(&known_hosts, server.known_hosts()).unwrap();
        Self::new(server.host(), server.ssh_port(), user, &known_hosts)
    }

    /// Logs in with `key` and nothing else.
    #[must_use]
    pub fn key(mut self, key: &KeyPair) -> Self {
        let file = key.private_file().display().to_string();
        self.options
            .extend([format!("-oIdentityFile={file}"), "-oBatchMode=yes".into()]);
        self
    }

    /// Logs in with a password and nothing else.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.options.extend([
            "-oPubkeyAuthentication=no".into(),
            "-oNumberOfPasswordPrompts=1".into(),
        ]);
        self.password = Some(password.to_owned());
        self
    }

    /// A further `-o` option.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(format!("-o{option}"));
        self
    }

    /// `user@host`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// `program` (`ssh`, `scp`, `sftp`) with these options, without a target.
    #[must_use]
    pub fn program(&self, program: &str) -> Command {
        let mut command = match &self.password {
            Some(password) => {
                let mut command = Command::new("sshpass");
                command.args(["-p", password, program]);
                command
            }
            None => Command::new(program),
        };
        command.args(&self.options).env_remove("SSH_AUTH_SOCK");
        command
    }

    /// The options as one text for `rsync -e`.
    #[must_use]
    pub fn as_text(&self) -> String {
        format!("ssh {}", self.options.join(" "))
    }

    /// `ssh` to the target with `arguments` after it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("ssh");
        command.arg(&self.target).args(arguments);
        command
    }

    /// Runs one command line on the other side.
    #[must_use]
    pub fn run(&self, line: &str) -> Done {
        run(&mut self.command(&[line]))
    }

    /// Runs one command line on the other side with input.
    #[must_use]
    pub fn run_with_input(&self, line: &str, input: &[u8]) -> Done {
        run_with_input(&mut self.command(&[line]), input)
    }
}
