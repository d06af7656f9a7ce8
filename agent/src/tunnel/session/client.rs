//! What the library asks us during a session: is this the right server, what about this channel, why did it end.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::Channel;
use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session as RusshSession};
use russh::keys::PublicKeyOrCertificate;
use ssh_key::{HashAlg, PublicKey};
use tokio::sync::mpsc;

use super::Opening;

/// What is known about the end of a session.
#[derive(Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<Words>>);

#[derive(Clone, Default)]
pub(super) struct Words {
    /// What the server said, for a person.
    pub(super) told: Option<String>,
    /// What went wrong.
    pub(super) cause: Option<String>,
}

impl LastWords {
    pub(super) fn lock(&self) -> MutexGuard<'_, Words> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, words: &str) {
        let words = words.trim();
        if !words.is_empty() {
            let printable = |c: &char| !c.is_control();
            self.lock().told = Some(words.chars().filter(printable).take(200).collect());
        }
    }
}

/// Which host key is accepted.
pub(super) enum Expected {
    /// This one only.
    Exactly(PublicKey),
    /// None; the key is only noted.
    Learn(Arc<Mutex<Option<PublicKey>>>),
}

pub(super) struct Client {
    pub(super) expected: Expected,
    pub(super) opened: mpsc::Sender<Opening>,
    pub(super) last_words: LastWords,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("the server shows another host key, {offered}")]
    HostKey { offered: String },
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

impl Client {
    fn judge(&self, key: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        let offered = key.public_key();
        match &self.expected {
            Expected::Exactly(expected) if expected.key_data() == offered.key_data() => Ok(true),
            Expected::Exactly(_) => Err(ClientError::HostKey {
                offered: offered.fingerprint(HashAlg::Sha256).to_string(),
            }),
            Expected::Learn(learnt) => {
                *learnt.lock().unwrap_or_else(PoisonError::into_inner) = Some(offered);
                Ok(false)
            }
        }
    }
}

impl Handler for Client {
    type Error = ClientError;

    fn auth_banner(
        &mut self,
        banner: &str,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.last_words.note(banner);
        std::future::ready(Ok(()))
    }

    fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        std::future::ready(self.judge(key))
    }

    fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _connected_address: &str,
        connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let opening = Opening {
            remote_port: connected_port,
            channel,
            reply,
        };
        // The session loop must not wait: a full queue refuses the stream, and so does dropping it.
        if self.opened.try_send(opening).is_err() {
            tracing::debug!("stream refused: too many are being opened");
        }
        std::future::ready(Ok(()))
    }

    // What a tunnel has no use for is refused.
    fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut RusshSession,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(goodbye) => {
                self.last_words.note(&goodbye.message);
                Ok(())
            }
            DisconnectReason::Error(error) => {
                self.last_words.lock().cause = Some(error.to_string());
                Err(error)
            }
        }
    }
}
