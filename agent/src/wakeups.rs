//! What ends a wait and makes a live tunnel prove itself: link up, new address, wake from sleep.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

mod netlink;

/// Wake-ups that wait to be seen; more of them say nothing new.
const QUEUE: usize = 2;
/// How often the clocks are compared.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// By how much the clock that counts sleep must get ahead of the one that does not.
const SLEPT_AT_LEAST: Duration = Duration::from_secs(2);
/// The kernel tells a change in several messages; look once they are all there.
const SETTLE: Duration = Duration::from_millis(100);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A link came or went, or an address did.
    Network,
    /// The device slept.
    Sleep,
}

impl Wake {
    /// For the log.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Network => "link or address",
            Self::Sleep => "wake from sleep",
        }
    }
}

/// Where wake-ups arrive.
#[derive(Debug)]
pub struct Wakeups(mpsc::Receiver<Wake>);

/// Watches the kernel.
#[derive(Debug)]
pub struct Watcher(mpsc::Sender<Wake>);

/// A watcher and where its wake-ups arrive.
#[must_use]
pub fn watch() -> (Watcher, Wakeups) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Watcher(sender), Wakeups(receiver))
}

impl Wakeups {
    /// The next one; for ever silent when nobody watches.
    pub async fn next(&mut self) -> Wake {
        match self.0.recv().await {
            Some(wake) => wake,
            None => std::future::pending().await,
        }
    }
}

impl Watcher {
    /// Watches until stopped. Where the kernel has no netlink (containers without the right), only sleep is seen.
    pub async fn run(self, stop: CancellationToken) {
        let network = async {
            match netlink::Events::subscribe() {
                Ok(events) => self.watch_network(events).await,
                Err(error) => {
                    tracing::warn!(%error, "watch the network: changes will be noticed late");
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = network => {}
            () = self.watch_sleep(time_asleep) => {}
        }
    }

    async fn watch_network(&self, mut events: netlink::Events) {
        let mut before = snapshot();
        loop {
            if let Err(error) = events.next().await {
                tracing::warn!(%error, "watch the network: changes will be noticed late");
                return std::future::pending().await;
            }
            sleep(SETTLE).await;
            events.drain();
            let now = snapshot();
            // Router advertisements and wireless statistics cause messages without any change.
            if now != before {
                before = now;
                self.wake(Wake::Network);
            }
        }
    }

    /// `asleep` tells for how long the device has slept since boot.
    async fn watch_sleep(&self, asleep: impl Fn() -> Duration) {
        let mut ticks = interval(CLOCK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = asleep();
        loop {
            ticks.tick().await;
            let now = asleep();
            if slept(before, now) {
                self.wake(Wake::Sleep);
            }
            before = now;
        }
    }

    fn wake(&self, wake: Wake) {
        if self.0.try_send(wake).is_err() {
            tracing::debug!("a wake-up is waiting already");
        }
    }
}

/// Time since boot that the device slept.
fn time_asleep() -> Duration {
    let read = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(read(ClockId::CLOCK_MONOTONIC))
}

fn slept(before: Duration, now: Duration) -> bool {
    now.saturating_sub(before) >= SLEPT_AT_LEAST
}

/// Every interface with what matters of its state, and its addresses.
fn snapshot() -> BTreeSet<(String, InterfaceState, Option<String>)> {
    let Ok(addresses) = getifaddrs() else {
        return BTreeSet::new();
    };
    addresses
        .map(|entry| {
            let state = if entry
                .flags
                .contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING)
            {
                InterfaceState::Running
            } else {
                InterfaceState::Down
            };
            let address = entry.address.and_then(|address| {
                let v4 = address.as_sockaddr_in().map(ToString::to_string);
                v4.or_else(|| address.as_sockaddr_in6().map(ToString::to_string))
            });
            (entry.interface_name, state, address)
        })
        .collect()
}

/// Whether the device has `address` now; yes when the system does not say.
pub(crate) fn has_address(address: IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    let Ok(mut addresses) = getifaddrs() else {
        return true;
    };
    addresses.any(|entry| {
        let Some(held) = entry.address else {
            return false;
        };
        let v4 = held.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let v6 = || held.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip()));
        v4.or_else(v6) == Some(address.to_canonical())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum InterfaceState {
    Down,
    Running,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_between_the_clocks_is_sleep_and_drift_is_not() {
        let s = Duration::from_secs;
        assert!(slept(s(10), s(70)));
        assert!(!slept(s(10), s(11)));
        assert!(!slept(s(10), s(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_sleep_wakes_once_and_time_awake_does_not() {
        let (watcher, mut wakeups) = watch();
        let slept = std::cell::Cell::new(Duration::from_secs(3600));
        let story = async {
            for _ in 0..3 {
                let quiet = tokio::time::timeout(CLOCK_INTERVAL * 10, wakeups.next());
                quiet.await.unwrap_err();
                slept.set(slept.get() + SLEPT_AT_LEAST);
                let woken = tokio::time::timeout(CLOCK_INTERVAL * 2, wakeups.next());
                assert_eq!(woken.await.unwrap(), Wake::Sleep);
            }
        };
        tokio::select! {
            () = watcher.watch_sleep(|| slept.get()) => {}
            () = story => {}
        }
    }

    #[test]
    fn the_loopback_interface_is_seen() {
        let seen = snapshot();
        assert!(seen.iter().any(|(name, ..)| name == "lo"), "{seen:?}");
        assert!(has_address(IpAddr::from([127, 0, 0, 1])));
        assert!(!has_address(IpAddr::from([192, 0, 2, 1])));
    }

    #[tokio::test]
    async fn netlink_can_be_subscribed_to() {
        netlink::Events::subscribe().unwrap().drain();
    }
}
