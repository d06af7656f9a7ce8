//! The gateway's own login on a device's sshd, inside the tunnel.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::Channel;
use russh::client::{self, AuthResult};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use thiserror::Error;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::{PACKET_BYTES, algorithms};
use crate::tunnels::Stream;

/// How long the login may take, in all.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the device may take to open a channel.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// What the device may have under way to us on the session.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Why the gateway could not log in on the device.
#[derive(Debug, Error)]
pub(super) enum UpstreamError {
    /// The sshd shows another host key than the one that is known.
    #[error(
        "host key of the device's sshd is not the one its agent reported or that was seen first: {seen}"
    )]
    HostKey {
        /// What it showed.
        seen: String,
    },
    /// The sshd does not accept our key.
    #[error(
        "the device's sshd refused the gateway's key for user {username}; hint: set `authorized_keys` and `username` in the device's agent.toml, or log in end to end with `ssh -J`"
    )]
    Refused {
        /// The user we tried.
        username: String,
    },
    /// It did not answer in time.
    #[error("the device's sshd did not answer in time")]
    TimedOut,
    /// SSH went wrong.
    #[error("SSH to the device failed: {0}")]
    Ssh(#[from] russh::Error),
}

/// A channel on the device, and what keeps its connection.
pub(super) struct Upstream {
    channel: Channel<client::Msg>,
    connection: client::Handle<HostKey>,
}

impl Upstream {
    /// The channel, and what its connection lives by.
    pub(super) fn split(self) -> (Channel<client::Msg>, client::Handle<HostKey>) {
        (self.channel, self.connection)
    }
}

/// The gateway, logged in on the device.
pub(super) struct Connected {
    /// Host key seen now, when none was known before.
    pub(super) new_host_key: Option<String>,
    connection: client::Handle<HostKey>,
}

impl Connected {
    /// Opens a session.
    pub(super) async fn session(self) -> Result<Upstream, UpstreamError> {
        let opened = timeout(OPEN_TIMEOUT, self.connection.channel_open_session()).await;
        self.with(opened)
    }

    /// Opens a connection from the device to `host`:`port`, on behalf of `originator`.
    pub(super) async fn direct_tcpip(
        self,
        host: &str,
        port: u16,
        originator: SocketAddr,
    ) -> Result<Upstream, UpstreamError> {
        let address = originator.ip().to_canonical().to_string();
        let opening = self.connection.channel_open_direct_tcpip(
            host,
            port.into(),
            address,
            originator.port().into(),
        );
        let opened = timeout(OPEN_TIMEOUT, opening).await;
        self.with(opened)
    }

    fn with(
        self,
        opened: Result<Result<Channel<client::Msg>, russh::Error>, Elapsed>,
    ) -> Result<Upstream, UpstreamError> {
        Ok(Upstream {
            channel: opened.map_err(|_| UpstreamError::TimedOut)??,
            connection: self.connection,
        })
    }
}

/// Logs in over `stream`. `known` are the host keys the sshd may show; when there is
/// none yet, the one it shows now is trusted: the stream leads to the device that proved its own key.
pub(super) async fn log_in(
    stream: Stream,
    username: &str,
    key: Arc<PrivateKey>,
    known: Vec<String>,
) -> Result<Connected, UpstreamError> {
    timeout(LOGIN_TIMEOUT, try_log_in(stream, username, key, known))
        .await
        .unwrap_or(Err(UpstreamError::TimedOut))
}

async fn try_log_in(
    stream: Stream,
    username: &str,
    key: Arc<PrivateKey>,
    known: Vec<String>,
) -> Result<Connected, UpstreamError> {
    let config = client::Config {
        client_id: russh::SshId::Standard(super::IDENT.into()),
        limits: super::limits(),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        preferred: algorithms::towards_devices(&known),
        ..client::Config::default()
    };
    let seen = Arc::new(Mutex::new(None));
    let none_known = known.is_empty();
    let handler = HostKey {
        known,
        seen: seen.clone(),
    };
    let take_seen = || seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let connected = client::connect_stream(Arc::new(config), stream, handler).await;
    let mut connection = match connected {
        Ok(connection) => connection,
        Err(russh::Error::UnknownKey) => {
            let seen = take_seen().unwrap_or_default();
            return Err(UpstreamError::HostKey { seen });
        }
        Err(error) => return Err(error.into()),
    };
    let key = PrivateKeyWithHashAlg::new(key, None);
    match connection.authenticate_publickey(username, key).await? {
        AuthResult::Success => {}
        AuthResult::Failure { .. } => {
            return Err(UpstreamError::Refused {
                username: username.to_owned(),
            });
        }
    }
    let new_host_key = take_seen().filter(|_| none_known);
    Ok(Connected {
        new_host_key,
        connection,
    })
}

/// Judges the host key.
pub(super) struct HostKey {
    known: Vec<String>,
    seen: Arc<Mutex<Option<String>>>,
}

impl client::Handler for HostKey {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        server: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = server else {
            return Ok(false);
        };
        let line = key.to_openssh().map_err(|_| russh::Error::UnknownKey)?;
        let shown = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let trusted = self.known.is_empty() || self.known.contains(&shown);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(trusted)
    }
}
