//! The live table device -> tunnel. [`Tunnels::open_stream`] is the only way to reach a device.
//!
//! | module | holds |
//! |---|---|
//! | [`carrier`] | what carries streams, and what may be asked of it |
//! | [`forwards`] | which forwards are open |
//! | [`opening`] | how a stream is opened |
//! | [`stream`] | the byte stream that callers get |
//! | [`ways`] | which ways to a device are open |
//! | [`status`] | how devices are connected |
//! | [`cutting`] | how tunnels are ended |
//!
//! *Invariant:* the newest tunnel wins (fencing): [`Tunnels::register`] displaces the older one of the device at once,
//! [`Tunnels::open_forward`] the older one of that forward, and whatever the older one does later changes nothing,
//! because every change names its generation.
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
mod cutting;
mod forwards;
mod opening;
mod status;
pub mod stream;
mod ways;

pub use carrier::{Carrier, Cut, ForwardTarget, OpenError, OpenForward, Pulse, TargetPort};
pub use status::TunnelStatus;
pub use stream::Stream;
use ways::Ways;
pub use ways::{Look, Recording, Refusals, Way};

/// Tunnels of one device: its sessions have one each at most, the others are forward tunnels. Beyond that the oldest
/// without a forward is displaced.
const MAX_TUNNELS: usize = 128;

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

    fn carriers(&self, device: DeviceId) -> Vec<Arc<dyn Carrier>> {
        let table = self.table();
        let tunnels = table.get(&device).into_iter().flatten();
        tunnels.map(|tunnel| tunnel.carrier.clone()).collect()
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

#[cfg(test)]
mod tests;
