use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Api, KeyPair, Operator, Running, ServerOptions, Sshd, TestServer, run, wait_for};
use russh::client::{self, Handle};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::paths::Rathole;

/// Handshakes under way at the same time.
const AT_ONCE: usize = 16;
/// Public ports beyond one a tunnel.
const SPARE_PORTS: u16 = 16;

/// What idle tunnels cost the server.
pub(crate) struct Idle {
    pub(crate) kib_each: f64,
    pub(crate) per_second: f64,
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// Proportional memory of a process and its children, in KiB.
fn memory_kib(process: u32) -> f64 {
    let own = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let pss = own.lines().find_map(|line| line.strip_prefix("Pss:"));
    let own: f64 = pss
        .and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0.0);
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
        .unwrap_or_default();
    own + children
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .map(memory_kib)
        .sum::<f64>()
}

/// So many devices, each with its own key, real handshake and granted forward.
pub(crate) fn moorline(tunnels: u16) -> Idle {
    let server = TestServer::start_with(ServerOptions {
        ports: tunnels + SPARE_PORTS,
        ..ServerOptions::default()
    });
    let api = server.api(&server.full_key("bench"));
    let devices: Vec<Device> = (0..tunnels)
        .map(|number| Device::make(&api, number))
        .collect();
    let before = memory_kib(server.process().id());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = (server.host().to_owned(), server.ssh_port());
    let started = Instant::now();
    let held = runtime.block_on(connect_all(devices, address));
    let took = started.elapsed();
    let operator = Operator::login(&server);
    wait_for("the last tunnel is open", Duration::from_secs(30), || {
        let name = format!("idle{:06}", held.len());
        operator.try_device(&name)?.tunnel.map(|_| ())
    });
    let after = memory_kib(server.process().id());
    let count = held.len() as f64;
    runtime.block_on(async { drop(held) });
    Idle {
        kib_each: (after - before) / count,
        per_second: count / took.as_secs_f64(),
    }
}

struct Device {
    id: String,
    port: u32,
    key: PrivateKey,
}

impl Device {
    fn make(api: &Api, number: u16) -> Self {
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        let public = key.public_key().to_openssh().unwrap();
        let made = api.create(&[("prefix", "idle"), ("public_key", &public)]);
        Self {
            id: made["client_id"].as_str().unwrap().to_owned(),
            port: u32::try_from(made["port"].as_u64().unwrap()).unwrap(),
            key,
        }
    }

    async fn connect(self, address: (String, u16)) -> Handle<Trusting> {
        let config = Arc::new(client::Config {
            inactivity_timeout: None,
            ..client::Config::default()
        });
        let mut session = client::connect(config, address, Trusting).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(self.key), None);
        let answer = session.authenticate_publickey(self.id, key).await.unwrap();
        assert!(answer.success(), "a device was refused");
        session.tcpip_forward("", self.port).await.unwrap();
        session
    }
}

async fn connect_all(devices: Vec<Device>, address: (String, u16)) -> Vec<Handle<Trusting>> {
    let (mut waiting, mut underway) = (devices.into_iter(), JoinSet::new());
    let mut held = Vec::new();
    for device in waiting.by_ref().take(AT_ONCE) {
        underway.spawn(device.connect(address.clone()));
    }
    while let Some(connected) = underway.join_next().await {
        held.push(connected.unwrap());
        if let Some(device) = waiting.next() {
            underway.spawn(device.connect(address.clone()));
        }
    }
    held
}

/// Memory of OpenSSH's server for each of so many `ssh -R` connections.
pub(crate) fn openssh(service: u16, tunnels: u16) -> f64 {
    let folder = TempDir::new().unwrap();
    let sshd = Sshd::start();
    let key = KeyPair::make(&folder.path().join("key"));
    sshd.authorize(&key);
    let known_hosts = folder.path().join("known_hosts");
    std::fs::write(
        &known_hosts,
        format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key()),
    )
    .unwrap();
    let user = run(std::process::Command::new("id").arg("-un")).ok();
    let before = memory_kib(sshd.process().id());
    let held: Vec<Running> = (0..tunnels)
        .map(|number| {
            let forward = format!("0:127.0.0.1:{service}");
            let ssh =
                harness::Ssh::new("127.0.0.1", sshd.port(), user.trim(), &known_hosts).key(&key);
            let mut command = ssh.option("LogLevel=INFO").command(&["-N", "-R", &forward]);
            command.env("LC_ALL", "C");
            Running::start(
                "ssh -R",
                &command,
                &folder.path().join(format!("log{number}")),
            )
        })
        .collect();
    for tunnel in &held {
        wait_for("ssh -R is up", Duration::from_secs(30), || {
            tunnel.log().contains("Allocated port").then_some(())
        });
    }
    (memory_kib(sshd.process().id()) - before) / f64::from(tunnels)
}

/// Memory of rathole's server for each of so many services.
pub(crate) fn rathole(service: u16, tunnels: u16) -> f64 {
    let memory = |services: u16| {
        let rathole = Rathole::start(service, usize::from(services));
        // All its services have said hello when no more memory is taken.
        let mut last = 0.0;
        wait_for("rathole settles", Duration::from_secs(30), || {
            std::thread::sleep(Duration::from_millis(500));
            let now = memory_kib(rathole.server().id());
            let settled = now > 0.0 && now - last < 64.0;
            last = now;
            settled.then_some(now)
        })
    };
    let one = memory(1);
    (memory(tunnels) - one) / f64::from(tunnels - 1)
}
