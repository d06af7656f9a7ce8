//! The HTTP listener: connections with their limits, TLS, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
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

/// A bound address.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds `address`; with `tls` it speaks HTTPS.
    ///
    /// # Errors
    /// Of the socket.
    pub fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> std::io::Result<Self> {
        let tcp = crate::forward::bind(address, BACKLOG)?;
        Ok(Self { tcp, tls })
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
    builder: Arc<auto::Builder<TokioExecutor>>,
    turns: Arc<Semaphore>,
    connections: TaskTracker,
    grace: Duration,
}

impl Http {
    /// `router` on at most `connections` connections at once; at the end running requests have `grace`.
    #[must_use]
    pub fn new(router: Router, connections: usize, grace: Duration) -> Self {
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
            builder: Arc::new(builder),
            turns: Arc::new(Semaphore::new(connections)),
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
                    let http = self.clone();
                    let tls = listener.tls.clone();
                    let stop = stop.clone();
                    self.connections.spawn(async move {
                        http.connection(stream, peer, tls, stop).await;
                        drop(turn);
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

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "set TCP_NODELAY");
        }
        let peer = Peer(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
        let Some(tls) = tls else {
            return self.serve(stream, peer, Transport::Plain, stop).await;
        };
        match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, peer, Transport::Tls, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %peer.0, "TLS handshake"),
            Err(_) => tracing::debug!(peer = %peer.0, "TLS handshake timed out"),
        }
    }

    async fn serve<S>(&self, stream: S, peer: Peer, transport: Transport, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(transport);
            answer(router.clone(), peer, request)
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
