//! The live table device -> tunnel. [`Tunnels::open_stream`] is the only way to reach a device.
//!
//! | module | holds |
//! |---|---|
//! | [`stream`] | the byte stream that callers get |
//!
//! *Invariant:* the newest tunnel of a device wins (fencing): [`Tunnels::register`] displaces the older one at once,
//! and whatever the older one does later changes nothing, because every change names its generation.
//! *Invariant:* nothing here knows SSH or HTTP; a tunnel is a [`Carrier`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::registry::model::{DeviceId, ForwardId, Timestamp};

pub mod stream;

pub use stream::Stream;

/// How long [`Tunnels::open_stream`] waits for a device that is connected but has not asked for its forward yet,
/// as just after a takeover.
const FORWARD_PATIENCE: Duration = Duration::from_secs(3);
/// How long a device may take to open one stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long [`Tunnels::cut`] waits for the connection to be gone.
const CUT_TIMEOUT: Duration = Duration::from_secs(10);

/// Devices sent away by a drain return at this rate; two cores take about 800 handshakes a second.
const RETURNS_PER_SECOND: u32 = 200;

/// Which port of the device a stream shall lead to, and who asks.
#[derive(Clone, Debug)]
pub struct ForwardTarget {
    /// The port.
    pub port: TargetPort,
    /// Shown to the device as the originator (RFC 4254 section 7.2).
    pub originator: SocketAddr,
}

/// A port of a device, by what the caller knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// That of the first forward: the device's sshd.
    First,
    /// This port on the device.
    Device(u16),
    /// That of this forward.
    Forward(ForwardId),
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// No tunnel.
    #[error("device is not connected")]
    NotConnected,
    /// A tunnel without such a forward.
    #[error("device has no open forward for that port")]
    NoForward,
    /// The device said no: its port is closed, most likely.
    #[error("device refused the connection to its port {0}")]
    Refused(u16),
    /// The device did not answer within [`OPEN_TIMEOUT`].
    #[error("device did not answer in time")]
    TimedOut,
    /// The tunnel ended meanwhile.
    #[error("tunnel ended")]
    Ended,
}

/// Why a tunnel is ended by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The device was deleted.
    Deleted,
    /// It was blocked.
    Blocked,
    /// It was taken out of service, or its account suspended.
    Inactive,
    /// It has another key now.
    Rekeyed,
    /// An operator wants its forwards closed; an agent stays in touch.
    Closed,
    /// A newer tunnel of the same device.
    Displaced,
    /// It stopped answering.
    TimedOut,
    /// The server goes down.
    Drained,
}

impl Cut {
    /// For logs, for the record of the device and for the device itself.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Blocked => "blocked",
            Self::Inactive => "inactive",
            Self::Rekeyed => "key replaced",
            Self::Closed => "closed by the operator",
            Self::Displaced => "displaced",
            Self::TimedOut => "timed out",
            Self::Drained => "server went down",
        }
    }
}

/// What carries the streams of one device: one connection of it.
pub trait Carrier: Send + Sync {
    /// Opens a stream to the device port of `forward`.
    fn open(
        &self,
        forward: OpenForward,
        originator: SocketAddr,
    ) -> BoxFuture<'static, Result<Stream, OpenError>>;
    /// Begins to end the connection, or for [`Cut::Closed`] to close its forwards.
    fn cut(&self, cut: Cut);
    /// Tells the device that its forwards are wanted again.
    fn wanted_open(&self);
    /// Tells the device when to reconnect after an end that is near.
    fn come_back_in(&self, pause: Duration);
    /// Whether the tunnel is kept when the device stops answering.
    fn set_allow_clientless(&self, allow: bool);
    /// When the device last gave a sign of life, how long it may be silent, and the last round trip.
    fn pulse(&self) -> Pulse;
    /// What holds the tunnel: our agent with its version, or the SSH version text of another client.
    fn client(&self) -> String;
}

/// Signs of life of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// Since the device last gave a sign of life.
    pub silent_for: Duration,
    /// How long it may be silent and still counts as answering.
    pub keepalive: Duration,
    /// Last echo there and back.
    pub round_trip: Option<Duration>,
}

/// A forward that the device asked for and was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenForward {
    /// Its number.
    pub id: ForwardId,
    /// Port on the device.
    pub device_port: u16,
    /// Address text of the request; repeated to the device.
    pub bind_address: String,
    /// Public port.
    pub public_port: u16,
    /// The first forward of the device leads to its sshd.
    pub first: bool,
}

/// A tunnel as others see it.
#[derive(Clone, Debug)]
pub struct TunnelStatus {
    /// Has a granted forward.
    pub open: bool,
    /// Answered within its last keepalive interval.
    pub active: bool,
    /// Counts up with every tunnel.
    pub generation: u64,
    /// Where the device connects from.
    pub peer: SocketAddr,
    /// When it connected.
    pub connected_at: Timestamp,
    /// Last sign of life.
    pub last_sign: Timestamp,
    /// Last echo there and back.
    pub round_trip: Option<Duration>,
    /// What holds it.
    pub client: String,
}

/// The live table. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tunnels {
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<HashMap<DeviceId, Tunnel>>,
    last_generation: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            last_generation: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }
}

struct Tunnel {
    generation: u64,
    carrier: Arc<dyn Carrier>,
    peer: SocketAddr,
    connected_at: Timestamp,
    forwards: Vec<OpenForward>,
}

/// A granted forward and who carries its streams.
type Found = (Arc<dyn Carrier>, OpenForward);

impl Tunnels {
    /// Puts a newly authenticated tunnel into the table and displaces the older one of the same device, if any.
    /// Gives its generation, higher than all before.
    pub fn register(&self, device: DeviceId, carrier: Arc<dyn Carrier>, peer: SocketAddr) -> u64 {
        let generation = self.shared.last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        let tunnel = Tunnel {
            generation,
            carrier,
            peer,
            connected_at: Timestamp::now(),
            forwards: Vec::new(),
        };
        // The lock is released before the older one is cut.
        let older = self.table().insert(device, tunnel);
        if let Some(older) = older {
            older.carrier.cut(Cut::Displaced);
        }
        self.touch();
        generation
    }

    /// Takes the tunnel of that generation out of the table. False, and nothing happens, when it is not the newest.
    pub fn unregister(&self, device: DeviceId, generation: u64) -> bool {
        let mut table = self.table();
        let newest = table
            .get(&device)
            .is_some_and(|tunnel| tunnel.generation == generation);
        if newest {
            table.remove(&device);
        }
        drop(table);
        self.touch();
        newest
    }

    /// Notes a granted forward. False when the tunnel of that generation is not the newest.
    pub fn open_forward(&self, device: DeviceId, generation: u64, forward: OpenForward) -> bool {
        self.change(device, generation, |tunnel| {
            tunnel.forwards.retain(|open| open.id != forward.id);
            tunnel.forwards.push(forward);
        })
    }

    /// Takes back granted forwards: the one with that public port, or all.
    pub fn close_forwards(&self, device: DeviceId, generation: u64, public_port: Option<u16>) {
        self.change(device, generation, |tunnel| {
            tunnel
                .forwards
                .retain(|open| public_port.is_some_and(|port| port != open.public_port));
        });
    }

    fn change(&self, device: DeviceId, generation: u64, change: impl FnOnce(&mut Tunnel)) -> bool {
        let mut table = self.table();
        let tunnel = table
            .get_mut(&device)
            .filter(|tunnel| tunnel.generation == generation);
        let newest = tunnel.map(change).is_some();
        drop(table);
        self.touch();
        newest
    }

    /// Opens a byte stream to `target` as seen from `device`. Ends with the tunnel that carries it.
    ///
    /// # Errors
    /// [`OpenError`]; a device that just connected is given a moment to ask for its forward.
    pub async fn open_stream(
        &self,
        device: DeviceId,
        target: &ForwardTarget,
    ) -> Result<Stream, OpenError> {
        let (carrier, forward) = self.find(device, target.port).await?;
        tokio::time::timeout(OPEN_TIMEOUT, carrier.open(forward, target.originator))
            .await
            .unwrap_or(Err(OpenError::TimedOut))
    }

    async fn find(&self, device: DeviceId, port: TargetPort) -> Result<Found, OpenError> {
        let deadline = Instant::now() + FORWARD_PATIENCE;
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = self.lookup(device, port)? {
                return Ok(found);
            }
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return Err(OpenError::NoForward);
            }
        }
    }

    fn lookup(&self, device: DeviceId, port: TargetPort) -> Result<Option<Found>, OpenError> {
        let table = self.table();
        let tunnel = table.get(&device).ok_or(OpenError::NotConnected)?;
        let wanted = |open: &&OpenForward| match port {
            TargetPort::First => open.first,
            TargetPort::Device(port) => open.device_port == port,
            TargetPort::Forward(id) => open.id == id,
        };
        let forward = tunnel.forwards.iter().find(wanted);
        Ok(forward.map(|forward| (tunnel.carrier.clone(), forward.clone())))
    }

    /// The tunnel of `device`, if it is connected.
    #[must_use]
    pub fn status(&self, device: DeviceId) -> Option<TunnelStatus> {
        let table = self.table();
        table.get(&device).map(Tunnel::status)
    }

    /// Ends the tunnel of `device`; true when it is gone within 10 s, and at once when there was none. With
    /// [`Cut::Closed`] its forwards are what must be gone.
    pub async fn cut(&self, device: DeviceId, cut: Cut) -> bool {
        let Some((generation, carrier)) = self
            .table()
            .get(&device)
            .map(|tunnel| (tunnel.generation, tunnel.carrier.clone()))
        else {
            return true;
        };
        carrier.cut(cut);
        let gone = |tunnels: &Self| {
            tunnels.table().get(&device).is_none_or(|tunnel| {
                tunnel.generation != generation
                    || (cut == Cut::Closed && tunnel.forwards.is_empty())
            })
        };
        self.wait_until(CUT_TIMEOUT, gone).await
    }

    /// Waits until the tunnel of `device` is open, at most `patience`; tells whether it is.
    pub async fn wait_open(&self, device: DeviceId, patience: Duration) -> bool {
        self.wait_until(patience, |tunnels| {
            tunnels
                .table()
                .get(&device)
                .is_some_and(|tunnel| !tunnel.forwards.is_empty())
        })
        .await
    }

    async fn wait_until(&self, patience: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if done(self) {
                return true;
            }
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return done(self);
            }
        }
    }

    /// Passes `set_allow_clientless` on to a live tunnel.
    pub fn set_allow_clientless(&self, device: DeviceId, allow: bool) {
        let carrier = self
            .table()
            .get(&device)
            .map(|tunnel| tunnel.carrier.clone());
        if let Some(carrier) = carrier {
            carrier.set_allow_clientless(allow);
        }
    }

    /// Tells a connected agent that its forwards are wanted again.
    pub fn wanted_open(&self, device: DeviceId) {
        let carrier = self
            .table()
            .get(&device)
            .map(|tunnel| tunnel.carrier.clone());
        if let Some(carrier) = carrier {
            carrier.wanted_open();
        }
    }

    /// Sends every device away, each with its own moment to come back, so that they do not come all at once.
    pub fn drain(&self) {
        let carriers: Vec<_> = self
            .table()
            .values()
            .map(|tunnel| tunnel.carrier.clone())
            .collect();
        for (index, carrier) in carriers.into_iter().enumerate() {
            let slot = u32::try_from(index).unwrap_or(u32::MAX) / RETURNS_PER_SECOND;
            carrier.come_back_in(Duration::from_secs(1) + Duration::from_secs(slot.into()));
            carrier.cut(Cut::Drained);
        }
    }

    /// How many devices are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table().len()
    }

    /// The last sign of life of every connected device.
    #[must_use]
    pub fn signs_of_life(&self) -> Vec<(DeviceId, Timestamp)> {
        self.table()
            .iter()
            .map(|(id, tunnel)| (*id, tunnel.last_sign()))
            .collect()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<DeviceId, Tunnel>> {
        // No code panics while it holds the lock; a poisoned table would still be whole.
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.shared
            .changed
            .send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl Tunnel {
    fn last_sign(&self) -> Timestamp {
        let silent = i64::try_from(self.carrier.pulse().silent_for.as_micros()).unwrap_or(i64::MAX);
        Timestamp(Timestamp::now().0.saturating_sub(silent))
    }

    fn status(&self) -> TunnelStatus {
        let pulse = self.carrier.pulse();
        TunnelStatus {
            open: !self.forwards.is_empty(),
            active: pulse.silent_for <= pulse.keepalive,
            generation: self.generation,
            peer: self.peer,
            connected_at: self.connected_at,
            last_sign: self.last_sign(),
            round_trip: pulse.round_trip,
            client: self.carrier.client(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    /// Notes what is done to it; opens streams whose far end is dropped at once.
    #[derive(Default)]
    struct Recorder {
        cuts: Mutex<Vec<Cut>>,
    }

    impl Carrier for Arc<Recorder> {
        fn open(
            &self,
            _forward: OpenForward,
            _originator: SocketAddr,
        ) -> BoxFuture<'static, Result<Stream, OpenError>> {
            async { Ok(stream::stream(1).0) }.boxed()
        }

        fn cut(&self, cut: Cut) {
            self.cuts.lock().unwrap().push(cut);
        }

        fn wanted_open(&self) {}

        fn come_back_in(&self, _pause: Duration) {}

        fn set_allow_clientless(&self, _allow: bool) {}

        fn pulse(&self) -> Pulse {
            let second = Duration::from_secs(1);
            Pulse {
                silent_for: second,
                keepalive: second * 2,
                round_trip: None,
            }
        }

        fn client(&self) -> String {
            String::new()
        }
    }

    fn device() -> DeviceId {
        DeviceId(Uuid::from_u128(7))
    }

    fn peer() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 7))
    }

    fn forward(public_port: u16) -> OpenForward {
        OpenForward {
            id: ForwardId(i64::from(public_port)),
            device_port: 22,
            bind_address: String::new(),
            public_port,
            first: true,
        }
    }

    fn target() -> ForwardTarget {
        ForwardTarget {
            port: TargetPort::First,
            originator: peer(),
        }
    }

    #[tokio::test]
    async fn the_newest_tunnel_wins_and_late_events_of_the_old_one_do_nothing() {
        let tunnels = Tunnels::default();
        let (old, new) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
        let first = tunnels.register(device(), Arc::new(old.clone()), peer());
        assert!(tunnels.open_forward(device(), first, forward(10_000)));
        let second = tunnels.register(device(), Arc::new(new.clone()), peer());
        assert!(second > first);
        assert_eq!(*old.cuts.lock().unwrap(), [Cut::Displaced]);

        assert!(!tunnels.open_forward(device(), first, forward(10_000)));
        assert!(tunnels.open_forward(device(), second, forward(10_000)));
        tunnels.close_forwards(device(), first, None);
        assert!(!tunnels.unregister(device(), first));
        let status = tunnels.status(device()).unwrap();
        assert!(status.open && status.active);
        assert_eq!(status.generation, second);
        assert!(new.cuts.lock().unwrap().is_empty());
        assert!(tunnels.unregister(device(), second));
        assert_eq!(tunnels.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_just_connected_is_given_a_moment_for_its_forward() {
        let tunnels = Tunnels::default();
        let refused = tunnels.open_stream(device(), &target()).await;
        assert_eq!(refused.unwrap_err(), OpenError::NotConnected);

        let recorder = Arc::new(Recorder::default());
        let generation = tunnels.register(device(), Arc::new(recorder), peer());
        let wanted = target();
        let (opened, ()) = tokio::join!(tunnels.open_stream(device(), &wanted), async {
            tokio::task::yield_now().await;
            tunnels.open_forward(device(), generation, forward(10_000));
        });
        assert!(opened.is_ok());

        tunnels.close_forwards(device(), generation, None);
        let refused = tunnels.open_stream(device(), &target()).await;
        assert_eq!(refused.unwrap_err(), OpenError::NoForward);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_confirmed_when_the_tunnel_is_gone() {
        let tunnels = Tunnels::default();
        assert!(tunnels.cut(device(), Cut::Blocked).await);
        let recorder = Arc::new(Recorder::default());
        let generation = tunnels.register(device(), Arc::new(recorder.clone()), peer());
        tunnels.open_forward(device(), generation, forward(10_000));
        assert!(!tunnels.cut(device(), Cut::Blocked).await);
        let (confirmed, ()) = tokio::join!(tunnels.cut(device(), Cut::Closed), async {
            tokio::task::yield_now().await;
            tunnels.close_forwards(device(), generation, None);
        });
        assert!(confirmed);
        assert!(!tunnels.wait_open(device(), Duration::from_secs(1)).await);
        let opening = tunnels.wait_open(device(), Duration::from_secs(1));
        let (open, ()) = tokio::join!(timeout(Duration::from_secs(2), opening), async {
            tokio::task::yield_now().await;
            tunnels.open_forward(device(), generation, forward(10_000));
        });
        assert_eq!(open, Ok(true));
    }
}
