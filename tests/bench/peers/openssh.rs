use std::process::Command;

use anyhow::Result;
use harness::{KeyPair, Running, Ssh, Sshd, free_port};
use tempfile::TempDir;

use super::{IdleMemory, Peer};
use crate::idle::{IdleTunnels, Login};
use crate::load::reconnect::wait_served;
use crate::processes;
use crate::service::Service;

/// Each tunnel is two processes of the server, so that a few tell what a thousand would cost.
const MOST_IDLE_TUNNELS: usize = 50;

/// `ssh -N -R` in a loop that begins again after a second, default cipher.
#[derive(Debug)]
pub(super) struct OpenSsh {
    // Fields go in this order: the client before the server it talks to.
    _client: Running,
    sshd: Sshd,
    port: u16,
    _folder: TempDir,
}

impl OpenSsh {
    pub(super) fn start(service: &Service) -> Result<Self> {
        let folder = TempDir::new()?;
        let sshd = Sshd::start();
        let key = KeyPair::make(&folder.path().join("key"));
        sshd.authorize(&key);
        let known_hosts = folder.path().join("known_hosts");
        std::fs::write(
            &known_hosts,
            format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key()),
        )?;
        let port = free_port();
        let ssh = Ssh::new("127.0.0.1", sshd.port(), &processes::me(), &known_hosts)
            .key(&key)
            .option("ExitOnForwardFailure=yes")
            .option("ServerAliveInterval=15");
        let forward = format!("127.0.0.1:{port}:127.0.0.1:{}", service.port());
        let once = ssh.command(&["-N", "-R", &forward]);
        let mut client = Command::new("sh");
        client
            .args(["-c", "while :; do \"$@\"; sleep 1; done", "tunnel"])
            .arg(once.get_program())
            .args(once.get_args())
            .env_remove("SSH_AUTH_SOCK");
        let client = Running::start("ssh", &client, &folder.path().join("log")).with_children();
        wait_served(port)?;
        Ok(Self {
            _client: client,
            sshd,
            port,
            _folder: folder,
        })
    }
}

impl Peer for OpenSsh {
    fn name(&self) -> &'static str {
        "openssh"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn kill_server(&mut self) -> bool {
        // Every connection has processes of its own, which outlive the listener.
        let connections = processes::family(self.sshd.process().id());
        self.sshd.kill();
        processes::kill(&connections);
        true
    }

    fn launch_server(&mut self) {
        self.sshd.launch();
    }

    fn idle_memory(&self, count: usize) -> Result<Option<IdleMemory>> {
        let sshd = Sshd::start();
        let tunnels = count.min(MOST_IDLE_TUNNELS);
        let before = processes::family(sshd.process().id());
        let before_bytes = processes::memory_bytes(&before)?;
        let folder = TempDir::new()?;
        let key = KeyPair::make(&folder.path().join("key"));
        sshd.authorize(&key);
        let logins = (0..tunnels)
            .map(|_| Login::with_key_file(&processes::me(), key.private_file()))
            .collect::<Result<Vec<_>>>()?;
        let held = IdleTunnels::hold(sshd.port(), logins)?;
        let after = processes::family(sshd.process().id());
        let after_bytes = processes::memory_bytes(&after)?;
        drop(held);
        Ok(Some(IdleMemory {
            tunnels,
            before_bytes,
            after_bytes,
        }))
    }
}
