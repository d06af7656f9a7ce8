//! [`Turns`]: how many requests one forward has under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::registry::model::ForwardId;

/// Requests and upgraded connections that one forward carries at once, as many as it may have visitors on a public
/// port; what comes beyond is answered 503.
const MAX_STREAMS_PER_FORWARD: usize = 1024;

/// Requests under way by forward. Holds an entry for each forward that has any.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<ForwardId, usize>>>);

/// One request of a forward; over when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    forward: ForwardId,
}

impl Turns {
    /// A turn of `forward`, unless it has too many.
    pub(super) fn take(&self, forward: ForwardId) -> Option<Turn> {
        let mut counts = self.counts();
        let count = counts.entry(forward).or_insert(0);
        if *count >= MAX_STREAMS_PER_FORWARD {
            return None;
        }
        *count += 1;
        drop(counts);
        let turns = self.clone();
        Some(Turn { turns, forward })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ForwardId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.turns.counts();
        if let Some(count) = counts.get_mut(&self.forward) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.forward);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_that_is_full_leaves_the_others_free_and_nothing_is_kept() {
        let turns = Turns::default();
        let taken: Vec<Turn> = (0..MAX_STREAMS_PER_FORWARD)
            .map_while(|_| turns.take(ForwardId(1)))
            .collect();
        assert_eq!(taken.len(), MAX_STREAMS_PER_FORWARD);
        assert!(turns.take(ForwardId(1)).is_none());
        assert!(turns.take(ForwardId(2)).is_some());
        drop(taken);
        assert!(turns.counts().is_empty());
    }
}
