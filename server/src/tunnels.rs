//! The live table device -> tunnel. [`Tunnels::open_stream`] is the only way to reach a device.
//!
//! | module | holds |
//! |---|---|
//! | [`carrier`] | what carries streams, and what may be asked of it |
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

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::registry::model::{DeviceId, Timestamp};

mod carrier;
pub mod stream;

pub use carrier::{Carrier, Cut, ForwardTarget, OpenError, OpenForward, Pulse, TargetPort};
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
mod tests;
