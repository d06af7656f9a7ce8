//! The SSH gateway: devices bring their tunnels, operators log in to devices, all on the same port.
//!
//! | module | holds |
//! |---|---|
//! | [`connection`] | one SSH connection: who it is and what it may ask |
//! | [`handshakes`] | how many log in at once, and of one address |
//! | [`login`] | pure decisions about who may log in |
//! | [`device`] | a device's tunnel: forwards, control channel, end |
//! | [`client`] | what else a device's connection may ask: session channels, forward tunnels |
//! | [`host_login`] | logins to users' hosts by short id |
//! | [`operator`], [`tap`] | a person's session on a device: judged, counted and recorded |
//! | [`upstream`] | the gateway's own login on a device's sshd |
//! | [`own_keys`] | the gateway's own keys |
//! | [`private_key`] | private keys as SSH programs write them |
//! | [`backlog`], [`relay`], [`ending`] | what waits for the device, bytes both ways, how a session's end is passed on |
//! | [`control`] | lines and echoes of the control channel |
//! | [`channel`], [`window`] | an SSH channel as a stream, and its flow control |
//! | [`socket`], [`algorithms`] | below SSH: the connection, what is offered |
//!
//! *Invariant:* russh is named here and below, nowhere else in the server.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moorline_protocol::control::AGENT_IDENT;
use russh::keys::PrivateKey;
use russh::server::Config;
use russh::{Limits, MethodKind, MethodSet, SshId};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::forward::PublicPorts;
use crate::live_sessions::LiveSessions;
use crate::login_limits::LoginLimits;
use crate::passwords::Passwords;
use crate::recent::Recent;
use crate::recording::Recordings;
use crate::registry::Registry;
use crate::tunnels::Tunnels;

mod algorithms;
mod backlog;
mod channel;
mod client;
mod connection;
mod control;
mod device;
mod ending;
mod handshakes;
mod host_login;
mod login;
mod operator;
mod own_keys;
mod private_key;
mod relay;
mod socket;
mod tap;
mod upstream;
mod window;

use connection::Connection;
use handshakes::{Handshakes, Turn};
use own_keys::{load_or_make, public_line};
pub(crate) use private_key::read_private_key;
use socket::Socket;

/// Version text of the gateway, fixed by the control contract section 13.
const IDENT: &str = "SSH-2.0-Moorline";
/// Bytes a peer may have under way on one channel as far as SSH is concerned; streams of devices have credits below
/// it. A rekey allows two of these.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Largest SSH packet.
const PACKET_BYTES: u32 = 32 * 1024;
/// Bytes under one key. AES-GCM is safe for far more; a rekey costs a round trip in which everything waits.
const REKEY_BYTES: usize = u32::MAX as usize;
/// Time under one key.
const REKEY_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long a connection may take to authenticate; a person types a password in that time.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for the client's version text before it counts as a stock client.
const IDENT_PATIENCE: Duration = Duration::from_millis(300);
/// Pause after a failed accept, so that a lack of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Refused logins a minute and address that become events.
const MAX_RECORDED_REFUSALS: u32 = 10;
/// How long connections may take to end when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the gateway is told.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Host key; made when it is not there.
    pub host_key_path: PathBuf,
    /// Key with which the gateway logs in to a device's sshd; made when it is not there.
    pub gateway_key_path: PathBuf,
    /// Region: only forwards of this node are granted.
    pub node: String,
    /// Silence after which a stock client is asked for a sign of life; twice that ends its connection.
    pub keepalive_interval: Duration,
    /// Whether signatures of `ssh-rsa`, which use SHA-1, are taken.
    pub legacy_ssh_rsa: bool,
    /// Whether keys that nobody registered may log in.
    pub allow_anonymous_keys: bool,
    /// Where sessions are recorded, where that is demanded.
    pub recordings: Recordings,
}

/// Why the gateway cannot run.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// A key file cannot be used.
    #[error("read or make SSH key {path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("listen for SSH on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// The gateway before it runs: keys loaded, listeners bound.
pub struct Gateway {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    host_key: String,
    gateway_key: String,
}

struct Shared {
    config: GatewayConfig,
    registry: Registry,
    passwords: Passwords,
    tunnels: Tunnels,
    ports: PublicPorts,
    gateway_key: Arc<PrivateKey>,
    for_agents: Arc<Config>,
    for_others: Arc<Config>,
    handshakes: Arc<Handshakes>,
    logins: LoginLimits,
    live: LiveSessions,
    doors: host_login::Doors,
    recorded_refusals: Mutex<Recent<IpAddr>>,
    tasks: TaskTracker,
}

impl Gateway {
    /// Loads or makes the keys and binds the listeners.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn bind(
        config: GatewayConfig,
        registry: Registry,
        passwords: Passwords,
        logins: LoginLimits,
        live: LiveSessions,
        tunnels: Tunnels,
        ports: PublicPorts,
    ) -> Result<Self, GatewayError> {
        let host_key = load_or_make(&config.host_key_path)?;
        let gateway_key = load_or_make(&config.gateway_key_path)?;
        let listeners = config
            .listen
            .iter()
            .map(|address| listen(*address))
            .collect::<Result<_, _>>()?;
        let lines = [&host_key, &gateway_key].map(public_line);
        let [host_key_line, gateway_key_line] = lines;
        let shared = Shared {
            for_agents: Arc::new(server_config(host_key.clone(), None, &config)),
            for_others: Arc::new(server_config(
                host_key,
                Some(config.keepalive_interval),
                &config,
            )),
            config,
            registry,
            passwords,
            tunnels,
            ports,
            gateway_key: Arc::new(gateway_key),
            handshakes: Handshakes::new(),
            logins,
            live,
            doors: host_login::Doors::default(),
            recorded_refusals: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            listeners,
            host_key: host_key_line,
            gateway_key: gateway_key_line,
        })
    }

    /// `type base64` of the host key.
    #[must_use]
    pub fn host_key_line(&self) -> &str {
        &self.host_key
    }

    /// `type base64` of the key with which the gateway logs in to devices.
    #[must_use]
    pub fn gateway_key_line(&self) -> &str {
        &self.gateway_key
    }

    /// For connections that come in elsewhere.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry(self.shared.clone())
    }

    /// The addresses that are listened on.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves until `stop`, then ends the sessions of people, tells the devices to come back, staggered, and ends.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            shared, listeners, ..
        } = self;
        let accepting = listeners
            .into_iter()
            .map(|listener| accept(shared.clone(), listener, stop.clone()));
        futures::future::join_all(accepting).await;
        shared.live.end_all("server is stopping");
        shared.tunnels.drain();
        shared.tasks.close();
        if timeout(DRAIN_TIMEOUT, shared.tasks.wait()).await.is_err() {
            info!("connections left at the end of the drain");
        }
    }
}

/// A way into the gateway beside its own listeners, for ports that carry SSH among other things. Cheap to clone.
#[derive(Clone)]
pub struct Entry(Arc<Shared>);

impl Entry {
    /// Serves a connection as if the gateway had accepted it, with the same limits: waits while too many are not
    /// logged in yet. It ends with the gateway.
    pub async fn take(&self, stream: TcpStream, peer: SocketAddr) {
        if let Some(room) = self.0.handshakes.room().await {
            take(&self.0, stream, peer, room);
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, GatewayError> {
    crate::forward::bind(address, BACKLOG)
        .map_err(|source| GatewayError::Listen { address, source })
}

/// When a key is renewed.
const fn limits() -> Limits {
    Limits {
        rekey_write_limit: REKEY_BYTES,
        rekey_read_limit: REKEY_BYTES,
        rekey_time_limit: REKEY_INTERVAL,
    }
}

fn server_config(
    host_key: PrivateKey,
    keepalive: Option<Duration>,
    gateway: &GatewayConfig,
) -> Config {
    let methods = [
        MethodKind::PublicKey,
        MethodKind::KeyboardInteractive,
        MethodKind::Password,
    ];
    Config {
        server_id: SshId::Standard(IDENT.into()),
        methods: MethodSet::from(methods.as_slice()),
        auth_rejection_time: Duration::from_secs(1),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        limits: limits(),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        preferred: algorithms::offered(gateway.legacy_ssh_rsa),
        // A device has one key; an operator's agent may offer several before the right one.
        max_auth_attempts: 12,
        inactivity_timeout: None,
        keepalive_interval: keepalive,
        // Whether silence ends a connection is decided by the watch of `device`, which knows who it is.
        keepalive_max: 0,
        nodelay: true,
        ..Config::default()
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    loop {
        let Some(room) = shared.handshakes.room().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => take(&shared, stream, peer, room),
            Err(error) => {
                warn!(%error, "accept SSH connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves a connection once it is its turn.
fn take(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, room: OwnedSemaphorePermit) {
    let Some(arrival) = shared.handshakes.arrive(peer.ip(), room) else {
        debug!(%peer, "SSH connection closed: too many of its address log in");
        return;
    };
    let shared = shared.clone();
    let tasks = shared.tasks.clone();
    let connection = async move {
        match timeout(LOGIN_TIMEOUT, arrival.turn()).await {
            // Boxed, so that one that waits takes little.
            Ok(Some(turn)) => Box::pin(serve(shared, stream, peer, turn)).await,
            Ok(None) | Err(_) => debug!("no turn to log in"),
        }
    };
    tasks.spawn(connection.instrument(info_span!("ssh", %peer)));
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, turn: Turn) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "set nodelay");
    }
    let config = if is_agent(&stream).await {
        shared.for_agents.clone()
    } else {
        shared.for_others.clone()
    };
    let (socket, life) = Socket::new(stream);
    let (connection, ended) = Connection::new(shared.clone(), peer, life.clone(), turn);
    let authenticated = ended.authenticated();
    let session = match timeout(
        LOGIN_TIMEOUT,
        russh::server::run_stream(config, socket, connection),
    )
    .await
    {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            debug!(%error, "SSH handshake failed");
            return;
        }
        Err(_) => {
            debug!("SSH handshake timed out");
            return;
        }
    };
    tokio::pin!(session);
    let login = timeout(LOGIN_TIMEOUT, authenticated.cancelled());
    let result = tokio::select! {
        result = &mut session => result,
        login = login => {
            if login.is_err() {
                debug!("login took too long");
                life.kill();
            }
            session.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "SSH connection ended");
    }
    ended.clean_up().await;
}

/// Whether the client is our agent, as far as its version text tells; it decides only who sends keepalives.
async fn is_agent(stream: &TcpStream) -> bool {
    let mut begin = [0; AGENT_IDENT.len()];
    match timeout(IDENT_PATIENCE, stream.peek(&mut begin)).await {
        Ok(Ok(bytes)) => bytes == begin.len() && begin == *AGENT_IDENT.as_bytes(),
        Ok(Err(_)) | Err(_) => false,
    }
}
