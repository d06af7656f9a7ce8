//! The HTTP listener: connections with their limits, TLS, SSH on the same port, and an orderly end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::api::log_line::{path_without_secrets, without_secrets};
use crate::api::{Peer, Transport};
use crate::config::proxies::TrustedProxies;
use crate::forward::http::host::Place;
use crate::forward::http::{Names, Visit};
use crate::gateway::Entry;
use crate::proxy::turns::{Limits, Turn, Turns};
use crate::rate_limit::address_key;

mod first_bytes;

use first_bytes::Carries;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// Pause after a failed accept, so that a lack of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to send the head of a request, the pause between two requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest head of a request in bytes; a call may carry all its parameters in the query.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;

/// Silence of a visitor after which the kernel asks whether it is there.
const KEEPALIVE_IDLE_SECS: u32 = 120;
/// Between two such questions.
const KEEPALIVE_PROBE_SECS: u32 = 30;
/// Unanswered questions that end the connection.
const KEEPALIVE_PROBES: u32 = 4;
/// Path of the WebSocket transport (openport contract section 11).
const WEBSOCKET_PATH: &str = "/ws";

/// What the node itself offers on an address, beside HTTP names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offers {
    /// Every route.
    Everything,
    /// The WebSocket transport alone: nobody's password shall travel in clear on a port that is there for names.
    WebSocket,
}

/// A bound address.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    ssh: Option<Entry>,
    offers: Offers,
}

impl Listener {
    /// Binds `address`; with `tls` it speaks HTTPS.
    ///
    /// # Errors
    /// Of the socket.
    pub fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> std::io::Result<Self> {
        let tcp = crate::forward::bind(address, BACKLOG)?;
        Ok(Self {
            tcp,
            tls,
            ssh: None,
            offers: Offers::Everything,
        })
    }

    /// Takes SSH connections too and hands them to the gateway.
    #[must_use]
    pub fn with_ssh(self, gateway: Entry) -> Self {
        Self {
            ssh: Some(gateway),
            ..self
        }
    }

    /// Offers less than everything.
    #[must_use]
    pub fn offering(self, offers: Offers) -> Self {
        Self { offers, ..self }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// Of the socket.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Whether it speaks HTTPS.
    #[must_use]
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Serves connections until it is told to stop.
#[derive(Clone)]
pub struct Http {
    router: Router,
    names: Option<Names>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    turns: Arc<Semaphore>,
    /// Those of one address.
    shares: Arc<Turns<IpAddr>>,
    /// Their connections are those of many visitors.
    proxies: TrustedProxies,
    connections: TaskTracker,
    grace: Duration,
}

impl Http {
    /// `router`, and `names` where a request is for one, on at most `connections` connections at once, of which one
    /// address (of IPv6: one /64) has three quarters at most unless it is one of `proxies`; at the end running requests
    /// have `grace`.
    #[must_use]
    pub fn new(
        router: Router,
        names: Option<Names>,
        connections: usize,
        proxies: TrustedProxies,
        grace: Duration,
    ) -> Self {
        let share = Limits {
            each: connections - connections / 4,
            all: usize::MAX,
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEAD_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        Self {
            router,
            names,
            builder: Arc::new(builder),
            turns: Arc::new(Semaphore::new(connections)),
            shares: Arc::new(Turns::new(share)),
            proxies,
            connections: TaskTracker::new(),
            grace,
        }
    }

    /// Serves all `listeners` until `stop`, then lets running requests end.
    pub async fn run(self, listeners: Vec<Listener>, stop: CancellationToken) {
        let accepting = listeners
            .into_iter()
            .map(|listener| self.accept(listener, &stop));
        futures::future::join_all(accepting).await;
        self.connections.close();
        if timeout(self.grace, self.connections.wait()).await.is_err() {
            tracing::warn!(
                open = self.connections.len(),
                "HTTP requests left at the end"
            );
        }
    }

    async fn accept(&self, listener: Listener, stop: &CancellationToken) {
        loop {
            let turn = tokio::select! {
                () = stop.cancelled() => return,
                turn = self.turns.clone().acquire_owned() => turn,
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.tcp.accept() => accepted,
            };
            match (turn, accepted) {
                (Ok(turn), Ok((stream, peer))) => {
                    let Some(share) = self.share(peer.ip()) else {
                        tracing::debug!(%peer, "HTTP connection closed: too many of its address");
                        continue;
                    };
                    let http = self.clone();
                    let came = Came {
                        peer: Peer(SocketAddr::new(peer.ip().to_canonical(), peer.port())),
                        tls: listener.tls.clone(),
                        ssh: listener.ssh.clone(),
                        offers: listener.offers,
                    };
                    let stop = stop.clone();
                    self.connections.spawn(async move {
                        http.connection(stream, came, stop).await;
                        drop((turn, share));
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "accept HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                // The semaphore is never closed.
                (Err(_), _) => return,
            }
        }
    }

    /// What a connection of that address takes of its share; `None` when that is used up.
    fn share(&self, address: IpAddr) -> Option<Option<Turn<IpAddr>>> {
        if self.proxies.trusts(address.to_canonical()) {
            return Some(None);
        }
        self.shares.take(address_key(address)).map(Some)
    }

    async fn connection(&self, stream: TcpStream, came: Came, stop: CancellationToken) {
        let peer = came.peer.0;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "set TCP_NODELAY");
        }
        if self.names.is_some()
            && let Err(error) = probe_when_silent(&stream)
        {
            tracing::debug!(%error, %peer, "set TCP keepalive");
        }
        if let Some(gateway) = &came.ssh {
            match first_bytes::look(&stream).await {
                Ok(Carries::Ssh) => return gateway.take(stream, peer).await,
                Ok(Carries::Other) => {}
                Err(error) => {
                    tracing::debug!(%error, %peer, "read first bytes");
                    return;
                }
            }
        }
        let Some(tls) = came.tls.clone() else {
            return self.serve(stream, came, Transport::Plain, stop).await;
        };
        match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, came, Transport::Tls, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake"),
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    async fn serve<S>(&self, stream: S, came: Came, transport: Transport, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = came.peer;
        let doors = Arc::new(Doors {
            router: self.router.clone(),
            names: self.names.clone().map(|names| {
                let visit = names.visit(peer, transport);
                (names, visit)
            }),
            peer,
            transport,
            offers: came.offers,
        });
        let service = service_fn(move |request| {
            let doors = doors.clone();
            async move { doors.answer(request).await }
        });
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let done = tokio::select! {
            done = connection.as_mut() => done,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = done {
            tracing::debug!(error, peer = %peer.0, "HTTP connection ended");
        }
    }
}

/// A visitor of an HTTP name may be silent for as long as it likes, as under a WebSocket; one that is gone without a
/// word shall not hold its stream for ever.
fn probe_when_silent(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_SECS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_PROBE_SECS)?;
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)
}

/// How a connection came in.
struct Came {
    peer: Peer,
    tls: Option<TlsAcceptor>,
    ssh: Option<Entry>,
    offers: Offers,
}

/// Where the requests of one connection may go.
struct Doors {
    router: Router,
    names: Option<(Names, Visit)>,
    peer: Peer,
    transport: Transport,
    offers: Offers,
}

impl Doors {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let place = match &self.names {
            Some((names, _)) => names.place_of(&parts),
            None => Place::Node,
        };
        let router_serves = self.offers == Offers::Everything || parts.uri.path() == WEBSOCKET_PATH;
        let mut request = Request::from_parts(parts, body);
        match &self.names {
            Some((_, visit)) if place != Place::Node || !router_serves => {
                Ok(visit.answer(place, request).await)
            }
            _ => {
                request.extensions_mut().insert(self.peer);
                request.extensions_mut().insert(self.transport);
                answer(self.router.clone(), self.peer, request).await
            }
        }
    }
}

async fn answer(
    mut router: Router,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return router.call(request).await;
    }
    let began = Instant::now();
    let method = request.method().clone();
    let path = path_without_secrets(request.uri().path()).into_owned();
    let query = without_secrets(request.uri().query().unwrap_or_default()).into_owned();
    let answer = router.call(request).await;
    let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(%method, path, query, status, micros, peer = %peer.0, "request");
    answer
}
