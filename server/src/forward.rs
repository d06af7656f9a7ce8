//! Public ports: a visitor's TCP connection becomes a stream to the device, both ways, with limits and counters.
//!
//! | module | holds |
//! |---|---|
//! | [`door`] | which visitors are let in |
//! | [`visit`] | one port that listens, and the bytes of its visitors |
//! | [`traffic`] | the counters |
//!
//! *Invariant:* nothing here knows SSH; a device is reached through [`Tunnels::open_stream`] alone.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod door;
pub mod http;
mod traffic;
mod visit;

pub use traffic::Traffic;

use crate::registry::Registry;
use crate::registry::model::{Device, DeviceId, Forward, ForwardId};
use crate::tunnels::Tunnels;
use door::Door;
use visit::Visited;

/// Connections that wait to be accepted on one public port.
const BACKLOG: u32 = 128;
/// Pause after a failed accept, so that a lack of file descriptors does not spin, and between two tries to listen.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a port that is still being given back may keep a new listener waiting.
const BIND_PATIENCE: Duration = Duration::from_secs(2);

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
    /// Closed to visitors that did not click the link: the device's setting.
    pub ip_link_protection: bool,
    /// The same as the session's client wants it, which comes before the setting.
    pub link_protection: Option<bool>,
}

impl PublicForward {
    /// As `device` and its `forward` say.
    #[must_use]
    pub const fn of(device: &Device, forward: &Forward) -> Self {
        Self {
            device: device.id,
            forward: forward.id,
            port: forward.public_port,
            max_connections_per_minute: device.max_connections_per_minute,
            ip_link_protection: device.ip_link_protection,
            link_protection: forward.link_protection,
        }
    }

    /// Whether it is closed to visitors that did not click the link.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.link_protection.unwrap_or(self.ip_link_protection)
    }
}

/// The public ports that are open now. Cheap to clone.
#[derive(Clone)]
pub struct PublicPorts {
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Vec<IpAddr>,
    tunnels: Tunnels,
    registry: Registry,
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
    /// Ports will listen on each of `addresses` until `stop`. Clicked links are looked up in `registry`.
    #[must_use]
    pub fn new(
        addresses: Vec<IpAddr>,
        tunnels: Tunnels,
        registry: Registry,
        stop: CancellationToken,
    ) -> Self {
        let shared = Shared {
            addresses,
            tunnels,
            registry,
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
        let visited = Arc::new(Visited::new(
            Door::new(rules, self.shared.registry.clone()),
            self.shared.tunnels.clone(),
            self.shared.traffic.clone(),
            self.shared.tasks.clone(),
            self.shared.stop.clone(),
        ));
        for listener in listeners {
            let accept = visited.clone().accept(listener, stop.clone());
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

    /// Closes the public port of that number for good if it belongs to the tunnel of that generation or an older one:
    /// the session is none for plain connections any more.
    pub fn withdraw(&self, port: u16, generation: u64) {
        let mut ports = self.ports();
        if ports
            .get(&port)
            .is_some_and(|open| open.generation <= generation)
            && let Some(open) = ports.remove(&port)
        {
            open.stop.cancel();
        }
    }

    /// Closes the public port of a forward that is there no more.
    pub fn forget(&self, forward: ForwardId) {
        self.ports().retain(|_, open| {
            let rules = open.rules.lock().unwrap_or_else(PoisonError::into_inner);
            let stays = rules.forward != forward;
            if !stays {
                open.stop.cancel();
            }
            stays
        });
    }

    /// Sets what a session's client wants of its public port, if that is open.
    pub fn set_link_protection(&self, forward: ForwardId, protection: Option<bool>) {
        for open in self.ports().values() {
            let mut rules = open.rules.lock().unwrap_or_else(PoisonError::into_inner);
            if rules.forward == forward {
                rules.link_protection = protection;
            }
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use uuid::Uuid;

    use super::*;
    use crate::master_key::MasterKey;

    #[tokio::test]
    async fn an_older_tunnel_neither_takes_nor_closes_the_port_of_a_newer_one() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let port = bind(SocketAddr::new(loopback, 0), BACKLOG)
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let stop = CancellationToken::new();
        let keys = MasterKey::random().unwrap();
        let registry = Registry::open("sqlite::memory:", keys).await.unwrap();
        let tunnels = Tunnels::default();
        let ports = PublicPorts::new(vec![loopback], tunnels, registry, stop.clone());
        let forward = PublicForward {
            device: DeviceId(Uuid::from_u128(7)),
            forward: ForwardId(1),
            port,
            max_connections_per_minute: 0,
            ip_link_protection: false,
            link_protection: None,
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
