//! HTTP/1.1 over a stream to the device.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use super::Visit;
use super::page::Trouble;
use crate::proxy;
use crate::registry::model::{ForwardId, HttpName};
use crate::tunnels::{ForwardTarget, OpenError, Stream, TargetPort, Way};

/// Connections to devices that wait for the next request of one visitor's connection. A browser has six requests
/// under way on one HTTP/2 connection for much of the time.
const MAX_IDLE: usize = 8;

/// A connection to a device that took a request, or waits for one.
pub(super) struct Connection {
    forward: ForwardId,
    pub(super) requests: SendRequest<Body>,
}

/// Connections that wait for the next request.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    /// One to that forward that can take a request now.
    pub(super) fn take(&self, forward: ForwardId) -> Option<Connection> {
        let mut idle = self.connections();
        idle.retain(|one| !one.requests.is_closed());
        let fits = |one: &Connection| one.forward == forward && one.requests.is_ready();
        let index = idle.iter().position(fits)?;
        Some(idle.swap_remove(index))
    }

    /// Keeps one for the next request; it may still be busy with the last answer. The oldest gives way.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.connections();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(connection);
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// A new connection to the device.
    pub(super) async fn connect(&self, name: HttpName) -> Result<Connection, Trouble> {
        let shared = &self.names.0;
        let target = ForwardTarget {
            port: TargetPort::Forward(name.forward),
            originator: self.peer.0,
            way: Way::HttpName,
        };
        let opened = shared.parts.tunnels.open_stream(name.device, &target).await;
        let stream = opened.map_err(|error| {
            debug!(device = %name.device, %error, "HTTP name not reached");
            match error {
                OpenError::NotConnected | OpenError::NoForward => Trouble::Down,
                OpenError::Refused(_) | OpenError::Ended => Trouble::Broken,
                OpenError::TimedOut => Trouble::Late,
                OpenError::RecordingDemanded => Trouble::Closed,
            }
        })?;
        let counted = Counted {
            stream,
            bytes: shared.parts.traffic.counter(name.device, name.forward),
        };
        let (requests, moving) = proxy::begin(counted).await?;
        let stop = shared.parts.stop.clone();
        shared.tasks.spawn(async move {
            tokio::select! {
                () = moving => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Connection {
            forward: name.forward,
            requests,
        })
    }
}

/// A stream whose bytes are counted, both directions.
struct Counted {
    stream: Stream,
    bytes: Arc<AtomicU64>,
}

impl Counted {
    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.count(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.count(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
