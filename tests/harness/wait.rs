use std::time::{Duration, Instant};

/// Longest wait for something that is expected to happen soon. Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(300);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` gives something; panics with `what` when `limit` has passed.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "after {limit:?} still not: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `holds`, for five minutes at most.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, LIMIT, || holds().then_some(()));
}
