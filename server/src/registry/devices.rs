//! Finding devices, with their forwards and their last signs of life.

use std::collections::HashMap;

use moorline_protocol::Secret;
use moorline_protocol::operator::DeviceState;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _};
use subtle::ConstantTimeEq as _;

use super::entity::{device, device_presence, forward};
use super::error::{Attempt as _, RegistryError};
use super::model::{
    AccessPolicy, AccountId, Device, DeviceFilter, DeviceId, Forward, ForwardId, ForwardKind,
    PublicKey, Timestamp, Wanted,
};
use super::{Registry, folded, is_storable};

/// Numbers named in one statement; databases limit them.
const NUMBERS_AT_ONCE: usize = 1000;
/// Sorts behind every text that begins with the prefix before it.
const BEHIND_ALL: char = '\u{10FFFF}';

impl Registry {
    /// The device with this id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device(&self, id: DeviceId) -> Result<Option<Device>, RegistryError> {
        self.one_device(Condition::all().add(device::Column::Id.eq(id.0)))
            .await
    }

    /// The device with this number, in whatever account.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_by_number(&self, number: i64) -> Result<Option<Device>, RegistryError> {
        self.one_device(Condition::all().add(device::Column::Number.eq(number)))
            .await
    }

    /// The device of this name, case does not count.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_by_name(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Device>, RegistryError> {
        if !is_storable(name) {
            return Ok(None);
        }
        let named = Condition::all()
            .add(device::Column::AccountId.eq(account.0))
            .add(device::Column::NameFolded.eq(folded(name)));
        self.one_device(named).await
    }

    /// The device with this key, in whatever account.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_by_key(&self, key: &PublicKey) -> Result<Option<Device>, RegistryError> {
        let fingerprint = key.fingerprint.as_str();
        self.one_device(Condition::all().add(device::Column::PublicKeyFingerprint.eq(fingerprint)))
            .await
    }

    /// The device that all four speak of (provisioning contract section 1). `ports_id` may be left out where a call
    /// allows that; 0 stands for a device without forwards.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_by_quadruple(
        &self,
        dbid: &str,
        id: DeviceId,
        ports_id: Option<ForwardId>,
        user_id: AccountId,
    ) -> Result<Option<Device>, RegistryError> {
        let Some(device) = self.device(id).await? else {
            return Ok(None);
        };
        let right = device.dbid.expose().as_bytes().ct_eq(dbid.as_bytes());
        let ports_fit = match ports_id {
            None => true,
            Some(ForwardId(0)) => device.forwards.is_empty(),
            Some(ports) => device.forwards.iter().any(|forward| forward.id == ports),
        };
        let fits = bool::from(right) && ports_fit && device.account == user_id;
        Ok(fits.then_some(device))
    }

    /// The devices of an account that pass `filter`, in the order they were made.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn devices(
        &self,
        account: AccountId,
        filter: DeviceFilter,
    ) -> Result<Vec<Device>, RegistryError> {
        let query = device::Entity::find().filter(passing(account, &filter));
        // SQLite knows an offset behind a limit only.
        let most = filter.limit.unwrap_or(i64::MAX.unsigned_abs());
        let rows = query
            .order_by_asc(device::Column::Number)
            .limit(most)
            .offset(filter.offset)
            .all(&self.store.read)
            .await
            .attempt("list devices")?;
        self.complete(rows).await
    }

    /// How many devices an account has.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_devices(
        &self,
        account: AccountId,
        prefix: Option<&str>,
    ) -> Result<u64, RegistryError> {
        device::Entity::find()
            .filter(of_account(account, prefix))
            .count(&self.store.read)
            .await
            .attempt("count devices")
    }

    /// How many devices of an account pass `filter`, its limit and offset apart.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_filtered_devices(
        &self,
        account: AccountId,
        filter: &DeviceFilter,
    ) -> Result<u64, RegistryError> {
        device::Entity::find()
            .filter(passing(account, filter))
            .count(&self.store.read)
            .await
            .attempt("count devices")
    }

    /// The devices with these numbers.
    pub(super) async fn devices_by_number(
        &self,
        numbers: &[i64],
    ) -> Result<Vec<Device>, RegistryError> {
        let mut rows = Vec::with_capacity(numbers.len());
        for part in numbers.chunks(NUMBERS_AT_ONCE) {
            let found = device::Entity::find()
                .filter(device::Column::Number.is_in(part.iter().copied()))
                .all(&self.store.read)
                .await
                .attempt("read devices")?;
            rows.extend(found);
        }
        self.complete(rows).await
    }

    pub(super) async fn one_device(
        &self,
        which: Condition,
    ) -> Result<Option<Device>, RegistryError> {
        let row = device::Entity::find()
            .filter(which)
            .one(&self.store.read)
            .await
            .attempt("read device")?;
        Ok(self.complete(row.into_iter().collect()).await?.pop())
    }

    /// Adds what other tables hold of these devices.
    async fn complete(&self, rows: Vec<device::Model>) -> Result<Vec<Device>, RegistryError> {
        let mut devices = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter();
        loop {
            let part: Vec<_> = rows.by_ref().take(NUMBERS_AT_ONCE).collect();
            if part.is_empty() {
                return Ok(devices);
            }
            let numbers: Vec<i64> = part.iter().map(|row| row.number).collect();
            let mut forwards = self.forwards_of(&numbers).await?;
            let mut presence = self.presence_of(numbers).await?;
            for row in part {
                let number = row.number;
                let forwards = forwards.remove(&number).unwrap_or_default();
                devices.push(self.assemble(row, forwards, presence.remove(&number))?);
            }
        }
    }

    async fn forwards_of(
        &self,
        devices: &[i64],
    ) -> Result<HashMap<i64, Vec<Forward>>, RegistryError> {
        let rows = forward::Entity::find()
            .filter(forward::Column::DeviceNumber.is_in(devices.iter().copied()))
            .order_by_desc(forward::Column::IsFirst)
            .order_by_asc(forward::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("read forwards")?;
        let mut of_device: HashMap<i64, Vec<Forward>> = HashMap::new();
        for row in rows {
            of_device
                .entry(row.device_number)
                .or_default()
                .push(Forward::try_from(row)?);
        }
        Ok(of_device)
    }

    async fn presence_of(
        &self,
        devices: Vec<i64>,
    ) -> Result<HashMap<i64, device_presence::Model>, RegistryError> {
        let rows = device_presence::Entity::find()
            .filter(device_presence::Column::DeviceNumber.is_in(devices))
            .all(&self.store.read)
            .await
            .attempt("read presence of devices")?;
        Ok(rows
            .into_iter()
            .map(|row| (row.device_number, row))
            .collect())
    }

    fn assemble(
        &self,
        row: device::Model,
        forwards: Vec<Forward>,
        presence: Option<device_presence::Model>,
    ) -> Result<Device, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        let id = DeviceId(row.id);
        let dbid = self
            .store
            .keys
            .open(&dbid_place(id), &row.dbid)
            .map_err(|_| RegistryError::Seal {
                attempt: "open dbid of device",
            })?;
        let presence = presence.unwrap_or(device_presence::Model {
            device_number: row.number,
            last_seen_at: None,
            last_end: None,
            last_end_at: None,
            last_up_at: None,
            bytes: 0,
            bytes_since: None,
        });
        Ok(Device {
            number: row.number,
            id,
            account: AccountId(row.account_id),
            name: row.name,
            state: DeviceState::parse(&row.state).ok_or_else(|| damaged("devices.state"))?,
            wanted: Wanted::parse(&row.wanted).ok_or_else(|| damaged("devices.wanted"))?,
            allow_clientless: row.allow_clientless,
            public_key: match (row.public_key, row.public_key_fingerprint) {
                (Some(canonical), Some(fingerprint)) => Some(PublicKey {
                    canonical,
                    comment: row.public_key_comment.unwrap_or_default(),
                    fingerprint,
                }),
                _ => None,
            },
            dbid: Secret::new(
                String::from_utf8(dbid.into_exposed()).map_err(|_| damaged("devices.dbid"))?,
            ),
            username: row.username,
            hostname: row.hostname,
            hardware: row.hardware,
            region: row.region,
            sshd_host_keys: serde_json::from_str(&row.sshd_host_keys)
                .map_err(|_| damaged("devices.sshd_host_keys"))?,
            ip_link_protection: row.ip_link_protection,
            max_connections_per_minute: u32::try_from(row.max_connections_per_minute)
                .map_err(|_| damaged("devices.max_connections_per_minute"))?,
            created_at: Timestamp(row.created_at),
            last_seen_at: presence.last_seen_at.map(Timestamp),
            last_end: presence.last_end,
            last_up_at: presence.last_up_at.map(Timestamp),
            bytes: presence.bytes.unsigned_abs(),
            bytes_since: presence.bytes_since.map(Timestamp),
            redirect_token: row.redirect_token,
            policy: AccessPolicy {
                recording_required: row.recording_required,
                direct_tcpip_allowed: row.direct_tcpip_allowed,
            },
            forwards,
        })
    }
}

fn passing(account: AccountId, filter: &DeviceFilter) -> Condition {
    let condition = of_account(account, filter.prefix.as_deref());
    match &filter.ids {
        Some(ids) => condition.add(device::Column::Id.is_in(ids.iter().map(|id| id.0))),
        None => condition,
    }
}

fn of_account(account: AccountId, prefix: Option<&str>) -> Condition {
    let condition = Condition::all().add(device::Column::AccountId.eq(account.0));
    match prefix {
        Some(prefix) if !prefix.is_empty() => condition
            .add(device::Column::Name.gte(prefix))
            .add(device::Column::Name.lt(format!("{prefix}{BEHIND_ALL}"))),
        _ => condition,
    }
}

/// Where the `dbid` of devices are sealed into, before the id.
pub(super) const DBID_SEALED_AT: &str = "devices.dbid";

/// Where a `dbid` is sealed into: it opens for its own device alone.
pub(super) fn dbid_place(id: DeviceId) -> String {
    format!("{DBID_SEALED_AT} {id}")
}

impl TryFrom<forward::Model> for Forward {
    type Error = RegistryError;

    fn try_from(row: forward::Model) -> Result<Self, RegistryError> {
        let port = |number: i32| {
            u16::try_from(number).map_err(|_| RegistryError::Damaged {
                column: "forwards.port",
            })
        };
        Ok(Self {
            id: ForwardId(row.id),
            device_port: port(row.device_port)?,
            public_port: port(row.public_port)?,
            node: row.node,
            first: row.is_first,
            kind: if row.is_http {
                ForwardKind::Http
            } else {
                ForwardKind::Tcp
            },
            session_token: row.session_token.map(Secret::new),
            link_token: row.link_token.map(Secret::new),
            http_label: row.http_label,
            link_protection: row.link_protection,
            killed: row.killed,
        })
    }
}
