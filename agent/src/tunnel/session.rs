//! One SSH connection to the node. The only file of the agent that names `russh`.

use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use moorline_protocol::control::{AGENT_IDENT, SUBSYSTEM};
use moorline_protocol::flow;
use russh::client::{
    AuthResult, ChannelOpenHandle, Config, DisconnectReason, Handle, Handler, Msg,
    Session as RusshSession, connect_stream,
};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Disconnect, Limits,
    Preferred, SshId, cipher, compression, kex, mac,
};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::dial::Cutter;
use super::meter::{Meter, Metered};
use super::{ConnectError, EndReason};
use crate::device_key::DeviceKey;

/// Time for version exchange, key exchange and login together. A router's CPU needs about a second of it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the server to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that the server opened and the tunnel has not looked at yet.
const OPENING_QUEUE: usize = 32;
/// Messages of a channel on their way to its reader; readers never pause for longer than a turn of the loop.
const CHANNEL_QUEUE: usize = 32;
/// Read from the socket at once. The library reads four bytes, then the rest of a packet.
const SOCKET_BUFFER_BYTES: usize = 32 * 1024;
/// SSH window of a channel, in bytes. Above every credit, so that credits and not windows do the pacing.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Largest packet, in bytes (RFC 4253 section 6.1 asks for at least this).
const PACKET_BYTES: u32 = 32_768;
/// Bytes after which new keys are made. The library ends a session that has more than two windows in flight
/// meanwhile, so seldom; both ciphers are good for far more.
const REKEY_BYTES: usize = 3 << 30;
/// Time after which new keys are made; each time costs 4 KiB.
const REKEY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A connection that is logged in.
pub(super) struct Session {
    handle: Handle<Client>,
    last_words: LastWords,
    local: Option<IpAddr>,
    /// Last: what is left of the library's session ends when the socket does.
    _cutter: Cutter,
}

/// Streams that the server wants to open.
pub(super) struct Openings(mpsc::Receiver<Opening>);

/// What is known about the end of a session.
#[derive(Clone, Default)]
struct LastWords(Arc<Mutex<Words>>);

#[derive(Clone, Default)]
struct Words {
    /// What the server said, for a person.
    told: Option<String>,
    /// What went wrong.
    cause: Option<String>,
}

/// A stream that the server wants to open.
pub(super) struct Opening {
    /// Public port that the visitor came to.
    pub(super) remote_port: u32,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
}

/// What comes in on a channel.
pub(super) enum Inbound {
    /// Payload.
    Data(Bytes),
    /// The other end takes that many bytes more.
    Credit(u32),
    /// No more payload will come; the other direction goes on.
    Eof,
    /// The other end takes nothing any more.
    Close,
}

/// The receiving half of a channel.
pub(super) struct Reader(ChannelReadHalf);

/// The sending half of a channel.
pub(super) struct Writer(ChannelWriteHalf<Msg>);

/// The session ended while something was sent.
#[derive(Debug)]
pub(super) struct Gone;

/// Answer to a request for a forward.
pub(super) enum Granted {
    /// It is open.
    Yes,
    /// The server said no.
    No,
}

impl Session {
    /// Logs in over `socket` as `user`.
    pub(super) async fn open(
        socket: TcpStream,
        host_key: &PublicKey,
        user: &str,
        key: &DeviceKey,
        meter: Meter,
    ) -> Result<(Self, Openings), ConnectError> {
        let lost = |error: &dyn std::fmt::Display| ConnectError::Lost(error.to_string());
        let local = socket.local_addr().ok().map(|local| local.ip());
        let cutter = Cutter::of(&socket).map_err(|error| lost(&error))?;
        let (opened, incoming) = mpsc::channel(OPENING_QUEUE);
        let last_words = LastWords::default();
        let client = Client {
            expected: Expected::Exactly(host_key.clone()),
            opened,
            last_words: last_words.clone(),
        };
        let stream = BufReader::with_capacity(SOCKET_BUFFER_BYTES, Metered::new(socket, meter));
        let login = async {
            let mut handle =
                connect_stream(Arc::new(config(host_key.algorithm())), stream, client).await?;
            let key = PrivateKeyWithHashAlg::new(key.private(), None);
            let verdict = handle.authenticate_publickey(user, key).await?;
            Ok::<_, ClientError>((handle, verdict))
        };
        let (handle, verdict) = timeout(HANDSHAKE_TIMEOUT, login)
            .await
            .map_err(|_| ConnectError::Lost("the server did not finish the handshake".into()))?
            .map_err(|error| match error {
                ClientError::HostKey { offered } => ConnectError::HostKey { offered },
                ClientError::Ssh(error) => ConnectError::Lost(error.to_string()),
            })?;
        match verdict {
            AuthResult::Success => {
                // A banner greets; only what is said from now on is about the end.
                last_words.lock().told = None;
                let session = Self {
                    handle,
                    last_words,
                    local,
                    _cutter: cutter,
                };
                Ok((session, Openings(incoming)))
            }
            AuthResult::Failure {
                remaining_methods, ..
            } => {
                let closed = handle.is_closed() && remaining_methods.is_empty();
                Err(failed_login(last_words.lock().told.clone(), closed))
            }
        }
    }

    /// Opens the `moorline` channel; `None` when the server is not a Moorline server.
    pub(super) async fn control_channel(&self) -> Result<Option<(Reader, Writer)>, Gone> {
        let open = async {
            let mut channel = self.handle.channel_open_session().await.map_err(refused)?;
            let asked = channel.request_subsystem(true, SUBSYSTEM).await;
            asked.map_err(|_| None)?;
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return Ok(channel),
                    Some(ChannelMsg::Failure | ChannelMsg::Close) => return Err(Some(())),
                    Some(_) => {}
                    None => return Err(None),
                }
            }
        };
        match timeout(REQUEST_TIMEOUT, open).await {
            Ok(Ok(channel)) => {
                let (read, write) = channel.split();
                Ok(Some((Reader(read), Writer(write))))
            }
            Ok(Err(Some(()))) => Ok(None),
            Ok(Err(None)) | Err(_) => Err(Gone),
        }
    }

    /// Asks for a forward (RFC 4254 section 7.1).
    pub(super) async fn forward(&self, remote_port: u16) -> Result<Granted, Gone> {
        let asked = self.handle.tcpip_forward("", remote_port.into());
        match timeout(REQUEST_TIMEOUT, asked).await {
            Ok(Ok(_)) => Ok(Granted::Yes),
            Ok(Err(russh::Error::RequestDenied)) => Ok(Granted::No),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Gives a forward back.
    pub(super) async fn cancel_forward(&self, remote_port: u16) -> Result<(), Gone> {
        let asked = self.handle.cancel_tcpip_forward("", remote_port.into());
        match timeout(REQUEST_TIMEOUT, asked).await {
            Ok(Ok(()) | Err(russh::Error::RequestDenied)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Asks for a sign of life that every SSH server gives.
    pub(super) async fn ask(&self) -> Result<(), Gone> {
        let asked = timeout(REQUEST_TIMEOUT, self.handle.send_keepalive(true));
        asked.await.map_err(|_| Gone)?.map_err(|_| Gone)
    }

    /// Waits for the end of the session.
    pub(super) async fn ended(&mut self) -> EndReason {
        let result = (&mut self.handle).await;
        let words = self.last_words.lock().clone();
        match (words.told, words.cause, result) {
            (Some(told), ..) => EndReason::Told(told),
            (None, Some(cause), _) => EndReason::Lost(cause),
            (None, None, Ok(())) => EndReason::Lost("the connection was closed".into()),
            (None, None, Err(error)) => EndReason::Lost(error.to_string()),
        }
    }

    /// Address of the device that the connection hangs on.
    pub(super) const fn local_address(&self) -> Option<IpAddr> {
        self.local
    }

    /// Says goodbye.
    pub(super) async fn disconnect(&self) {
        let goodbye = self
            .handle
            .disconnect(Disconnect::ByApplication, "agent stops", "");
        if !matches!(timeout(REQUEST_TIMEOUT, goodbye).await, Ok(Ok(()))) {
            tracing::debug!("session ended before the goodbye");
        }
    }
}

/// Some(()) when the server said no, None when it is gone.
fn refused(error: russh::Error) -> Option<()> {
    matches!(error, russh::Error::ChannelOpenFailure(_)).then_some(())
}

/// `closed`: the library gives an empty list of methods too when the connection ends during the login.
fn failed_login(told: Option<String>, closed: bool) -> ConnectError {
    match told {
        Some(words) => ConnectError::KeyRefused { words },
        None if closed => {
            ConnectError::Lost("the server closed the connection during the login".into())
        }
        None => ConnectError::KeyRefused {
            words: "the server does not accept the device key".into(),
        },
    }
}

impl LastWords {
    fn lock(&self) -> MutexGuard<'_, Words> {
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

impl Openings {
    /// The next one; for ever silent once the session ended.
    pub(super) async fn next(&mut self) -> Opening {
        match self.0.recv().await {
            Some(opening) => opening,
            None => std::future::pending().await,
        }
    }
}

impl Opening {
    /// Takes the stream.
    pub(super) async fn accept(self) -> (Reader, Writer) {
        self.reply.accept().await;
        let (read, write) = self.channel.split();
        (Reader(read), Writer(write))
    }

    /// There is nobody at the device's port.
    pub(super) async fn refuse(self) {
        self.reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }

    /// There are too many streams.
    pub(super) async fn refuse_for_now(self) {
        self.reply
            .reject(ChannelOpenFailure::ResourceShortage)
            .await;
    }
}

impl Reader {
    /// What comes next; `None` when the session ended.
    pub(super) async fn next(&mut self) -> Option<Inbound> {
        loop {
            match self.0.wait().await? {
                ChannelMsg::Data { data } => return Some(Inbound::Data(data)),
                ChannelMsg::ExtendedData {
                    data,
                    ext: flow::CREDIT,
                } => {
                    if let Some(credit) = flow::decode(&data) {
                        return Some(Inbound::Credit(credit));
                    }
                }
                ChannelMsg::Eof => return Some(Inbound::Eof),
                ChannelMsg::Close => return Some(Inbound::Close),
                _ => {}
            }
        }
    }
}

impl Writer {
    pub(super) async fn data(&self, bytes: Bytes) -> Result<(), Gone> {
        self.0.data_bytes(bytes).await.map_err(|_| Gone)
    }

    pub(super) async fn credit(&self, credit: u32) -> Result<(), Gone> {
        let bytes = Bytes::copy_from_slice(&flow::encode(credit));
        let sent = self.0.extended_data_bytes(flow::CREDIT, bytes).await;
        sent.map_err(|_| Gone)
    }

    pub(super) async fn eof(&self) -> Result<(), Gone> {
        self.0.eof().await.map_err(|_| Gone)
    }

    pub(super) async fn close(&self) -> Result<(), Gone> {
        self.0.close().await.map_err(|_| Gone)
    }
}

/// The host key that a server offers, for example the device's own sshd; it is learnt, not trusted.
pub(super) async fn offered_host_key(
    socket: TcpStream,
    algorithm: Algorithm,
    within: Duration,
) -> Option<PublicKey> {
    let (opened, _incoming) = mpsc::channel(1);
    let learnt = Arc::new(Mutex::new(None));
    let client = Client {
        expected: Expected::Learn(Arc::clone(&learnt)),
        opened,
        last_words: LastWords::default(),
    };
    let handshake = connect_stream(Arc::new(config(algorithm)), socket, client);
    // It always fails: no key is accepted here.
    if timeout(within, handshake).await.is_err() {
        tracing::debug!("no SSH handshake at the forwarded port in time");
    }
    learnt.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Which host key is accepted.
enum Expected {
    /// This one only.
    Exactly(PublicKey),
    /// None; the key is only noted.
    Learn(Arc<Mutex<Option<PublicKey>>>),
}

struct Client {
    expected: Expected,
    opened: mpsc::Sender<Opening>,
    last_words: LastWords,
}

#[derive(Debug, thiserror::Error)]
enum ClientError {
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

/// No weak algorithm, no RSA, strict key exchange; the host key algorithm is that of the key we expect.
fn config(host_key: Algorithm) -> Config {
    const KEX: &[kex::Name] = &[
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ];
    const FAST_AES: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];
    const SLOW_AES: &[cipher::Name] = &[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM];
    const MAC: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
    Config {
        client_id: SshId::Standard(Cow::Owned(format!(
            "{AGENT_IDENT}{}",
            env!("CARGO_PKG_VERSION")
        ))),
        // `Limits::new` insists on at most 1 GiB, which is meant for ciphers with small blocks.
        limits: Limits {
            rekey_write_limit: REKEY_BYTES,
            rekey_read_limit: REKEY_BYTES,
            rekey_time_limit: REKEY_AFTER,
        },
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_QUEUE,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Owned(vec![host_key]),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(if has_aes() { FAST_AES } else { SLOW_AES }),
            mac: Cow::Borrowed(MAC),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        // The tunnel keeps its own watch, paced by a data budget.
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..Config::default()
    }
}

/// Host key algorithms to learn from a device's sshd, the common one first.
pub(super) const HOST_KEY_ALGORITHMS: [Algorithm; 2] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
];

/// Whether the CPU has instructions for AES.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
