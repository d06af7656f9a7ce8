//! Users' hosts: rows and their short ids.

use moorline_protocol::Secret;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{host, short_id};
use super::error::{Attempt as _, HostError, RegistryError};
use super::model::{
    AccessPolicy, AccountId, DeviceId, Host, HostId, HostKind, HostLimits, HostStatus, HostWanted,
    NewHost, Timestamp, UserId,
};
use crate::random;

/// Tries to find a short id that nobody has; of 2 billion hardly any is taken.
pub(super) const SHORT_ID_TRIES: usize = 8;

impl Registry {
    /// Makes a host in status `pending`.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn create_host(&self, new: NewHost) -> Result<Host, HostError> {
        for _ in 0..SHORT_ID_TRIES {
            match self.insert_host(&new, random::host_short_id()).await {
                Err(HostError::ShortIdTaken) => {}
                other => return other,
            }
        }
        Err(HostError::ShortIdTaken)
    }

    async fn insert_host(&self, new: &NewHost, short_id: String) -> Result<Host, HostError> {
        let transaction = self.store.begin().await?;
        let host = insert_host(&transaction, new, short_id).await?;
        transaction.commit().await.attempt("create host")?;
        Ok(host)
    }

    /// The host with this id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn host(&self, id: HostId) -> Result<Option<Host>, RegistryError> {
        host::Entity::find_by_id(id.0)
            .one(&self.store.read)
            .await
            .attempt("read host")?
            .map(Host::try_from)
            .transpose()
    }

    /// How many hosts of an account run.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_running_hosts(&self, account: AccountId) -> Result<u64, RegistryError> {
        host::Entity::find()
            .filter(host::Column::AccountId.eq(account.0))
            .filter(host::Column::Status.eq(HostStatus::Running.as_str()))
            .count(&self.store.read)
            .await
            .attempt("count hosts")
    }

    /// The hosts of a user, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn hosts_of_user(&self, user: UserId) -> Result<Vec<Host>, RegistryError> {
        host::Entity::find()
            .filter(host::Column::UserId.eq(user.0))
            .order_by_asc(host::Column::CreatedAt)
            .order_by_asc(host::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list hosts")?
            .into_iter()
            .map(Host::try_from)
            .collect()
    }
}

/// Writes a host in status `pending` with its short id.
pub(super) async fn insert_host(
    transaction: &DatabaseTransaction,
    new: &NewHost,
    short_id: String,
) -> Result<Host, HostError> {
    let row = new_row(new, short_id.clone(), Timestamp::now());
    let row = match row.insert(transaction).await.attempt("create host") {
        Ok(row) => row,
        Err(error) => {
            return Err(match error.unique_violation() {
                Some(columns) if columns.contains("short_id") => HostError::ShortIdTaken,
                Some(columns) if columns.contains("device_id") => HostError::DeviceAssigned,
                Some(_) => HostError::SlotTaken,
                None => error.into(),
            });
        }
    };
    let owner = ShortIdOwner::Host(HostId(row.id));
    match take_short_id(transaction, short_id, owner).await {
        Ok(()) => Ok(Host::try_from(row)?),
        Err(error) if error.unique_violation().is_some() => Err(HostError::ShortIdTaken),
        Err(error) => Err(error.into()),
    }
}

/// Whom a short id names.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShortIdOwner {
    User(UserId),
    Host(HostId),
}

/// Takes a short id out of the one space of users and hosts; a unique violation when it is taken. It is free again
/// when its owner is deleted.
pub(super) async fn take_short_id(
    transaction: &DatabaseTransaction,
    taken: String,
    owner: ShortIdOwner,
) -> Result<(), RegistryError> {
    let (user, host) = match owner {
        ShortIdOwner::User(user) => (Some(user.0), None),
        ShortIdOwner::Host(host) => (None, Some(host.0)),
    };
    let row = short_id::ActiveModel {
        short_id: ActiveValue::Set(taken),
        user_id: ActiveValue::Set(user),
        host_id: ActiveValue::Set(host),
    };
    short_id::Entity::insert(row)
        .exec_without_returning(transaction)
        .await
        .attempt("take short id")?;
    Ok(())
}

fn new_row(new: &NewHost, short_id: String, now: Timestamp) -> host::ActiveModel {
    let kind = match new.device {
        Some(_) => HostKind::Device,
        None => HostKind::Container,
    };
    let slot_key = new.slot_key.clone();
    let volume = match kind {
        HostKind::Container => format!("moorline-home-{short_id}"),
        HostKind::Device => String::new(),
    };
    host::ActiveModel {
        id: ActiveValue::Set(Uuid::new_v4()),
        account_id: ActiveValue::Set(new.account.0),
        user_id: ActiveValue::Set(new.user.0),
        kind: ActiveValue::Set(kind.as_str().to_owned()),
        device_id: ActiveValue::Set(new.device.map(|device| device.0)),
        status: ActiveValue::Set(HostStatus::Pending.as_str().to_owned()),
        wanted: ActiveValue::Set(HostWanted::Stopped.as_str().to_owned()),
        slot_key: ActiveValue::Set(slot_key.unwrap_or_else(|| format!("device-{short_id}"))),
        short_id: ActiveValue::Set(short_id),
        region: ActiveValue::Set(new.region.clone()),
        timezone: ActiveValue::Set(new.timezone.clone()),
        hostname: ActiveValue::Set(new.hostname.clone()),
        memory_limit_mb: ActiveValue::Set(new.limits.memory_mb),
        cpu_limit: ActiveValue::Set(new.limits.cpus),
        disk_limit_gb: ActiveValue::Set(new.limits.disk_gb),
        home_volume_name: ActiveValue::Set(volume),
        entry_password_hash: ActiveValue::Set(new.entry_password_hash.expose().clone()),
        recording_required: ActiveValue::Set(false),
        direct_tcpip_allowed: ActiveValue::Set(false),
        keys_version: ActiveValue::Set(0),
        created_at: ActiveValue::Set(now.0),
        updated_at: ActiveValue::Set(now.0),
    }
}

impl TryFrom<host::Model> for Host {
    type Error = RegistryError;

    fn try_from(row: host::Model) -> Result<Self, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        Ok(Self {
            id: HostId(row.id),
            account: AccountId(row.account_id),
            user: UserId(row.user_id),
            kind: HostKind::parse(&row.kind).ok_or_else(|| damaged("hosts.kind"))?,
            device: row.device_id.map(DeviceId),
            status: HostStatus::parse(&row.status).ok_or_else(|| damaged("hosts.status"))?,
            wanted: HostWanted::parse(&row.wanted).ok_or_else(|| damaged("hosts.wanted"))?,
            short_id: row.short_id,
            slot_key: row.slot_key,
            region: row.region,
            timezone: row.timezone,
            hostname: row.hostname,
            limits: HostLimits {
                memory_mb: row.memory_limit_mb,
                cpus: row.cpu_limit,
                disk_gb: row.disk_limit_gb,
            },
            home_volume_name: row.home_volume_name,
            entry_password_hash: Secret::new(row.entry_password_hash),
            policy: AccessPolicy {
                recording_required: row.recording_required,
                direct_tcpip_allowed: row.direct_tcpip_allowed,
            },
            keys_version: row.keys_version,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}
