//! [`Turns`]: how many requests are under way, in all and of one kind.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests under way by `K`. Holds an entry for each that has any. Clones share it.
#[derive(Debug)]
pub(crate) struct Turns<K: Eq + Hash + Copy>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    limits: Limits,
    counts: Mutex<Counts<K>>,
}

/// How many there may be at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of one `K`.
    pub(crate) each: usize,
    /// In all.
    pub(crate) all: usize,
}

#[derive(Debug)]
struct Counts<K> {
    each: HashMap<K, usize>,
    all: usize,
}

/// One request; over when dropped.
#[derive(Debug)]
pub(crate) struct Turn<K: Eq + Hash + Copy> {
    turns: Turns<K>,
    key: K,
}

impl<K: Eq + Hash + Copy> Turns<K> {
    /// None under way.
    pub(crate) fn new(limits: Limits) -> Self {
        let counts = Counts {
            each: HashMap::new(),
            all: 0,
        };
        Self(Arc::new(Shared {
            limits,
            counts: Mutex::new(counts),
        }))
    }

    /// A turn of `key`, unless there are too many.
    pub(crate) fn take(&self, key: K) -> Option<Turn<K>> {
        let limits = self.0.limits;
        let mut counts = self.counts();
        let of_key = counts.each.get(&key).copied().unwrap_or(0);
        if counts.all >= limits.all || of_key >= limits.each {
            return None;
        }
        counts.all += 1;
        counts.each.insert(key, of_key + 1);
        drop(counts);
        let turns = Self(self.0.clone());
        Some(Turn { turns, key })
    }

    fn counts(&self) -> MutexGuard<'_, Counts<K>> {
        let counts = self.0.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Copy> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut counts = self.turns.counts();
        counts.all -= 1;
        if let Some(count) = counts.each.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.each.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { each: 3, all: 5 };

    #[test]
    fn one_that_is_full_leaves_the_others_free_and_nothing_is_kept() {
        let turns = Turns::new(LIMITS);
        let take = |key: u8| -> Vec<_> { std::iter::from_fn(|| turns.take(key)).collect() };
        let first = take(1);
        assert_eq!(first.len(), 3);
        let second = take(2);
        assert_eq!(second.len(), 2, "five in all");
        drop(first);
        let third = take(3);
        assert_eq!(third.len(), 3);
        drop((second, third));
        let counts = turns.counts();
        assert!(counts.each.is_empty() && counts.all == 0);
    }
}
