//! Which forwards of a device are open, and when its tunnel came up by that.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Carrier, Cut, OpenForward, Tunnel, Tunnels};
use crate::registry::model::{DeviceId, ForwardId, Timestamp};

impl Tunnels {
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

    /// Whether this forward of `device` is open now.
    #[must_use]
    pub fn is_forward_open(&self, device: DeviceId, forward: ForwardId) -> bool {
        let table = self.table();
        let mut of_device = table.get(&device).into_iter().flatten();
        of_device.any(|tunnel| tunnel.forwards.iter().any(|open| open.id == forward))
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

    /// Waits until the tunnel of `device` is open, at most `patience`; tells whether it is.
    pub async fn wait_open(&self, device: DeviceId, patience: Duration) -> bool {
        self.wait_until(patience, |tunnels| {
            let table = tunnels.table();
            let mut of_device = table.get(&device).into_iter().flatten();
            of_device.any(|tunnel| !tunnel.forwards.is_empty())
        })
        .await
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
