//! API keys as every surface meets them: found by their secret, judged, counted (`contract/README.md`, rules that hold
//! on every surface).
//!
//! Nothing here knows what an answer looks like: each surface turns what it is told into its own documented shape.

use moorline_protocol::scope::Scope;

use super::{Api, Peer};
use crate::rate_limit::{Exceeded, address_key};
use crate::registry::error::RegistryError;
use crate::registry::model::{Account, AccountId, ApiKey, DeviceId, KeyContext, Timestamp};

/// Calls a minute and source address with wrong credentials, all surfaces together.
const REFUSED_CALLS_PER_MINUTE: u32 = 60;

impl Api {
    /// The key with this secret, if it has not run out. Scope, rate and account are judged apart, since every surface
    /// has its own order of checks.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn live_key(&self, secret: &str) -> Result<Option<ApiKey>, RegistryError> {
        let key = self.registry().api_key_by_secret(secret).await?;
        Ok(key.filter(is_live))
    }

    /// As [`Self::live_key`], but what it tells may be [a moment](super::key_cache::LIFETIME) old: for calls whose
    /// changes the registry checks against the key as it stands, in the same transaction.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn recent_key(&self, secret: &str) -> Result<Option<ApiKey>, RegistryError> {
        if let Some(key) = self.0.recent_keys.get(secret)
            && is_live(&key)
        {
            return Ok(Some(key));
        }
        let key = self.live_key(secret).await?;
        if let Some(key) = &key {
            self.0.recent_keys.put(secret, key.clone());
        }
        Ok(key)
    }

    /// Makes [`Self::recent_key`] look up `secret` again.
    pub(super) fn forget_secret(&self, secret: &str) {
        self.0.recent_keys.forget(secret);
    }

    /// Makes [`Self::recent_key`] look up the key of this API client again: whoever changes, regenerates or removes a
    /// key says so here, and the next call knows.
    pub(super) fn forget_key_of(&self, owner: &str) {
        self.0.recent_keys.forget_owner(owner);
    }

    /// Takes one call from the budget of `key`, which all surfaces share.
    ///
    /// # Errors
    /// [`Exceeded`] when it is used up.
    pub(super) fn count_key(&self, key: &ApiKey) -> Result<(), Exceeded> {
        match u32::try_from(key.rate_limit) {
            Ok(per_minute) => self.0.key_calls.take(&key.id, per_minute),
            // -1 is no limit.
            Err(_) => Ok(()),
        }
    }

    /// Counts a call with wrong credentials against the address it came from.
    ///
    /// # Errors
    /// [`Exceeded`] when there were too many; then the answer is that, not what was wrong.
    pub(super) fn count_refused(&self, peer: Peer) -> Result<(), Exceeded> {
        let address = address_key(peer.0.ip());
        let refused = &self.0.refused_calls;
        refused.take(&address, REFUSED_CALLS_PER_MINUTE)
    }

    /// The account, unless it is suspended: then every surface refuses, each with its own words.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn active_account(
        &self,
        account: AccountId,
    ) -> Result<Option<Account>, RegistryError> {
        let account = self.registry().account(account).await?;
        Ok(account.filter(|account| !account.suspended))
    }
}

/// Whether `key` has not run out.
pub(super) fn is_live(key: &ApiKey) -> bool {
    let now = Timestamp::now();
    key.limits.expires_at.is_none_or(|expiry| now < expiry)
}

/// Whether `key` holds `scope`.
pub(super) fn has_scope(key: &ApiKey, scope: Scope) -> bool {
    key.scope.iter().any(|held| held == scope.as_str())
}

/// Whether the context of `key` has the device in it. That device and key are of one account is asked apart.
pub(super) fn reaches(key: &ApiKey, device: DeviceId) -> bool {
    match &key.context {
        KeyContext::Account => true,
        KeyContext::Devices(ids) => ids.contains(&device),
        KeyContext::Apps(_) => false,
    }
}
