//! Public ports: a visitor's TCP connection becomes a stream to the device, both ways, with limits and counters.
//!
//! *Invariant:* nothing here knows SSH; a device is reached through [`Tunnels::open_stream`] alone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

pub mod http;
mod traffic;

pub use traffic::Traffic;

use crate::recent::Recent;
use crate::registry::model::{DeviceId, ForwardId};
use crate::tunnels::stream::{StreamReader, StreamWriter};
use crate::tunnels::{ForwardTarget, TargetPort, Tunnels};

/// Connections that wait to be accepted on one public port.
const BACKLOG: u32 = 128;
/// Streams one forward carries at once; what comes beyond is closed.
const MAX_STREAMS_PER_FORWARD: usize = 1024;
/// Pause after a failed accept, so that a lack of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a port that is still being given back may keep a new listener waiting.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes read from a visitor at once; one SSH packet.
const READ_BYTES: usize = 32 * 1024;

/// What a public port leads to and for whom it is open.
#[derive(Clone, Debug)]
pub struct PublicForward {
    /// The device.
    pub device: DeviceId,
    /// Its forward.
    pub forward: ForwardId,
    /// The port.
    pub port: u16,
    /// New connections per minute and visitor; 0 is no limit.
    pub max_connections_per_minute: u32,
    /// Closed to visitors that did not click the link.
    pub ip_link_protection: bool,
}

/// The public ports that are open now. Cheap to clone.
#[derive(Clone)]
pub struct PublicPorts {
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Vec<IpAddr>,
    tunnels: Tunnels,
    ports: Mutex<HashMap<u16, Open>>,
    traffic: Traffic,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Open {
    generation: u64,
    rules: Arc<Mutex<PublicForward>>,
    stop: CancellationToken,
}

impl PublicPorts {
    /// Ports will listen on each of `addresses` until `stop`.
    #[must_use]
    pub fn new(addresses: Vec<IpAddr>, tunnels: Tunnels, stop: CancellationToken) -> Self {
        let shared = Shared {
            addresses,
            tunnels,
            ports: Mutex::default(),
            traffic: Traffic::default(),
            tasks: TaskTracker::new(),
            stop,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Opens a public port for the tunnel of that generation, or hands an open one over to it.
    ///
    /// # Errors
    /// When the port cannot be listened on, or a newer tunnel has it.
    pub async fn open(&self, forward: PublicForward, generation: u64) -> io::Result<()> {
        if self.take_over(&forward, generation)? {
            return Ok(());
        }
        let listeners = self.listen(forward.port).await?;
        let stop = self.shared.stop.child_token();
        let port = forward.port;
        let rules = Arc::new(Mutex::new(forward));
        let open = Open {
            generation,
            rules: rules.clone(),
            stop: stop.clone(),
        };
        let older = {
            let mut ports = self.ports();
            if ports
                .get(&port)
                .is_some_and(|other| other.generation > generation)
            {
                return Err(newer_has_it());
            }
            ports.insert(port, open)
        };
        if let Some(older) = older {
            older.stop.cancel();
        }
        let streams = Arc::new(AtomicUsize::new(0));
        for listener in listeners {
            let accept =
                self.clone()
                    .accept(listener, rules.clone(), streams.clone(), stop.clone());
            self.shared.tasks.spawn(accept);
        }
        Ok(())
    }

    fn take_over(&self, forward: &PublicForward, generation: u64) -> io::Result<bool> {
        let mut ports = self.ports();
        let Some(open) = ports.get_mut(&forward.port) else {
            return Ok(false);
        };
        if open.generation > generation {
            return Err(newer_has_it());
        }
        open.generation = generation;
        *open.rules.lock().unwrap_or_else(PoisonError::into_inner) = forward.clone();
        Ok(true)
    }

    /// Closes a public port, unless a newer tunnel has it.
    pub fn close(&self, port: u16, generation: u64) {
        let mut ports = self.ports();
        if ports
            .get(&port)
            .is_some_and(|open| open.generation == generation)
            && let Some(open) = ports.remove(&port)
        {
            open.stop.cancel();
        }
    }

    /// Changes the rules of a port that is open.
    pub fn change(&self, device: DeviceId, change: impl Fn(&mut PublicForward)) {
        for open in self.ports().values() {
            let mut rules = open.rules.lock().unwrap_or_else(PoisonError::into_inner);
            if rules.device == device {
                change(&mut rules);
            }
        }
    }

    /// What the forwards carried.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Waits until every stream has ended; call it after `stop`.
    pub async fn drained(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    async fn listen(&self, port: u16) -> io::Result<Vec<TcpListener>> {
        let deadline = Instant::now() + BIND_PATIENCE;
        loop {
            let bound: io::Result<Vec<_>> = self
                .shared
                .addresses
                .iter()
                .map(|ip| bind(SocketAddr::new(*ip, port), BACKLOG))
                .collect();
            match bound {
                Ok(listeners) => return Ok(listeners),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn accept(
        self,
        listener: TcpListener,
        rules: Arc<Mutex<PublicForward>>,
        streams: Arc<AtomicUsize>,
        stop: CancellationToken,
    ) {
        let mut visitors = Recent::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (visitor, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "accept on public port failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let forward = rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let limit = forward.max_connections_per_minute;
            if forward.ip_link_protection
                || !visitors.admit(address.ip().to_canonical(), limit, Instant::now())
            {
                debug!(port = forward.port, visitor = %address, "visitor refused");
                continue;
            }
            if streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS_PER_FORWARD {
                streams.fetch_sub(1, Ordering::Relaxed);
                info!(port = forward.port, visitor = %address, "forward is full");
                continue;
            }
            let counter = self.shared.traffic.counter(forward.device, forward.forward);
            let tunnels = self.shared.tunnels.clone();
            let stop = self.shared.stop.clone();
            let streams = streams.clone();
            self.shared.tasks.spawn(async move {
                tokio::select! {
                    () = serve(visitor, address, &forward, &tunnels, &counter) => {}
                    () = stop.cancelled() => {}
                }
                streams.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    fn ports(&self) -> MutexGuard<'_, HashMap<u16, Open>> {
        self.shared
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens on `address` with room for `backlog` connections that wait to be accepted.
///
/// # Errors
/// As the system gives them.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

fn newer_has_it() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "a newer tunnel has the port")
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn an_older_tunnel_neither_takes_nor_closes_the_port_of_a_newer_one() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let port = bind(SocketAddr::new(loopback, 0), BACKLOG)
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let stop = CancellationToken::new();
        let ports = PublicPorts::new(vec![loopback], Tunnels::default(), stop.clone());
        let forward = PublicForward {
            device: DeviceId(Uuid::from_u128(7)),
            forward: ForwardId(1),
            port,
            max_connections_per_minute: 0,
            ip_link_protection: false,
        };
        ports.open(forward.clone(), 1).await.unwrap();
        ports.open(forward.clone(), 2).await.unwrap();
        assert!(ports.open(forward, 1).await.is_err());
        ports.close(port, 1);
        assert!(TcpStream::connect((loopback, port)).await.is_ok());
        ports.close(port, 2);
        stop.cancel();
        ports.drained().await;
        assert!(TcpStream::connect((loopback, port)).await.is_err());
    }
}
