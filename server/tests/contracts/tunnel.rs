//! Tunnels of real OpenSSH clients, and a device's service behind them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use moorline_server::registry::model::Node;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::bed::{Bed, text};

const PATIENCE: Duration = Duration::from_secs(120);
/// Below the ports that the system gives to outgoing connections.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 100;

/// Gives the server public ports that no other server of a test on this machine is likely to have.
pub(crate) async fn take_own_ports(bed: &Bed) {
    let by_chance = Uuid::new_v4().as_u128() % 200;
    let first = FIRST_PORT + u16::try_from(by_chance).unwrap() * PORTS;
    let node = Node {
        ports: (first, first + PORTS - 1),
        ..bed.node().await
    };
    bed.registry.put_node(node).await.unwrap();
}

/// A device: its key pair and a service that echoes.
pub(crate) struct Device {
    folder: TempDir,
    pub(crate) service: u16,
    _echo: JoinSet<()>,
    /// Of the device in the provisioning calls.
    pub(crate) client_id: String,
    /// Public port of its first forward.
    pub(crate) port: u16,
}

impl Device {
    /// Makes a device by `create_new_client` whose first forward leads to its service.
    pub(crate) async fn enrolled(bed: &Bed) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let public_key = make_key(&folder.path().join("key"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let service = listener.local_addr().unwrap().port();
        let mut echo = JoinSet::new();
        echo.spawn(echo_all(listener));
        let made = bed
            .create(&[
                ("public_key", public_key.as_str()),
                ("fwport", &service.to_string()),
            ])
            .await;
        Self {
            folder,
            service,
            _echo: echo,
            client_id: text(&made, "client_id"),
            port: u16::try_from(made["port"].as_u64().unwrap()).unwrap(),
        }
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Its public key as `ssh-keygen` wrote it.
    pub(crate) fn public_key(&self) -> String {
        let path = self.key_file().with_extension("pub");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// Begins to hold the tunnel.
    pub(crate) fn hold(&self, bed: &Bed) -> Held {
        self.hold_port(bed, self.port)
    }

    /// The same with another public port of the device.
    pub(crate) fn hold_port(&self, bed: &Bed, port: u16) -> Held {
        let forward = format!("{port}:127.0.0.1:{}", self.service);
        let child = self
            .ssh(bed, &["-N", "-o", "LogLevel=ERROR", "-R", &forward])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Held(child)
    }

    /// Begins a forward tunnel to this public port, whose bytes go through the pipes of the client.
    pub(crate) fn reach(&self, bed: &Bed, port: u16) -> Held {
        let child = self
            .ssh(bed, &["-W", &format!("localhost:{port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Held(child)
    }

    fn ssh(&self, bed: &Bed, words: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-T", "-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes"])
            .args(["-o", "ExitOnForwardFailure=yes"])
            .arg("-i")
            .arg(self.key_file())
            .args(["-p", &ssh_port(bed).to_string()])
            .args(words)
            .arg(format!("{}@127.0.0.1", self.client_id));
        ssh
    }
}

/// A running client; it ends with this.
pub(crate) struct Held(Child);

impl Held {
    /// Whether the client has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Held {
    /// Sends these bytes through its pipes, and tells whether they came back.
    pub(crate) fn echoes(&mut self, bytes: &[u8]) -> bool {
        let mut back = vec![0; bytes.len()];
        let sent = self.0.stdin.as_mut().unwrap().write_all(bytes);
        let read = self.0.stdout.as_mut().unwrap().read_exact(&mut back);
        sent.and(read).is_ok() && back == bytes
    }

    /// What the client complained of by its end.
    pub(crate) fn complaint(mut self) -> String {
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

/// Makes a key pair at `path`; gives the public key.
pub(crate) fn make_key(path: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "of a test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

fn ssh_port(bed: &Bed) -> u16 {
    let text = std::fs::read_to_string(bed.folder().join("listening.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let address: SocketAddr = json["ssh"][0].as_str().unwrap().parse().unwrap();
    address.port()
}

/// Sends back what comes, one connection after the other.
async fn echo_all(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.split();
        // A visitor may go at any time.
        drop(tokio::io::copy(&mut reader, &mut writer).await);
        drop(writer.shutdown().await);
    }
}

/// What a visitor gets back for `bytes` sent to a public port; nothing when the port is closed to them.
pub(crate) async fn visit(from: IpAddr, port: u16, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut got = Vec::new();
        let Ok(mut stream) = socket.connect(server).await else {
            return got;
        };
        // A connection that is closed at once may fail at any of these.
        if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
            drop(stream.read_to_end(&mut got).await);
        }
        got
    };
    timeout(PATIENCE, exchange)
        .await
        .expect("an end of the visit in time")
}

/// Waits until `done`.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{what}: not within {PATIENCE:?}");
}
