//! Tunnels over WebSocket, `GET /ws` (openport contract section 11).
//!
//! | module | holds |
//! |---|---|
//! | [`frame`] | what stands in a message |
//! | [`open`] | the visitors' connections of a tunnel, by name |
//! | [`link`] | the tunnel: reading, writing, signs of life, end |
//! | [`visitor`] | one visitor's connection |
//!
//! The protocol has no window: neither side can ask for a pause of one connection. Towards the device every
//! connection waits for its own turn in one short queue, so none is kept from it by another. From the device each has
//! a backlog; while a visitor takes less than comes in and its backlog is full, the WebSocket as a whole is not read,
//! which slows the device down and with it everything on this WebSocket. A visitor who holds it up for long is cut
//! off: see [`visitor`]. SSH clients without credits are treated the same.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::get;
use futures::SinkExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::api::Peer;
use crate::forward::PublicPorts;
use crate::proxy::turns::{Limits, Turns};
use crate::rate_limit::{RateLimiter, address_key};
use crate::registry::Registry;
use crate::registry::model::{Device, Forward, Standing};
use crate::tunnels::Tunnels;

pub mod frame;
mod link;
mod open;
mod visitor;

use frame::Greeting;
use link::Link;

/// How long a client may take to say which session it has.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// WebSockets that have not said yet which session they have: of one address (of IPv6: of one /64), and in all.
const GREETINGS: Limits = Limits {
    each: 384,
    all: 512,
};
/// Wrong pairs of port and token a minute from one address.
const WRONG_PAIRS_PER_MINUTE: u32 = 30;
/// Longest message of a client, in bytes. The contract has 7 + 4096; there is no harm in a few more.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Bytes read from and written to the socket at once; an idle tunnel holds both.
const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes that may wait in the socket's buffer.
const MAX_WRITE_BYTES: usize = 256 * 1024;
/// How long a goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the tunnels may take to end when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest part of a client's name for itself that is shown.
const MAX_CLIENT_CHARS: usize = 64;

/// What tunnels over WebSocket need.
pub struct WebSocketParts {
    /// Everything that is kept.
    pub registry: Registry,
    /// The live tunnels.
    pub tunnels: Tunnels,
    /// The open public ports.
    pub ports: PublicPorts,
    /// Region: only sessions of this node are served.
    pub node: String,
    /// Between two questions for a sign of life; two without an answer end a tunnel.
    pub keepalive_interval: Duration,
}

/// Serves tunnels over WebSocket. Cheap to clone.
#[derive(Clone)]
pub struct WebSockets(Arc<Shared>);

struct Shared {
    parts: WebSocketParts,
    greetings: Turns<IpAddr>,
    wrong_pairs: RateLimiter<IpAddr>,
    tasks: TaskTracker,
}

impl WebSockets {
    /// Without any tunnel.
    #[must_use]
    pub fn new(parts: WebSocketParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            greetings: Turns::new(GREETINGS),
            wrong_pairs: RateLimiter::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The route.
    pub fn routes(self) -> Router {
        Router::new().route("/ws", get(upgrade)).with_state(self)
    }

    /// Runs until `stop`, and then until the tunnels have ended, which the gateway tells them to.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.0.tasks.close();
        if timeout(DRAIN_TIMEOUT, self.0.tasks.wait()).await.is_err() {
            info!("WebSocket tunnels left at the end");
        }
    }

    async fn serve(self, mut socket: WebSocket, peer: Peer, client: String) {
        let greeted = match self.0.greetings.take(address_key(peer.0.ip())) {
            Some(_turn) => self.greet(&mut socket, peer).await,
            None => Err((close_code::AGAIN, "too many at once")),
        };
        match greeted {
            Ok((device, forward)) => {
                Link::serve(self, socket, peer, client, &device, &forward).await;
            }
            Err((code, reason)) => {
                debug!(peer = %peer.0, reason, "WebSocket refused");
                goodbye(&mut socket, code, reason).await;
            }
        }
    }

    /// The session that a client brings the tunnel for, or close code and reason.
    async fn greet(
        &self,
        socket: &mut WebSocket,
        peer: Peer,
    ) -> Result<(Device, Forward), (u16, &'static str)> {
        const REFUSED: (u16, &str) = (close_code::POLICY, "refused");
        let first = timeout(GREETING_TIMEOUT, socket.recv()).await;
        let greeting = match first {
            Ok(Some(Ok(Message::Text(text)))) => Greeting::parse(text.as_str()),
            _ => None,
        };
        let greeting = greeting.ok_or(REFUSED)?;
        let source = address_key(peer.0.ip());
        let Shared {
            parts, wrong_pairs, ..
        } = self.0.as_ref();
        // Only wrong pairs count: many devices behind one address may come back at once.
        if wrong_pairs.take(&source, WRONG_PAIRS_PER_MINUTE).is_err() {
            return Err(REFUSED);
        }
        wrong_pairs.give_back(&source, WRONG_PAIRS_PER_MINUTE);
        let session =
            parts
                .registry
                .session_with_token(&parts.node, greeting.port, greeting.token.expose());
        let session = session.await.map_err(|error| {
            warn!(%error, "look up session of WebSocket");
            (close_code::ERROR, "internal error")
        })?;
        let Some((device, forward)) = session else {
            // It may be used up meanwhile, which changes nothing for this one.
            wrong_pairs
                .take(&source, WRONG_PAIRS_PER_MINUTE)
                .unwrap_or_default();
            return Err(REFUSED);
        };
        let standings = parts.registry.standings(&[device.id]).await;
        let standings = standings.map_err(|error| {
            warn!(%error, "look up how a device stands");
            (close_code::ERROR, "internal error")
        })?;
        let may = standings.get(&device.id) == Some(&Standing::Open) && !forward.killed;
        if may {
            Ok((device, forward))
        } else {
            Err(REFUSED)
        }
    }
}

async fn upgrade(
    State(sockets): State<WebSockets>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let client = client(&headers);
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BYTES)
        .on_upgrade(move |socket| {
            let token = sockets.0.tasks.token();
            async move {
                // A future of this size belongs on the heap.
                Box::pin(sockets.serve(socket, peer, client)).await;
                drop(token);
            }
        })
}

/// What a client calls itself, for operators.
fn client(headers: &HeaderMap) -> String {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or("unnamed client");
    let short: String = agent.chars().take(MAX_CLIENT_CHARS).collect();
    format!("WebSocket {short}")
}

/// Says why, and closes.
async fn goodbye(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let closed = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // Until the client has closed too, what it sent may reset the connection and with it the goodbye.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    if timeout(GOODBYE_TIMEOUT, closed).await.is_err() {
        debug!("WebSocket did not close in time");
    }
    drop(socket.close().await);
}
