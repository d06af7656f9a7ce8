//! How devices are connected, as others see it.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Tunnel, Tunnels};
use crate::registry::model::{DeviceId, Timestamp};

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

impl Tunnels {
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
