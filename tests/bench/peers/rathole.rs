use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Running, free_port, free_ports, run, wait_for};
use tempfile::TempDir;

use super::{IdleMemory, Peer};
use crate::load::reconnect::wait_served;
use crate::processes;
use crate::service::Service;

/// Longest wait for the first and the last of many idle tunnels.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// How server and client talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// In the clear.
    Tcp,
    /// Encrypted, with its default pattern.
    Noise,
}

/// rathole's server and client.
#[derive(Debug)]
pub(super) struct Rathole {
    // Fields go in this order: the client before the server it talks to.
    _client: Running,
    server: Running,
    program: PathBuf,
    transport: Transport,
    port: u16,
    folder: TempDir,
}

impl Rathole {
    pub(super) fn start(service: &Service, transport: Transport) -> Result<Self> {
        let program = program()?;
        let folder = TempDir::new()?;
        let port = free_port();
        write_config(folder.path(), &program, transport, &[port], service)?;
        let server = launch(&program, "--server", folder.path());
        let client = launch(&program, "--client", folder.path());
        wait_served(port)?;
        Ok(Self {
            _client: client,
            server,
            program,
            transport,
            port,
            folder,
        })
    }
}

impl Peer for Rathole {
    fn name(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "rathole",
            Transport::Noise => "rathole-noise",
        }
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn kill_server(&mut self) -> bool {
        self.server.kill();
        true
    }

    fn launch_server(&mut self) {
        self.server = launch(&self.program, "--server", self.folder.path());
    }

    /// One client with a service for every tunnel: rathole keeps a control connection and spare connections for each.
    /// Only in the clear; what encryption adds is not a matter of memory.
    fn idle_memory(&self, count: usize) -> Result<Option<IdleMemory>> {
        if self.transport == Transport::Noise {
            return Ok(None);
        }
        let folder = TempDir::new()?;
        let first = free_ports(u16::try_from(count).context("too many idle tunnels")?);
        let ports: Vec<u16> = (first..).take(count).collect();
        // Nobody visits these ports, so that any service will do.
        let service = Service::start()?;
        write_config(
            folder.path(),
            &self.program,
            self.transport,
            &ports,
            &service,
        )?;
        let server = launch(&self.program, "--server", folder.path());
        wait_for("rathole listens", IDLE_LIMIT, || {
            server.log().contains("Listening at").then_some(())
        });
        let before_bytes = processes::memory_bytes(&[server.id()])?;
        let client = launch(&self.program, "--client", folder.path());
        for port in &ports {
            wait_served(*port)?;
        }
        processes::wait_settled(server.id())?;
        let after_bytes = processes::memory_bytes(&[server.id()])?;
        drop(client);
        Ok(Some(IdleMemory {
            tunnels: count,
            before_bytes,
            after_bytes,
        }))
    }
}

fn launch(program: &Path, side: &str, folder: &Path) -> Running {
    let mut command = Command::new(program);
    let file = if side == "--server" {
        "server.toml"
    } else {
        "client.toml"
    };
    command
        .arg(side)
        .arg(folder.join(file))
        .env("RUST_LOG", "info");
    Running::start("rathole", &command, &folder.join(format!("log{side}")))
}

fn write_config(
    folder: &Path,
    program: &Path,
    transport: Transport,
    ports: &[u16],
    service: &Service,
) -> Result<()> {
    let address = format!("127.0.0.1:{}", free_port());
    let mut server = format!("[server]\nbind_addr = \"{address}\"\ndefault_token = \"bench\"\n");
    let mut client = format!("[client]\nremote_addr = \"{address}\"\ndefault_token = \"bench\"\n");
    if transport == Transport::Noise {
        let (private, public) = noise_keys(program)?;
        write!(
            server,
            "[server.transport]\ntype = \"noise\"\n[server.transport.noise]\nlocal_private_key = \"{private}\"\n"
        )?;
        write!(
            client,
            "[client.transport]\ntype = \"noise\"\n[client.transport.noise]\nremote_public_key = \"{public}\"\n"
        )?;
    }
    for port in ports {
        write!(
            server,
            "[server.services.p{port}]\nbind_addr = \"127.0.0.1:{port}\"\n"
        )?;
        write!(
            client,
            "[client.services.p{port}]\nlocal_addr = \"127.0.0.1:{}\"\n",
            service.port()
        )?;
    }
    std::fs::write(folder.join("server.toml"), server)?;
    std::fs::write(folder.join("client.toml"), client)?;
    Ok(())
}

/// A private key and its public key.
fn noise_keys(program: &Path) -> Result<(String, String)> {
    let text = run(Command::new(program).arg("--genkey")).ok();
    let mut keys = text.lines().filter(|line| line.ends_with('='));
    let mut next = || keys.next().map(str::to_owned).context("rathole --genkey");
    Ok((next()?, next()?))
}

/// As installed by the set-up, else wherever the PATH says.
fn program() -> Result<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(tools)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("rathole"))
        .find(|program| program.exists())
        .context("rathole is not installed: `tests/setup bench` builds it from crates.io")
}
