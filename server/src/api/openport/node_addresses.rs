//! [`NodeAddresses`]: what the public names of nodes were found to mean, so that a call that needs no token does not
//! make the server ask DNS each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer, or that there was none, is believed.
const LIFETIME: Duration = Duration::from_secs(60);
/// Names held; there are few nodes. When there are more, all are forgotten.
const MAX_ENTRIES: usize = 1024;

type Entry = (Instant, Option<IpAddr>);

/// Addresses by name.
#[derive(Debug, Default)]
pub(in crate::api) struct NodeAddresses(Mutex<HashMap<String, Entry>>);

impl NodeAddresses {
    /// What was found a moment ago; the inner `None` is that nothing was.
    pub(in crate::api) fn get(&self, host: &str) -> Option<Option<IpAddr>> {
        let entries = self.entries();
        let (since, address) = entries.get(host)?;
        (since.elapsed() < LIFETIME).then_some(*address)
    }

    /// Notes what was found.
    pub(in crate::api) fn put(&self, host: &str, address: Option<IpAddr>) {
        let mut entries = self.entries();
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(host.to_owned(), (Instant::now(), address));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
