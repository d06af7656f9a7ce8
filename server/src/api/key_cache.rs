//! [`KeyCache`]: API keys of a factory line, which makes thousands of calls with one key.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::registry::model::ApiKey;

/// How long a key is believed. What such a call writes is checked against the key as it stands, in the same
/// transaction; only what a refusal says could be out of date, and refusals ask again.
pub(super) const LIFETIME: Duration = Duration::from_secs(2);
/// Keys held; when there are more, all are forgotten.
const MAX_ENTRIES: usize = 1024;

/// Digest of a secret, so that no secret stays in memory.
type Digest = [u8; 32];

/// Keys by the digest of their secret.
#[derive(Debug, Default)]
pub(super) struct KeyCache(Mutex<HashMap<Digest, (Instant, ApiKey)>>);

impl KeyCache {
    /// The key of `secret`, if it was looked up a moment ago.
    pub(super) fn get(&self, secret: &str) -> Option<ApiKey> {
        let entries = self.entries();
        let (since, key) = entries.get(&digest(secret))?;
        (since.elapsed() < LIFETIME).then(|| key.clone())
    }

    /// Notes what `secret` was found to be.
    pub(super) fn put(&self, secret: &str, key: ApiKey) {
        let mut entries = self.entries();
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(digest(secret), (Instant::now(), key));
    }

    /// Makes the next call look it up.
    pub(super) fn forget(&self, secret: &str) {
        self.entries().remove(&digest(secret));
    }

    /// Makes the next call look up the key of this API client, whatever its secret was.
    pub(super) fn forget_owner(&self, owner: &str) {
        self.entries().retain(|_, (_, key)| key.owner_id != owner);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Digest, (Instant, ApiKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(secret: &str) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    let mut bytes = Digest::default();
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    bytes
}
