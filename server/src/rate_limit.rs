//! [`RateLimiter`]: so many calls a minute for every key of a table, refilled evenly.
//!
//! One instance holds one kind of budget (per API key, per device, per source address) and is shared by every
//! surface that counts against it. The rate is given with each call, since API keys have rates of their own.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entries a table holds; past it, keys not seen before share one budget. An entry has about 64 bytes.
const MAX_ENTRIES: usize = 65_536;
const MINUTE_NANOS: u64 = 60_000_000_000;

/// A budget that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// How long until the next call is let through.
    pub retry_after: Duration,
}

impl Exceeded {
    /// The value of `Retry-After`: whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn retry_after_secs(self) -> u64 {
        let rounded = self
            .retry_after
            .as_secs()
            .saturating_add(u64::from(self.retry_after.subsec_nanos() > 0));
        rounded.max(1)
    }
}

/// Budgets by key: each holds as many calls as a minute allows and fills again evenly (the generic cell rate
/// algorithm, one time stamp a key).
#[derive(Debug)]
pub struct RateLimiter<K> {
    started: Instant,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    /// When the budget of a key is full again, in nanoseconds since the start; absent is full.
    full_at: HashMap<K, u64>,
    overflow_full_at: u64,
    sweep_at_len: usize,
}

impl<K: Hash + Eq + Clone> RateLimiter<K> {
    /// An empty table: every budget is full.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            table: Mutex::new(Table {
                full_at: HashMap::new(),
                overflow_full_at: 0,
                sweep_at_len: 1024,
            }),
        }
    }

    /// Takes one call from the budget of `key`, which is `per_minute` calls.
    ///
    /// # Errors
    /// [`Exceeded`] when it is used up; nothing is taken then.
    pub fn take(&self, key: &K, per_minute: u32) -> Result<(), Exceeded> {
        let now = self.now();
        self.table().take(key, per_minute, now)
    }

    /// Gives back what [`Self::take`] took, for calls that turn out not to count.
    pub fn give_back(&self, key: &K, per_minute: u32) {
        let now = self.now();
        self.table().give_back(key, per_minute, now);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Default for RateLimiter<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn take(&mut self, key: &K, per_minute: u32, now: u64) -> Result<(), Exceeded> {
        let step = step(per_minute);
        let slot = self.slot(key, now);
        let full_at = (*slot).max(now).saturating_add(step);
        let limit = now.saturating_add(step.saturating_mul(per_minute.max(1).into()));
        if full_at > limit {
            let retry_after = Duration::from_nanos(full_at - limit);
            return Err(Exceeded { retry_after });
        }
        *slot = full_at;
        Ok(())
    }

    fn give_back(&mut self, key: &K, per_minute: u32, now: u64) {
        let slot = self.slot(key, now);
        *slot = slot.saturating_sub(step(per_minute));
    }

    fn slot(&mut self, key: &K, now: u64) -> &mut u64 {
        if self.full_at.len() >= self.sweep_at_len && !self.full_at.contains_key(key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at_len = (self.full_at.len() * 2).clamp(1024, MAX_ENTRIES);
            if self.full_at.len() >= MAX_ENTRIES {
                return &mut self.overflow_full_at;
            }
        }
        self.full_at.entry(key.clone()).or_insert(now)
    }
}

fn step(per_minute: u32) -> u64 {
    MINUTE_NANOS / u64::from(per_minute.max(1))
}

/// The key under which a source address is counted: an IPv6 host has a whole /64 to call from, and an IPv4 address
/// may come mapped into IPv6.
#[must_use]
pub fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn table() -> Table<u32> {
        Table {
            full_at: HashMap::new(),
            overflow_full_at: 0,
            sweep_at_len: 1024,
        }
    }

    #[test]
    fn a_minute_of_calls_at_once_then_one_each_step() {
        let mut table = table();
        for _ in 0..60 {
            assert_eq!(table.take(&1, 60, 0), Ok(()));
        }
        let refused = table.take(&1, 60, 0).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(1));
        assert_eq!(refused.retry_after_secs(), 1);
        assert_eq!(table.take(&2, 60, 0), Ok(()), "another key has its own");
        assert_eq!(table.take(&1, 60, SECOND), Ok(()));
        assert!(table.take(&1, 60, SECOND).is_err());
        for _ in 0..60 {
            assert_eq!(table.take(&1, 60, 100 * SECOND), Ok(()));
        }
        assert!(table.take(&1, 60, 100 * SECOND).is_err());
    }

    #[test]
    fn one_call_a_minute_and_none_at_all_allow_one() {
        for rate in [0, 1] {
            let mut table = table();
            assert_eq!(table.take(&1, rate, 0), Ok(()));
            let refused = table.take(&1, rate, SECOND).unwrap_err();
            assert_eq!(refused.retry_after_secs(), 59);
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut table = table();
        for _ in 0..10 {
            assert_eq!(table.take(&1, 10, 0), Ok(()));
        }
        assert!(table.take(&1, 10, 0).is_err());
        table.give_back(&1, 10, 0);
        assert_eq!(table.take(&1, 10, 0), Ok(()));
        assert!(table.take(&1, 10, 0).is_err());
    }

    #[test]
    fn the_table_stays_bounded_and_old_entries_go() {
        let mut table = table();
        let many = u32::try_from(MAX_ENTRIES).unwrap() + 5000;
        for key in 0..many {
            let _ignored = table.take(&key, 60, 0);
        }
        assert!(table.full_at.len() <= MAX_ENTRIES);
        let mut late = 0;
        while table.take(&(many + 1), 60, 0).is_ok() {
            late += 1;
        }
        assert!(late < 60, "keys past the bound share one budget");
        assert_eq!(table.take(&(many + 2), 60, 200 * SECOND), Ok(()));
        assert_eq!(table.full_at.len(), 1);
    }

    #[test]
    fn a_host_counts_as_one_address() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2::9"));
        assert_ne!(key("2001:db8:1:2::4"), key("2001:db8:1:3::4"));
        assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
    }
}
