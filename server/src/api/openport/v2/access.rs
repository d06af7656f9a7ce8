//! The token: whose key it is, what it may do and what it sees (openport contract sections 1 and 2).

use moorline_protocol::scope::Scope;

use super::answer::Failure;
use crate::api::keys::{has_scope, reaches};
use crate::api::{Api, Peer};
use crate::registry::model::{AccountId, ApiKey, Device, DeviceId, KeyContext};

/// Who calls: an API key that is good, with the scope that its call needs, of an account in service.
pub(super) struct Caller(pub(super) ApiKey);

impl Api {
    /// The key that the query names; its call is counted. A wrong token counts against the source address.
    pub(super) async fn key_of_token(
        &self,
        peer: Peer,
        query: &[(String, String)],
    ) -> Result<ApiKey, Failure> {
        let token = query.iter().rev().find(|(name, _)| name == "token");
        let token = token.map(|(_, token)| token.as_str()).unwrap_or_default();
        if token.is_empty() {
            return Err(Failure::NoToken);
        }
        let Some(key) = self.live_key(token).await? else {
            self.count_refused(peer)?;
            return Err(Failure::InvalidToken);
        };
        self.count_key(&key)?;
        Ok(key)
    }

    /// Checks scope and account.
    pub(super) async fn caller(&self, key: ApiKey, scope: Scope) -> Result<Caller, Failure> {
        if !has_scope(&key, scope) {
            return Err(Failure::NotPermitted);
        }
        match self.active_account(key.account).await? {
            Some(_) => Ok(Caller(key)),
            None => Err(Failure::AccountInactive),
        }
    }

    /// The device with this number, if the caller may see it: another account's answers as one that does not exist.
    pub(super) async fn device_of_caller(
        &self,
        caller: &Caller,
        number: i64,
    ) -> Result<Device, Failure> {
        let Caller(key) = caller;
        let device = self.registry().device_by_number(number).await?;
        device
            .filter(|device| device.account == key.account && reaches(key, device.id))
            .ok_or(Failure::NotFound)
    }
}

impl Caller {
    pub(super) const fn account(&self) -> AccountId {
        self.0.account
    }

    /// The devices that it sees; `None` is all of the account.
    pub(super) fn devices(&self) -> Option<&[DeviceId]> {
        match &self.0.context {
            KeyContext::Account => None,
            KeyContext::Devices(ids) => Some(ids),
            KeyContext::Apps(_) => Some(&[]),
        }
    }

    /// A key that sees only certain devices cannot make others.
    pub(super) fn may_make_devices(&self) -> Result<(), Failure> {
        if self.0.context == KeyContext::Account {
            Ok(())
        } else {
            Err(Failure::NotPermitted)
        }
    }
}
