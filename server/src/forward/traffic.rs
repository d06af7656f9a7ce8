//! Payload bytes by forward, counted where they are copied.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::registry::model::{DeviceId, ForwardId};

/// Payload bytes of every forward, both directions, since the server started. Cheap to clone. Holds an entry for each
/// forward that carried anything, of which there are no more than public ports.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    forwards: Arc<Mutex<HashMap<ForwardId, Counted>>>,
}

#[derive(Debug)]
struct Counted {
    device: DeviceId,
    bytes: Arc<AtomicU64>,
    /// How many of them [`Traffic::take`] has told already.
    told: u64,
}

impl Traffic {
    /// What whoever copies bytes of this forward adds to.
    #[must_use]
    pub fn counter(&self, device: DeviceId, forward: ForwardId) -> Arc<AtomicU64> {
        let mut forwards = self.forwards();
        let counted = forwards.entry(forward).or_insert_with(|| Counted {
            device,
            bytes: Arc::default(),
            told: 0,
        });
        counted.bytes.clone()
    }

    /// Bytes of a forward since the server started.
    #[must_use]
    pub fn bytes(&self, forward: ForwardId) -> u64 {
        self.forwards()
            .get(&forward)
            .map_or(0, |counted| counted.bytes.load(Ordering::Relaxed))
    }

    /// Bytes of a device that [`Self::take`] has not told yet.
    #[must_use]
    pub fn untold(&self, device: DeviceId) -> u64 {
        self.forwards()
            .values()
            .filter(|counted| counted.device == device)
            .map(Counted::untold)
            .sum()
    }

    /// Bytes by device that [`Self::take`] has not told yet; devices without any are left out.
    #[must_use]
    pub fn all_untold(&self) -> HashMap<DeviceId, u64> {
        let mut untold = HashMap::new();
        for counted in self.forwards().values().filter(|one| one.untold() > 0) {
            *untold.entry(counted.device).or_insert(0) += counted.untold();
        }
        untold
    }

    /// Undoes a [`Self::take`] whose bytes could not be written down. What belongs to no forward any more is let go.
    pub fn give_back(&self, taken: HashMap<DeviceId, u64>) {
        let mut taken = taken;
        for counted in self.forwards().values_mut() {
            if let Some(left) = taken.get_mut(&counted.device) {
                let back = counted.told.min(*left);
                counted.told -= back;
                *left -= back;
            }
        }
    }

    /// Bytes by device since the last call; devices without any are left out.
    #[must_use]
    pub fn take(&self) -> HashMap<DeviceId, u64> {
        let mut taken = HashMap::new();
        for counted in self.forwards().values_mut() {
            let untold = counted.untold();
            if untold > 0 {
                *taken.entry(counted.device).or_insert(0) += untold;
                counted.told += untold;
            }
        }
        taken
    }

    fn forwards(&self) -> MutexGuard<'_, HashMap<ForwardId, Counted>> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn untold(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).saturating_sub(self.told)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_byte_is_told_once() {
        let traffic = Traffic::default();
        let device = DeviceId(Uuid::from_u128(7));
        let counter = traffic.counter(device, ForwardId(1));
        counter.fetch_add(5, Ordering::Relaxed);
        traffic
            .counter(device, ForwardId(2))
            .fetch_add(2, Ordering::Relaxed);
        assert_eq!(traffic.untold(device), 7);
        assert_eq!(traffic.take(), HashMap::from([(device, 7)]));
        assert!(traffic.take().is_empty());
        counter.fetch_add(1, Ordering::Relaxed);
        assert_eq!(traffic.take(), HashMap::from([(device, 1)]));
        assert_eq!(traffic.bytes(ForwardId(1)), 6);
    }

    #[test]
    fn bytes_that_were_not_written_down_are_told_again() {
        let traffic = Traffic::default();
        let device = DeviceId(Uuid::from_u128(7));
        for (forward, bytes) in [(1, 5), (2, 7)] {
            let counter = traffic.counter(device, ForwardId(forward));
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
        let taken = traffic.take();
        assert!(traffic.all_untold().is_empty());
        traffic.give_back(taken);
        assert_eq!(traffic.all_untold(), HashMap::from([(device, 12)]));
        assert_eq!(traffic.take(), HashMap::from([(device, 12)]));
    }
}
