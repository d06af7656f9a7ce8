//! The live table device -> tunnel. [`Tunnels::open_stream`] is the only way to reach a device.
//!
//! | module | holds |
//! |---|---|
//! | [`carrier`] | what carries streams, and what may be asked of it |
//! | [`stream`] | the byte stream that callers get |
//! | [`ways`] | which ways to a device are open |
//!
//! *Invariant:* the newest tunnel wins (fencing): [`Tunnels::register`] displaces the older one of the device at once,
//! [`Tunnels::open_forward`] the older one of that forward, and whatever the older one does later changes nothing,
//! because every change names its generation.
//! *Invariant:* nothing here knows SSH or HTTP; a tunnel is a [`Carrier`].

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::registry::model::{DeviceId, ForwardId, Timestamp};

mod carrier;
pub mod stream;
mod ways;

pub use carrier::{Carrier, Cut, ForwardTarget, OpenError, OpenForward, Pulse, TargetPort};
pub use stream::Stream;
use ways::Ways;
pub use ways::{Look, Recording, Refusals, Way};

/// How long [`Tunnels::open_stream`] waits for a device that is connected but has not asked for its forward yet,
/// as just after a takeover.
const FORWARD_PATIENCE: Duration = Duration::from_secs(3);
/// How long a device may take to open one stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long [`Tunnels::cut`] waits for the connection to be gone.
const CUT_TIMEOUT: Duration = Duration::from_secs(10);

/// Tunnels of one device: its sessions have one each at most, the others are forward tunnels. Beyond that the oldest
/// without a forward is displaced.
const MAX_TUNNELS: usize = 128;

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
    /// When its first forward was granted, if it has any.
    pub up_at: Option<Timestamp>,
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
    table: Mutex<HashMap<DeviceId, Vec<Tunnel>>>,
    /// When tunnels came up that [`Tunnels::take_ups`] has not told yet: at most one entry for each device.
    ups: Mutex<HashMap<DeviceId, Timestamp>>,
    /// Its lock is taken last.
    ways: Ways,
    last_generation: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            ups: Mutex::default(),
            ways: Ways::default(),
            last_generation: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }
}

/// What a tunnel stands for, and so what a newer one displaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The device as a whole: it has one such tunnel, with all of its forwards.
    Device,
    /// Single forwards; a device may have one such tunnel for each of them.
    Sessions,
}

struct Tunnel {
    generation: u64,
    hold: Hold,
    carrier: Arc<dyn Carrier>,
    peer: SocketAddr,
    connected_at: Timestamp,
    up_at: Option<Timestamp>,
    forwards: Vec<OpenForward>,
}

/// A granted forward and who carries its streams.
type Found = (Arc<dyn Carrier>, OpenForward);

impl Tunnels {
    /// Puts a newly authenticated tunnel into the table. One that holds the whole device displaces the older one that
    /// does, if any. Gives its generation, higher than all before.
    pub fn register(
        &self,
        device: DeviceId,
        carrier: Arc<dyn Carrier>,
        peer: SocketAddr,
        hold: Hold,
    ) -> u64 {
        let generation = self.shared.last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        let tunnel = Tunnel {
            generation,
            hold,
            carrier,
            peer,
            connected_at: Timestamp::now(),
            up_at: None,
            forwards: Vec::new(),
        };
        // The lock is released before the older one is cut.
        let older: Vec<Tunnel> = {
            let mut table = self.table();
            let tunnels = table.entry(device).or_default();
            let mut older: Vec<_> = tunnels
                .extract_if(.., |other| {
                    hold == Hold::Device && other.hold == Hold::Device
                })
                .collect();
            if tunnels.len() >= MAX_TUNNELS {
                let idle = tunnels.iter().position(|other| other.forwards.is_empty());
                older.push(tunnels.remove(idle.unwrap_or(0)));
            }
            tunnels.push(tunnel);
            self.shared.ways.connected(device);
            older
        };
        for tunnel in older {
            tunnel.carrier.cut(Cut::Displaced);
        }
        self.touch();
        generation
    }

    /// Takes the tunnel of that generation out of the table. True when the device has none left by that; false, too,
    /// when the tunnel had been displaced.
    pub fn unregister(&self, device: DeviceId, generation: u64) -> bool {
        let mut table = self.table();
        let last = table.get_mut(&device).is_some_and(|tunnels| {
            let before = tunnels.len();
            tunnels.retain(|tunnel| tunnel.generation != generation);
            tunnels.is_empty() && before > 0
        });
        if last {
            table.remove(&device);
            self.shared.ways.disconnected(device);
        }
        drop(table);
        self.touch();
        last
    }

    /// Notes a granted forward, and takes it from an older tunnel that has it; what is left without any forward then
    /// is displaced. False when the tunnel of that generation is displaced itself, or a newer one has the forward.
    pub fn open_forward(&self, device: DeviceId, generation: u64, forward: OpenForward) -> bool {
        let opened = {
            let mut table = self.table();
            table.get_mut(&device).map_or(Opened::Refused, |tunnels| {
                open_in(tunnels, generation, forward)
            })
        };
        self.touch();
        let older = match opened {
            Opened::Refused => return false,
            Opened::CameUp(older) => {
                self.ups().insert(device, Timestamp::now());
                older
            }
            Opened::Beside(older) => older,
        };
        if let Some(older) = older {
            older.cut(Cut::Displaced);
        }
        true
    }

    /// When tunnels came up since the last call, for whoever writes it down: by device, the last time.
    #[must_use]
    pub fn take_ups(&self) -> HashMap<DeviceId, Timestamp> {
        std::mem::take(&mut *self.ups())
    }

    /// Undoes a [`Self::take_ups`] that could not be written down.
    pub fn give_back_ups(&self, taken: HashMap<DeviceId, Timestamp>) {
        let mut ups = self.ups();
        for (device, at) in taken {
            ups.entry(device).or_insert(at);
        }
    }

    /// When a tunnel of `device` last came up, unless that was told by [`Self::take_ups`] and the tunnel is gone.
    #[must_use]
    pub fn last_up(&self, device: DeviceId) -> Option<Timestamp> {
        let untold = self.ups().get(&device).copied();
        let table = self.table();
        let tunnels = table.get(&device).into_iter().flatten();
        tunnels.filter_map(|tunnel| tunnel.up_at).max().max(untold)
    }

    fn ups(&self) -> MutexGuard<'_, HashMap<DeviceId, Timestamp>> {
        self.shared
            .ups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back granted forwards: the one with that public port, or all.
    pub fn close_forwards(&self, device: DeviceId, generation: u64, public_port: Option<u16>) {
        let mut table = self.table();
        let tunnel = table
            .get_mut(&device)
            .and_then(|tunnels| tunnels.iter_mut().find(|one| one.generation == generation));
        if let Some(tunnel) = tunnel {
            tunnel
                .forwards
                .retain(|open| public_port.is_some_and(|port| port != open.public_port));
        }
        drop(table);
        self.touch();
    }

    /// Opens a byte stream to `target` as seen from `device`. Ends with the tunnel that carries it.
    ///
    /// # Errors
    /// [`OpenError`]; a device that just connected is given a moment to ask for its forward. A way that is closed stays
    /// so, and one that is closed later ends the stream.
    pub async fn open_stream(
        &self,
        device: DeviceId,
        target: &ForwardTarget,
    ) -> Result<Stream, OpenError> {
        let (carrier, forward) = self.find(device, target.port).await?;
        self.shared.ways.judge(device, target.way)?;
        let stream = tokio::time::timeout(OPEN_TIMEOUT, carrier.open(forward, target.originator))
            .await
            .unwrap_or(Err(OpenError::TimedOut))?;
        self.shared.ways.admit(device, target.way, &stream)?;
        Ok(stream)
    }

    /// Begins to look up where recordings are demanded, for [`Self::learn_recordings`].
    #[must_use]
    pub fn begin_look(&self) -> Look {
        self.shared.ways.begin_look()
    }

    /// Notes what a look found: recordings are demanded of those of `devices` that stand in `demanded`. Ends what
    /// passes them by, and opens the other ways of the others again. A device that is not connected is left out.
    pub fn learn_recordings(&self, look: Look, devices: &[DeviceId], demanded: &HashSet<DeviceId>) {
        self.shared.ways.learned(look, devices, demanded);
    }

    /// Whether recordings are demanded of a device, if it is connected.
    #[must_use]
    pub fn recording(&self, device: DeviceId) -> Option<Recording> {
        self.shared.ways.recording(device)
    }

    /// Which ways were refused since the last call; one way to one device is told once an hour.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<Refusals> {
        self.shared.ways.take_refusals(Instant::now())
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
        let tunnels = table.get(&device).ok_or(OpenError::NotConnected)?;
        let wanted = |open: &&OpenForward| match port {
            TargetPort::First => open.first,
            TargetPort::Device(port) => open.device_port == port,
            TargetPort::Forward(id) => open.id == id,
        };
        Ok(tunnels.iter().rev().find_map(|tunnel| {
            let forward = tunnel.forwards.iter().find(wanted)?;
            Some((tunnel.carrier.clone(), forward.clone()))
        }))
    }

    /// How `device` is connected, if it is. Of several tunnels the newest with a forward speaks for it.
    #[must_use]
    pub fn status(&self, device: DeviceId) -> Option<TunnelStatus> {
        let table = self.table();
        let tunnels = table.get(&device)?;
        tunnels
            .iter()
            .max_by_key(|tunnel| (!tunnel.forwards.is_empty(), tunnel.generation))
            .map(Tunnel::status)
    }

    /// The forwards that are open now, over all devices.
    #[must_use]
    pub fn open_forwards(&self) -> Vec<(DeviceId, ForwardId)> {
        self.table()
            .iter()
            .flat_map(|(device, tunnels)| {
                let forwards = tunnels.iter().flat_map(|tunnel| &tunnel.forwards);
                forwards.map(|forward| (*device, forward.id))
            })
            .collect()
    }

    /// Ends every tunnel of `device`; true when they are gone within 10 s, and at once when there was none. With
    /// [`Cut::Closed`] their forwards are what must be gone.
    pub async fn cut(&self, device: DeviceId, cut: Cut) -> bool {
        self.cut_those(device, cut, |_| true).await
    }

    /// Ends the tunnel that has this forward of `device`; else as [`Self::cut`].
    pub async fn cut_forward(&self, device: DeviceId, forward: ForwardId, cut: Cut) -> bool {
        self.cut_those(device, cut, |tunnel| {
            tunnel.forwards.iter().any(|open| open.id == forward)
        })
        .await
    }

    /// As [`Self::cut_forward`] for a forward that is removed: a tunnel that holds the whole device goes on without it.
    pub async fn end_removed(&self, device: DeviceId, forward: ForwardId, cut: Cut) -> bool {
        self.forwards_changed(device);
        self.cut_those(device, cut, |tunnel| {
            tunnel.hold == Hold::Sessions && tunnel.forwards.iter().any(|open| open.id == forward)
        })
        .await
    }

    async fn cut_those(
        &self,
        device: DeviceId,
        cut: Cut,
        chosen: impl Fn(&Tunnel) -> bool,
    ) -> bool {
        let (generations, carriers): (Vec<u64>, Vec<_>) = {
            let table = self.table();
            let tunnels = table.get(&device).into_iter().flatten();
            tunnels
                .filter(|tunnel| chosen(tunnel))
                .map(|tunnel| (tunnel.generation, tunnel.carrier.clone()))
                .unzip()
        };
        for carrier in carriers {
            carrier.cut(cut);
        }
        let still = |tunnel: &Tunnel| {
            generations.contains(&tunnel.generation)
                && (cut != Cut::Closed || !tunnel.forwards.is_empty())
        };
        let gone = |tunnels: &Self| {
            let table = tunnels.table();
            !table.get(&device).into_iter().flatten().any(still)
        };
        self.wait_until(CUT_TIMEOUT, gone).await
    }

    /// Waits until the tunnel of `device` is open, at most `patience`; tells whether it is.
    pub async fn wait_open(&self, device: DeviceId, patience: Duration) -> bool {
        self.wait_until(patience, |tunnels| {
            let table = tunnels.table();
            let mut of_device = table.get(&device).into_iter().flatten();
            of_device.any(|tunnel| !tunnel.forwards.is_empty())
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

    /// Passes `set_allow_clientless` on to live tunnels.
    pub fn set_allow_clientless(&self, device: DeviceId, allow: bool) {
        for carrier in self.carriers(device) {
            carrier.set_allow_clientless(allow);
        }
    }

    /// Tells a connected agent that its forwards are wanted again.
    pub fn wanted_open(&self, device: DeviceId) {
        for carrier in self.carriers(device) {
            carrier.wanted_open();
        }
    }

    /// Tells the tunnels of `device` that its forwards changed in the registry.
    pub fn forwards_changed(&self, device: DeviceId) {
        for carrier in self.carriers(device) {
            carrier.forwards_changed();
        }
    }

    /// Waits until this forward of `device` is open, at most `patience`; tells whether it is.
    pub async fn wait_forward(
        &self,
        device: DeviceId,
        forward: ForwardId,
        patience: Duration,
    ) -> bool {
        self.wait_until(patience, |tunnels| tunnels.is_forward_open(device, forward))
            .await
    }

    /// Whether this forward of `device` is open now.
    #[must_use]
    pub fn is_forward_open(&self, device: DeviceId, forward: ForwardId) -> bool {
        let table = self.table();
        let mut of_device = table.get(&device).into_iter().flatten();
        of_device.any(|tunnel| tunnel.forwards.iter().any(|open| open.id == forward))
    }

    fn carriers(&self, device: DeviceId) -> Vec<Arc<dyn Carrier>> {
        let table = self.table();
        let tunnels = table.get(&device).into_iter().flatten();
        tunnels.map(|tunnel| tunnel.carrier.clone()).collect()
    }

    /// Sends every device away, each with its own moment to come back, so that they do not come all at once.
    pub fn drain(&self) {
        let carriers: Vec<_> = self
            .table()
            .values()
            .flatten()
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
            .filter_map(|(id, tunnels)| Some((*id, tunnels.iter().map(Tunnel::last_sign).max()?)))
            .collect()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<DeviceId, Vec<Tunnel>>> {
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

/// What became of a forward that a tunnel asked for.
enum Opened {
    Refused,
    /// The tunnel's first one.
    CameUp(Emptied),
    /// One more of the tunnel.
    Beside(Emptied),
}

/// The older tunnel that had the forward, when it has none left.
type Emptied = Option<Arc<dyn Carrier>>;

fn open_in(tunnels: &mut Vec<Tunnel>, generation: u64, forward: OpenForward) -> Opened {
    let holder = |tunnel: &Tunnel| tunnel.forwards.iter().any(|open| open.id == forward.id);
    let newer_has_it = tunnels
        .iter()
        .any(|tunnel| tunnel.generation > generation && holder(tunnel));
    let own = |tunnel: &Tunnel| tunnel.generation == generation;
    if newer_has_it || !tunnels.iter().any(own) {
        return Opened::Refused;
    }
    let older = tunnels
        .iter()
        .position(|tunnel| !own(tunnel) && holder(tunnel));
    for tunnel in tunnels.iter_mut() {
        tunnel.forwards.retain(|open| open.id != forward.id);
    }
    let mut came_up = false;
    if let Some(tunnel) = tunnels.iter_mut().find(|tunnel| own(tunnel)) {
        if tunnel.forwards.is_empty() {
            came_up = true;
            tunnel.up_at = Some(Timestamp::now());
        }
        tunnel.forwards.push(forward);
    }
    let emptied = older.filter(|index| {
        let tunnel = tunnels.get(*index);
        tunnel.is_some_and(|tunnel| tunnel.forwards.is_empty())
    });
    let emptied = emptied.map(|index| tunnels.remove(index).carrier);
    if came_up {
        Opened::CameUp(emptied)
    } else {
        Opened::Beside(emptied)
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
            up_at: self.up_at.filter(|_| !self.forwards.is_empty()),
            last_sign: self.last_sign(),
            round_trip: pulse.round_trip,
            client: self.carrier.client(),
        }
    }
}

#[cfg(test)]
mod tests;
