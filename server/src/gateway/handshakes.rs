//! [`Handshakes`]: how many connections log in at once, so that none of them can keep the others out.
//!
//! A connection that says nothing holds its turn until the login times out. One address has some of the turns only;
//! what it brings beyond that waits for its own, not for those of others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::rate_limit::address_key;

/// Connections that log in at once.
const MAX_AT_ONCE: usize = 512;
/// Those of one address (of IPv6: of one /64).
const MAX_OF_ADDRESS: usize = 384;
/// Connections of one address that are accepted and not logged in, with those that wait for their turn; beyond that
/// they are closed. As many as come back through one NAT when a node restarts.
const MAX_HERE_OF_ADDRESS: usize = 4096;
/// The same of all addresses; what comes beyond waits in the backlog of the listener.
const MAX_HERE: usize = 8192;

/// See the module.
#[derive(Debug)]
pub(super) struct Handshakes {
    here: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

#[derive(Debug)]
struct Address {
    here: usize,
    turns: Arc<Semaphore>,
}

/// A connection that is accepted.
#[derive(Debug)]
pub(super) struct Arrival {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
    turns: Arc<Semaphore>,
    _here: OwnedSemaphorePermit,
}

/// The turn of a connection; drop it when it is logged in.
#[derive(Debug)]
pub(super) struct Turn {
    _own: OwnedSemaphorePermit,
    _common: OwnedSemaphorePermit,
    _arrival: Arrival,
}

impl Handshakes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            here: Arc::new(Semaphore::new(MAX_HERE)),
            turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            addresses: Mutex::default(),
        })
    }

    /// Waits until one more connection may be accepted.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.here.clone().acquire_owned().await.ok()
    }

    /// A connection came from `address`; `None` when there are too many of it.
    pub(super) fn arrive(
        self: &Arc<Self>,
        address: IpAddr,
        room: OwnedSemaphorePermit,
    ) -> Option<Arrival> {
        let address = address_key(address);
        let mut addresses = self.addresses();
        let known = addresses.entry(address).or_insert_with(|| Address {
            here: 0,
            turns: Arc::new(Semaphore::new(MAX_OF_ADDRESS)),
        });
        if known.here >= MAX_HERE_OF_ADDRESS {
            return None;
        }
        known.here += 1;
        Some(Arrival {
            handshakes: self.clone(),
            address,
            turns: known.turns.clone(),
            _here: room,
        })
    }

    /// Connections that are accepted and not logged in.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.addresses().values().map(|address| address.here).sum()
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        // No code panics while it holds the lock.
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// Waits for its turn.
    pub(super) async fn turn(self) -> Option<Turn> {
        let own = self.turns.clone().acquire_owned().await.ok()?;
        let common = self.handshakes.turns.clone().acquire_owned().await.ok()?;
        Some(Turn {
            _own: own,
            _common: common,
            _arrival: self,
        })
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut addresses = self.handshakes.addresses();
        if let Some(known) = addresses.get_mut(&self.address) {
            known.here = known.here.saturating_sub(1);
            if known.here == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    async fn come(handshakes: &Arc<Handshakes>, from: IpAddr) -> Option<Arrival> {
        handshakes.arrive(from, handshakes.room().await.unwrap())
    }

    #[tokio::test]
    async fn an_address_waits_for_its_own_turns() {
        let handshakes = Handshakes::new();
        let mut turns = Vec::new();
        for _ in 0..MAX_OF_ADDRESS {
            let arrival = come(&handshakes, ONE).await.unwrap();
            turns.push(arrival.turn().await.unwrap());
        }
        let waiting = come(&handshakes, ONE).await.unwrap();
        let waiting = waiting.turn();
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        let other = come(&handshakes, TWO).await.unwrap();
        assert!(other.turn().now_or_never().is_some(), "others do not wait");
        turns.pop();
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_address_that_brings_too_many_is_closed_and_leaves_nothing() {
        let handshakes = Handshakes::new();
        let mut here = Vec::new();
        for _ in 0..MAX_HERE_OF_ADDRESS {
            here.push(come(&handshakes, ONE).await.unwrap());
        }
        assert!(come(&handshakes, ONE).await.is_none());
        assert!(come(&handshakes, TWO).await.is_some());
        assert_eq!(handshakes.count(), MAX_HERE_OF_ADDRESS);
        here.clear();
        assert_eq!(handshakes.count(), 0);
        assert!(handshakes.addresses().is_empty());
        assert_eq!(handshakes.here.available_permits(), MAX_HERE);
    }
}
