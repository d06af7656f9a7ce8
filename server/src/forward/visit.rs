//! One public port that listens, and what its visitors and the device send each other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::door::Door;
use super::{ACCEPT_PAUSE, PublicForward, Traffic};
use crate::tunnels::stream::{StreamReader, StreamWriter};
use crate::tunnels::{ForwardTarget, TargetPort, Tunnels, Way};

/// Streams one forward carries at once, those of visitors that are still judged included; what comes beyond is closed.
const MAX_STREAMS_PER_FORWARD: usize = 1024;
/// Bytes read from a visitor at once; one SSH packet.
const READ_BYTES: usize = 32 * 1024;

/// A public port that listens.
pub(super) struct Visited {
    door: Door,
    tunnels: Tunnels,
    traffic: Traffic,
    tasks: TaskTracker,
    /// Ends the streams.
    stop: CancellationToken,
    streams: AtomicUsize,
}

impl Visited {
    pub(super) const fn new(
        door: Door,
        tunnels: Tunnels,
        traffic: Traffic,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            door,
            tunnels,
            traffic,
            tasks,
            stop,
            streams: AtomicUsize::new(0),
        }
    }

    /// Takes visitors until `closed`; their streams go on then.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, closed: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed.cancelled() => return,
            };
            let (visitor, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "accept on public port failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if self.streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS_PER_FORWARD {
                self.streams.fetch_sub(1, Ordering::Relaxed);
                info!(port = self.door.rules().port, visitor = %address, "forward is full");
                continue;
            }
            let visited = self.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = visited.visit(visitor, address) => {}
                    () = visited.stop.cancelled() => {}
                }
                visited.streams.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn visit(&self, visitor: TcpStream, address: SocketAddr) {
        let Some(forward) = self.door.admit(address.ip()).await else {
            debug!(visitor = %address, "visitor refused");
            return;
        };
        let counter = self.traffic.counter(forward.device, forward.forward);
        serve(visitor, address, &forward, &self.tunnels, &counter).await;
    }
}

async fn serve(
    visitor: TcpStream,
    address: SocketAddr,
    forward: &PublicForward,
    tunnels: &Tunnels,
    counter: &AtomicU64,
) {
    let target = ForwardTarget {
        port: TargetPort::Forward(forward.forward),
        originator: address,
        way: Way::PublicPort,
    };
    let stream = match tunnels.open_stream(forward.device, &target).await {
        Ok(stream) => stream,
        Err(error) => {
            debug!(port = forward.port, visitor = %address, %error, "visitor not served");
            return;
        }
    };
    if let Err(error) = visitor.set_nodelay(true) {
        debug!(%error, "set nodelay on visitor");
    }
    let (from_visitor, to_visitor) = visitor.into_split();
    tokio::join!(
        upload(from_visitor, stream.writer, counter),
        download(stream.reader, to_visitor, counter),
    );
}

/// Visitor to device, until either ends; the end of input is passed on.
async fn upload(mut visitor: OwnedReadHalf, mut device: StreamWriter, counter: &AtomicU64) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            read = visitor.read_buf(&mut buffer) => read,
            () = device.closed() => return,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(bytes) => counter.fetch_add(bytes as u64, Ordering::Relaxed),
        };
        if device.send(buffer.split().freeze()).await.is_err() {
            break;
        }
    }
    device.finish();
}

/// Device to visitor, until either ends; the end of input is passed on.
async fn download(mut device: StreamReader, mut visitor: OwnedWriteHalf, counter: &AtomicU64) {
    while let Some(chunk) = device.next().await {
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if visitor.write_all(&chunk).await.is_err() {
            return;
        }
    }
    // The visitor may be gone already; there is nobody left to tell.
    visitor.shutdown().await.unwrap_or_default();
}
