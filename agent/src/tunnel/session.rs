//! One SSH connection to the node. Only this file and those in its folder name `russh`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use moorline_protocol::control::SUBSYSTEM;
use moorline_protocol::flow;
use russh::client::{AuthResult, ChannelOpenHandle, Handle, Msg, connect_stream};
use russh::keys::PrivateKeyWithHashAlg;
use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Disconnect,
};
use ssh_key::{Algorithm, PublicKey};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod algorithms;
mod client;

pub(super) use algorithms::HOST_KEY_ALGORITHMS;
use algorithms::config;
use client::{Client, ClientError, Expected, LastWords};

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
/// Read from the socket at once. The library reads four bytes, then the rest of a packet.
const SOCKET_BUFFER_BYTES: usize = 32 * 1024;

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
                ClientError::Ssh(error) => ConnectError::Lost(in_words(&error)),
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

/// Why there was no handshake. What is not SSH often says much before it hangs up; the library skips it (RFC 4253
/// section 4.2).
fn in_words(error: &russh::Error) -> String {
    let what = match error {
        russh::Error::Version => "what answers is not SSH",
        russh::Error::Disconnect => "closed before it was done",
        other => return other.to_string(),
    };
    format!("{what}; a captive portal or a firewall may be in between")
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
