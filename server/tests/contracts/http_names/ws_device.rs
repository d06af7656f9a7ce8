//! A device that holds its tunnel over WebSocket, as small as the protocol allows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http_names::bed::{Bed, DOMAIN, Session, token_of};

const PATIENCE: Duration = Duration::from_secs(120);

/// Address and port of a visitor, as they stand in messages.
pub(crate) type Name = [u8; 6];

/// The raw transport.
pub(crate) struct Raw(WebSocketStream<TcpStream>);

impl Raw {
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        let connected = client_async(format!("ws://{DOMAIN}/ws"), stream).await;
        Self(connected.unwrap().0)
    }

    pub(crate) async fn greeted(server: SocketAddr, port: u16, token: &str) -> Self {
        let mut raw = Self::connect(server).await;
        raw.text(&format!("{{\"Port\":{port},\"Token\":\"{token}\"}}"))
            .await;
        raw
    }

    /// Holds the tunnel of a session; returns once the server counts it as open.
    pub(crate) async fn hold(bed: &Bed, session: &Session) -> Self {
        let forward = &session.forward;
        let token = token_of(forward.id.0);
        let raw = Self::greeted(bed.names, forward.public_port, &token).await;
        bed.wait_open(session).await;
        raw
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, name: Name, operation: u8, data: &[u8]) {
        let message = [&name[..], &[operation], data].concat();
        self.0.send(Message::binary(message)).await.unwrap();
    }

    pub(crate) async fn binary(&mut self, message: &[u8]) {
        self.0
            .send(Message::binary(message.to_vec()))
            .await
            .unwrap();
    }

    /// The next message: name, operation, data.
    pub(crate) async fn next(&mut self) -> (Name, u8, Vec<u8>) {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("a message");
            if let Message::Binary(bytes) = message.unwrap().unwrap() {
                let name = bytes[..6].try_into().unwrap();
                return (name, bytes[6], bytes[7..].to_vec());
            }
        }
    }

    /// The close code that the server ends it with.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("an end");
            match message {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or(0, |frame| frame.code.into());
                }
                Some(Ok(_)) => {}
                other => panic!("ended without a goodbye: {other:?}"),
            }
        }
    }
}

/// A tunnel that leads to a port of this machine.
pub(crate) struct WsDevice {
    _task: JoinSet<()>,
}

impl WsDevice {
    pub(crate) async fn hold(bed: &Bed, session: &Session, local_port: u16) -> Self {
        let raw = Raw::hold(bed, session).await;
        let mut task = JoinSet::new();
        task.spawn(bridge(raw, local_port));
        Self { _task: task }
    }
}

async fn bridge(mut raw: Raw, local_port: u16) {
    let (outgoing, mut to_send) = mpsc::channel::<(Name, u8, Vec<u8>)>(64);
    let mut open: HashMap<Name, OwnedWriteHalf> = HashMap::new();
    let mut readers = JoinSet::new();
    loop {
        let message = tokio::select! {
            message = raw.0.next() => message,
            Some((name, operation, data)) = to_send.recv() => {
                if operation == 2 || open.remove(&name).is_some() {
                    raw.send(name, operation, &data).await;
                }
                continue;
            }
        };
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => continue,
        };
        let name: Name = bytes[..6].try_into().unwrap();
        match bytes[6] {
            1 => match TcpStream::connect(("127.0.0.1", local_port)).await {
                Ok(stream) => {
                    let (mut read, write) = stream.into_split();
                    open.insert(name, write);
                    let outgoing = outgoing.clone();
                    readers.spawn(async move {
                        let mut bytes = vec![0; 4096];
                        while let Ok(count @ 1..) = read.read(&mut bytes).await {
                            let data = bytes[..count].to_vec();
                            if outgoing.send((name, 2, data)).await.is_err() {
                                return;
                            }
                        }
                        drop(outgoing.send((name, 3, Vec::new())).await);
                    });
                }
                Err(_) => raw.send(name, 3, b"").await,
            },
            2 => {
                assert!((1..=4096).contains(&(bytes.len() - 7)), "{}", bytes.len());
                if let Some(write) = open.get_mut(&name) {
                    drop(write.write_all(&bytes[7..]).await);
                }
            }
            3 => drop(open.remove(&name)),
            other => panic!("operation {other}"),
        }
    }
}
