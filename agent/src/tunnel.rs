//! The tunnel: one SSH connection to the node, from dialling to its end.
//!
//! | module | holds |
//! |---|---|
//! | [`dial`] | name look-up and TCP |
//! | `session` | SSH; the only module that names the library |
//! | `control` | messages with the server |
//! | `forwards` | which forwards are held |
//! | `stream` | one forwarded stream |
//! | [`keepalive`] | when to ask for a sign of life |
//! | [`meter`] | bytes on the socket |
//!
//! *Invariant:* nothing here decides when to try again; that is [`crate::reconnect`].

use std::time::Duration;

use moorline_protocol::control::Hello;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::device_key::DeviceKey;
use crate::provision::Provision;
use crate::status::StatusBoard;
use crate::wakeups::Wakeups;

mod control;
pub mod dial;
mod forwards;
mod hold;
pub mod keepalive;
pub mod meter;
mod session;
mod stream;

use dial::DialError;
use keepalive::Pace;
use meter::Meter;
use session::Session;

/// Time for one host key of the device's own sshd; slow CPUs need a second or two.
const HOST_KEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the first words of an sshd. It speaks first; what stays silent is something else.
const BANNER_TIMEOUT: Duration = Duration::from_millis(500);

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server is not the one the client script names.
    #[error(
        "the server shows host key {offered}, which is not the one in the client script; refused"
    )]
    HostKey {
        /// Fingerprint of the key it shows.
        offered: String,
    },
    /// The server does not let this device in.
    #[error("login refused: {words}")]
    KeyRefused {
        /// What it said.
        words: String,
    },
    /// The connection failed during the handshake.
    #[error("SSH handshake: {0}")]
    Lost(String),
}

/// Why a session ended.
enum EndReason {
    /// The server said so, with these words.
    Told(String),
    /// The connection failed.
    Lost(String),
}

/// How a tunnel ended.
#[derive(Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// The connection failed, or the server went down.
    Lost {
        /// How long the tunnel was up.
        lived: Duration,
        /// For the log.
        reason: String,
    },
    /// The device has another address now; the connection hangs on the old one.
    Moved {
        /// How long the tunnel was up.
        lived: Duration,
    },
    /// A newer tunnel of this device took over.
    Displaced,
    /// The server does not want this device any more.
    Rejected(String),
    /// The server said when to come back.
    Told {
        /// From now.
        come_back_in: Duration,
    },
    /// The forwards changed: fetch the client script again, then come back at once.
    Reprovision,
    /// The agent is to stop.
    Stopped,
}

/// What holding a tunnel needs.
pub struct Tunnel<'a> {
    /// Where to, and what to forward.
    pub provision: &'a Provision,
    /// Who we are.
    pub key: &'a DeviceKey,
    /// What we tell about the device.
    pub hello: Hello,
    /// How closely the link is watched.
    pub pace: Pace,
    /// Streams at once, and bytes under way on each.
    pub limits: Limits,
    /// Counts the bytes.
    pub meter: &'a Meter,
    /// Shows what goes on.
    pub board: &'a StatusBoard,
}

/// What the memory of the device allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at once.
    pub streams: usize,
    /// Bytes that wait for a slow program, per stream.
    pub stream_credit_bytes: u32,
}

impl Limits {
    /// What suits a device with that much memory, in KiB.
    #[must_use]
    pub const fn for_memory(kib: u64) -> Self {
        let (streams, stream_credit_bytes) = match kib {
            0..65_536 => (48, 64 * 1024),
            65_536..262_144 => (128, 256 * 1024),
            262_144..1_048_576 => (256, 1024 * 1024),
            _ => (512, 2 * 1024 * 1024),
        };
        Self {
            streams,
            stream_credit_bytes,
        }
    }
}

impl Tunnel<'_> {
    /// Connects, logs in and holds the tunnel until it ends.
    ///
    /// # Errors
    /// [`ConnectError`] when it never came up.
    pub async fn hold(
        mut self,
        wakeups: &mut Wakeups,
        stop: &CancellationToken,
    ) -> Result<TunnelEnd, ConnectError> {
        let provision = self.provision;
        let connect = async {
            let socket = dial::dial(&provision.server_host, provision.server_port).await?;
            let host_key = &provision.server_host_key;
            let user = &provision.ssh_user;
            Session::open(socket, host_key, user, self.key, self.meter.clone()).await
        };
        // The device's own sshd is asked meanwhile.
        let both = async { tokio::join!(connect, sshd_host_keys(provision.forward.local_port)) };
        let (session, host_keys) = tokio::select! {
            both = both => both,
            () = stop.cancelled() => return Ok(TunnelEnd::Stopped),
        };
        let (session, openings) = session?;
        self.hello.sshd_host_keys = host_keys;
        Ok(hold::Holder::new(self, session, openings)
            .run(wakeups, stop)
            .await)
    }
}

/// Tries the login and nothing more; for `doctor`.
///
/// # Errors
/// [`ConnectError`].
pub async fn try_login(provision: &Provision, key: &DeviceKey) -> Result<(), ConnectError> {
    let socket = dial::dial(&provision.server_host, provision.server_port).await?;
    let host_key = &provision.server_host_key;
    let probe = key.clone();
    let session = Session::open(
        socket,
        host_key,
        &provision.ssh_user,
        &probe,
        Meter::default(),
    );
    let (session, _openings) = session.await?;
    session.disconnect().await;
    Ok(())
}

/// The host keys that the device's own sshd shows at `port`, `type base64`; none when there is no sshd.
async fn sshd_host_keys(port: u16) -> Vec<String> {
    let mut keys = Vec::new();
    for algorithm in session::HOST_KEY_ALGORITHMS {
        let Some(socket) = connect_to_sshd(port).await else {
            break;
        };
        let key = session::offered_host_key(socket, algorithm, HOST_KEY_TIMEOUT).await;
        keys.extend(key.and_then(|key| key.to_openssh().ok()));
    }
    keys
}

/// A connection to `port` of the device, if it is an SSH server that answers.
async fn connect_to_sshd(port: u16) -> Option<tokio::net::TcpStream> {
    const BANNER: &[u8] = b"SSH-";
    let socket = stream::connect(port).await.ok()?;
    let mut first = [0; BANNER.len()];
    let peeked = tokio::time::timeout(BANNER_TIMEOUT, socket.peek(&mut first)).await;
    let read = peeked.ok()?.ok()?;
    // A first packet may hold fewer bytes; nothing else begins that way.
    (read > 0 && BANNER.starts_with(first.get(..read)?)).then_some(socket)
}

/// Whether something listens at `port` of the device.
///
/// # Errors
/// What the system says.
pub async fn try_local_port(port: u16) -> std::io::Result<()> {
    stream::connect(port).await.map(drop)
}
