//! Devices of Openport clients: made when a client is first seen, registered to an account later (openport contract
//! sections 4, 5 and 7).

mod names;

use moorline_protocol::operator::DeviceState;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, Condition};
use sea_orm::{DatabaseTransaction, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use serde_json::json;
use uuid::Uuid;

use super::Registry;
use super::devices::dbid_place;
use super::entity::{account, device, event};
use super::error::{Attempt as _, ClientError, RegistryError};
use super::events::event_row;
use super::folded;
use super::host_orders::unassign;
use super::model::{AccountId, Device, DeviceId, NewEvent, PublicKey, Timestamp, Wanted};
use super::sessions::placing::{self, Preference};
use crate::random;

/// Connections a minute and visitor on the ports of a new device (openport contract section 9).
const CONNECTIONS_PER_MINUTE: i32 = 10;
/// How often it is tried when another process took the name or the key meanwhile.
const TRIES: usize = 4;

/// By what a client is known again.
#[derive(Clone, Debug)]
pub enum ClientIdentity {
    /// Its key.
    Key(PublicKey),
    /// An id of its own beside the key binding token of its account: a small device without SSH.
    Id(String),
}

/// A client that was never seen before.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Whose; the anonymous account for a key that nobody registered.
    pub account: AccountId,
    /// By what it is known again.
    pub identity: ClientIdentity,
    /// Name it shall have; `None` is `key<number>`. One that is taken gets `-2`, `-3` and so on.
    pub name: Option<String>,
    /// Public DNS name or name of the node that it asks for.
    pub server: Option<String>,
}

/// What registering a key came to.
#[derive(Clone, Debug)]
pub struct Linked {
    /// Its device.
    pub device: DeviceId,
    /// The account it was in before, if that was another one.
    pub from: Option<AccountId>,
}

impl Registry {
    /// The device of that account that calls itself so.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_by_client_id(
        &self,
        account: AccountId,
        id: &str,
    ) -> Result<Option<Device>, RegistryError> {
        let called = Condition::all()
            .add(device::Column::AccountId.eq(account.0))
            .add(device::Column::UniqueClientId.eq(id));
        self.one_device(called).await
    }

    /// Makes the device of a client, or gives the one that was made meanwhile.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn make_client(&self, new: NewClient) -> Result<Device, ClientError> {
        let mut tries = 1;
        loop {
            match self.try_make_client(&new).await {
                Ok(id) => {
                    if let Some(device) = self.device(id).await? {
                        return Ok(device);
                    }
                }
                Err(ClientError::Registry(error)) if error.is_about_rows() => {
                    if let Some(device) = self.client(&new).await? {
                        return Ok(device);
                    }
                    if tries == TRIES {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error),
            }
            tries += 1;
        }
    }

    async fn client(&self, new: &NewClient) -> Result<Option<Device>, RegistryError> {
        match &new.identity {
            ClientIdentity::Key(key) => self.device_by_key(key).await,
            ClientIdentity::Id(id) => self.device_by_client_id(new.account, id).await,
        }
    }

    async fn try_make_client(&self, new: &NewClient) -> Result<DeviceId, ClientError> {
        let transaction = self.store.begin().await?;
        let made = self.insert_client(&transaction, new).await?;
        transaction.commit().await.attempt("make device")?;
        Ok(made)
    }

    async fn insert_client(
        &self,
        transaction: &DatabaseTransaction,
        new: &NewClient,
    ) -> Result<DeviceId, ClientError> {
        let region = region(transaction, new).await?;
        let id = DeviceId(Uuid::new_v4());
        // A name of its own until the number is known.
        let row = self.client_row(id, new, &id.to_string(), region)?;
        let row = row.insert(transaction).await.attempt("insert device")?;
        let wanted = match &new.name {
            Some(name) => name.clone(),
            None => format!("key{}", row.number),
        };
        let name = names::free(transaction, new.account, &wanted, row.number).await?;
        rename(transaction, row.number, &name).await?;
        let created = NewEvent {
            account: Some(new.account),
            device: Some(id),
            user: None,
            host: None,
            task: None,
            level: "info",
            kind: "device.created",
            message: format!("device {name} made by its client"),
            metadata: json!({"name": name}),
        };
        record(transaction, created).await?;
        Ok(id)
    }

    fn client_row(
        &self,
        id: DeviceId,
        new: &NewClient,
        name: &str,
        region: String,
    ) -> Result<device::ActiveModel, RegistryError> {
        let (key, client_id) = match &new.identity {
            ClientIdentity::Key(key) => (Some(key), None),
            ClientIdentity::Id(id) => (None, Some(id.clone())),
        };
        Ok(device::ActiveModel {
            number: ActiveValue::NotSet,
            id: ActiveValue::Set(id.0),
            account_id: ActiveValue::Set(new.account.0),
            name: ActiveValue::Set(name.to_owned()),
            name_folded: ActiveValue::Set(folded(name)),
            state: ActiveValue::Set(DeviceState::Active.as_str().to_owned()),
            wanted: ActiveValue::Set(Wanted::Open.as_str().to_owned()),
            allow_clientless: ActiveValue::Set(false),
            public_key: ActiveValue::Set(key.map(|key| key.canonical.clone())),
            public_key_comment: ActiveValue::Set(key.map(|key| key.comment.clone())),
            public_key_fingerprint: ActiveValue::Set(key.map(|key| key.fingerprint.clone())),
            dbid: ActiveValue::Set(self.fresh_dbid(id)?),
            redirect_token: ActiveValue::Set(random::redirect_token()),
            username: ActiveValue::Set(None),
            hostname: ActiveValue::Set(None),
            hardware: ActiveValue::Set(None),
            region: ActiveValue::Set(region),
            sshd_host_keys: ActiveValue::Set("[]".to_owned()),
            ip_link_protection: ActiveValue::Set(true),
            max_connections_per_minute: ActiveValue::Set(CONNECTIONS_PER_MINUTE),
            created_at: ActiveValue::Set(Timestamp::now().0),
            unique_client_id: ActiveValue::Set(client_id),
            client_version: ActiveValue::Set(None),
            platform: ActiveValue::Set(None),
            recording_required: ActiveValue::NotSet,
            direct_tcpip_allowed: ActiveValue::NotSet,
        })
    }

    fn fresh_dbid(&self, id: DeviceId) -> Result<Vec<u8>, RegistryError> {
        let sealed = self
            .store
            .keys
            .seal(&dbid_place(id), random::dbid().as_bytes());
        sealed.map_err(|_| RegistryError::Seal {
            attempt: "seal dbid of device",
        })
    }

    /// Registers a key to an account. A device that has it already moves there and keeps its id, ports and links; its
    /// `dbid` is made anew, since holders of keys of the former account may know it, and the host that it was there is
    /// no more. `name` as in [`NewClient`], but
    /// `None` keeps the present name, and for a new key takes its comment.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn link_key(
        &self,
        account: AccountId,
        key: PublicKey,
        name: Option<String>,
    ) -> Result<Linked, ClientError> {
        let mut tries = 1;
        loop {
            match self.try_link(account, &key, name.as_deref()).await {
                Err(ClientError::Registry(error)) if error.is_about_rows() && tries < TRIES => {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn try_link(
        &self,
        account: AccountId,
        key: &PublicKey,
        name: Option<&str>,
    ) -> Result<Linked, ClientError> {
        let transaction = self.store.begin().await?;
        let found = device::Entity::find()
            .filter(device::Column::PublicKeyFingerprint.eq(key.fingerprint.as_str()))
            .lock_exclusive()
            .one(&transaction)
            .await
            .attempt("find device by key")?;
        let linked = match found {
            None => {
                let comment = || names::cleaned(&key.comment);
                let new = NewClient {
                    account,
                    identity: ClientIdentity::Key(key.clone()),
                    name: name.map(str::to_owned).or_else(comment),
                    server: None,
                };
                let device = self.insert_client(&transaction, &new).await?;
                Linked { device, from: None }
            }
            Some(row) if row.account_id == account.0 => {
                if let Some(name) = name.filter(|name| *name != row.name) {
                    let name = names::free(&transaction, account, name, row.number).await?;
                    rename(&transaction, row.number, &name).await?;
                }
                let device = DeviceId(row.id);
                Linked { device, from: None }
            }
            Some(row) => self.move_device(&transaction, row, account, name).await?,
        };
        transaction.commit().await.attempt("register key")?;
        Ok(linked)
    }

    async fn move_device(
        &self,
        transaction: &DatabaseTransaction,
        row: device::Model,
        to: AccountId,
        name: Option<&str>,
    ) -> Result<Linked, RegistryError> {
        let id = DeviceId(row.id);
        let wanted = name.unwrap_or(&row.name);
        let name = names::free(transaction, to, wanted, row.number).await?;
        device::Entity::update_many()
            .col_expr(device::Column::AccountId, Expr::value(to.0))
            .col_expr(device::Column::Name, Expr::value(name.as_str()))
            .col_expr(device::Column::NameFolded, Expr::value(folded(&name)))
            .col_expr(device::Column::Dbid, Expr::value(self.fresh_dbid(id)?))
            .col_expr(
                device::Column::UniqueClientId,
                Expr::value(Option::<String>::None),
            )
            .filter(device::Column::Number.eq(row.number))
            .exec(transaction)
            .await
            .attempt("move device")?;
        let from = AccountId(row.account_id);
        moved(transaction, id, (from, &row.name), (to, &name)).await?;
        let from = Some(from);
        Ok(Linked { device: id, from })
    }
}

/// Tells both accounts that a device moved, each by the name that it has there. It is nobody's host any more.
pub(super) async fn moved(
    transaction: &DatabaseTransaction,
    device: DeviceId,
    (from, old_name): (AccountId, &str),
    (to, name): (AccountId, &str),
) -> Result<(), RegistryError> {
    // Whoever had it as a host must not reach it any more.
    unassign(transaction, device).await?;
    let event = |account, kind, message, name: &str| NewEvent {
        account: Some(account),
        device: Some(device),
        user: None,
        host: None,
        task: None,
        level: "info",
        kind,
        message,
        metadata: json!({"name": name}),
    };
    let left = format!("key of {old_name} was registered to another account");
    record(transaction, event(from, "device.unlinked", left, old_name)).await?;
    let came = format!("key of {name} was registered");
    record(transaction, event(to, "device.linked", came, name)).await
}

async fn record(transaction: &DatabaseTransaction, new: NewEvent) -> Result<(), RegistryError> {
    event::Entity::insert(event_row(new, Timestamp::now()))
        .exec_without_returning(transaction)
        .await
        .attempt("record event")?;
    Ok(())
}

async fn rename(
    transaction: &DatabaseTransaction,
    number: i64,
    name: &str,
) -> Result<(), RegistryError> {
    device::Entity::update_many()
        .col_expr(device::Column::Name, Expr::value(name))
        .col_expr(device::Column::NameFolded, Expr::value(folded(name)))
        .filter(device::Column::Number.eq(number))
        .exec(transaction)
        .await
        .attempt("name device")?;
    Ok(())
}

/// The node it asks for, its account's default region, else the one with most free ports.
async fn region(transaction: &DatabaseTransaction, new: &NewClient) -> Result<String, ClientError> {
    let account = account::Entity::find_by_id(new.account.0)
        .one(transaction)
        .await
        .attempt("read account")?;
    let home = account.and_then(|account| account.default_region);
    let nodes = placing::nodes(transaction).await?;
    let in_use = placing::ports_in_use(transaction).await?;
    let wanted = Preference {
        server: new.server.as_deref(),
        region: home.as_deref(),
    };
    let first = placing::order(nodes, &in_use, wanted).into_iter().next();
    first.map(|node| node.name).ok_or(ClientError::NoServer)
}
