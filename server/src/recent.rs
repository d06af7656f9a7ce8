//! How often somebody did something within the last minute.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// The window of the limit.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Keys remembered. Beyond it the table is swept, and if that does not help it starts anew: a limit that forgets is
/// better than one that fills the memory.
const MAX_KEYS: usize = 10_000;

/// A sliding minute of events per key.
#[derive(Debug)]
pub struct Recent<K> {
    times: HashMap<K, VecDeque<Instant>>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self {
            times: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Recent<K> {
    /// Notes an event of `key` at `now`, unless there were `limit` already; 0 is no limit. Tells whether it did.
    pub fn admit(&mut self, key: K, limit: u32, now: Instant) -> bool {
        if limit == 0 {
            return true;
        }
        let admitted = self.count(&key, now) < limit as usize;
        if admitted {
            self.note(key, now);
        }
        admitted
    }

    /// How many events of `key` the last minute saw.
    pub fn count(&mut self, key: &K, now: Instant) -> usize {
        let Some(times) = self.times.get_mut(key) else {
            return 0;
        };
        while times.front().is_some_and(|first| !within(*first, now)) {
            times.pop_front();
        }
        times.len()
    }

    /// Notes an event of `key`.
    pub fn note(&mut self, key: K, now: Instant) {
        if self.times.len() >= MAX_KEYS {
            self.times
                .retain(|_, times| times.back().is_some_and(|last| within(*last, now)));
            if self.times.len() >= MAX_KEYS {
                self.times.clear();
            }
        }
        self.times.entry(key).or_default().push_back(now);
    }
}

fn within(time: Instant, now: Instant) -> bool {
    now.saturating_duration_since(time) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_slides_and_is_per_key() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert!(recent.admit("one", 2, at(0)));
        assert!(recent.admit("one", 2, at(30)));
        assert!(!recent.admit("one", 2, at(59)));
        assert!(recent.admit("two", 2, at(59)));
        assert!(recent.admit("one", 2, at(60)));
        assert!(!recent.admit("one", 2, at(61)));
        assert!(recent.admit("one", 0, at(61)));
    }
}
