//! Devices, keys, users, API clients, nodes, events: domain types in and out, the only SQL in the repository.
//!
//! *Invariant:* nothing here knows of HTTP or SSH.

pub mod error;
pub mod model;
mod public_key;
mod timestamp;

use crate::master_key::MasterKey;
use error::{
    AccountError, ApiClientError, CreateDeviceError, ForwardError, RegistryError, RenameError,
    SetKeyError, UserError, UserKeyError,
};
use model::{
    Account, AccountId, ApiKey, CreatedDevice, Device, DeviceFilter, DeviceId, Event, EventFilter,
    Forward, ForwardId, NewApiClient, NewDevice, NewEvent, NewUser, Node, PublicKey, Timestamp,
    User, UserId, UserKey, Wanted,
};
use moorline_protocol::Secret;
use moorline_protocol::operator::DeviceState;
pub use public_key::InvalidKey;
pub use timestamp::InvalidTime;
use uuid::Uuid;

/// Everything that is kept. Clones share one store.
#[derive(Clone, Debug)]
pub struct Registry {}

#[expect(
    missing_docs,
    clippy::todo,
    clippy::unused_async,
    unused_variables,
    reason = "first outline"
)]
impl Registry {
    pub async fn open(url: &str, keys: MasterKey) -> Result<Self, RegistryError> {
        todo!()
    }
    pub async fn ping(&self) -> Result<(), RegistryError> {
        todo!()
    }

    pub async fn first_account(&self) -> Result<Account, RegistryError> {
        todo!()
    }
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, RegistryError> {
        todo!()
    }
    pub async fn account_by_name(&self, name: &str) -> Result<Option<Account>, RegistryError> {
        todo!()
    }
    pub async fn accounts(&self) -> Result<Vec<Account>, RegistryError> {
        todo!()
    }
    pub async fn create_account(&self, name: &str) -> Result<Account, AccountError> {
        todo!()
    }
    pub async fn suspend_account(
        &self,
        id: AccountId,
        suspended: bool,
    ) -> Result<bool, RegistryError> {
        todo!()
    }

    pub async fn any_admin(&self) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn create_user(&self, new: NewUser) -> Result<User, UserError> {
        todo!()
    }
    pub async fn user(&self, id: UserId) -> Result<Option<User>, RegistryError> {
        todo!()
    }
    pub async fn users(&self) -> Result<Vec<User>, RegistryError> {
        todo!()
    }
    pub async fn user_by_login(&self, identifier: &str) -> Result<Option<User>, RegistryError> {
        todo!()
    }
    pub async fn set_password_hash(
        &self,
        id: UserId,
        hash: Secret<String>,
    ) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn user_keys(&self, id: UserId) -> Result<Vec<UserKey>, RegistryError> {
        todo!()
    }
    pub async fn add_user_key(
        &self,
        id: UserId,
        label: &str,
        key: PublicKey,
    ) -> Result<UserKey, UserKeyError> {
        todo!()
    }
    pub async fn remove_user_key(&self, id: UserId, key: Uuid) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn users_by_key(&self, key: &PublicKey) -> Result<Vec<User>, RegistryError> {
        todo!()
    }

    pub async fn create_api_client(
        &self,
        account: AccountId,
        new: NewApiClient,
    ) -> Result<(ApiKey, Secret<String>), ApiClientError> {
        todo!()
    }
    pub async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, RegistryError> {
        todo!()
    }
    pub async fn revoke_api_key(
        &self,
        account: AccountId,
        id_or_name: &str,
    ) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn api_key_by_secret(&self, secret: &str) -> Result<Option<ApiKey>, RegistryError> {
        todo!()
    }

    pub async fn put_node(&self, node: Node) -> Result<(), RegistryError> {
        todo!()
    }
    pub async fn node(&self, name: &str) -> Result<Option<Node>, RegistryError> {
        todo!()
    }
    pub async fn nodes(&self) -> Result<Vec<Node>, RegistryError> {
        todo!()
    }

    /// Writes the event `device.created` too, in the same transaction.
    pub async fn create_device(&self, new: NewDevice) -> Result<CreatedDevice, CreateDeviceError> {
        todo!()
    }
    pub async fn device(&self, id: DeviceId) -> Result<Option<Device>, RegistryError> {
        todo!()
    }
    pub async fn device_by_name(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Device>, RegistryError> {
        todo!()
    }
    pub async fn device_by_key(&self, key: &PublicKey) -> Result<Option<Device>, RegistryError> {
        todo!()
    }
    /// `ports_id` may be left out where a call allows that.
    pub async fn device_by_quadruple(
        &self,
        dbid: &str,
        id: DeviceId,
        ports_id: Option<ForwardId>,
        user_id: AccountId,
    ) -> Result<Option<Device>, RegistryError> {
        todo!()
    }
    pub async fn devices(
        &self,
        account: AccountId,
        filter: DeviceFilter,
    ) -> Result<Vec<Device>, RegistryError> {
        todo!()
    }
    pub async fn count_devices(
        &self,
        account: AccountId,
        prefix: Option<&str>,
    ) -> Result<u64, RegistryError> {
        todo!()
    }
    pub async fn ensure_first_forward(&self, id: DeviceId) -> Result<Forward, ForwardError> {
        todo!()
    }
    pub async fn delete_device(
        &self,
        account: AccountId,
        id: DeviceId,
    ) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn set_wanted(&self, id: DeviceId, wanted: Wanted) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn set_allow_clientless(
        &self,
        id: DeviceId,
        allow: bool,
    ) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn set_state(&self, id: DeviceId, state: DeviceState) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn rename_device(&self, id: DeviceId, name: &str) -> Result<(), RenameError> {
        todo!()
    }
    pub async fn set_device_key(&self, id: DeviceId, key: PublicKey) -> Result<(), SetKeyError> {
        todo!()
    }
    pub async fn refresh_device(
        &self,
        id: DeviceId,
        hostname: Option<String>,
        hardware: Option<String>,
    ) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn set_sshd_host_keys(
        &self,
        id: DeviceId,
        keys: Vec<String>,
    ) -> Result<bool, RegistryError> {
        todo!()
    }
    pub async fn record_seen(&self, seen: Vec<(DeviceId, Timestamp)>) -> Result<(), RegistryError> {
        todo!()
    }
    pub async fn record_end(
        &self,
        id: DeviceId,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), RegistryError> {
        todo!()
    }

    pub async fn record_event(&self, event: NewEvent) -> Result<(), RegistryError> {
        todo!()
    }
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<Event>, RegistryError> {
        todo!()
    }
}
