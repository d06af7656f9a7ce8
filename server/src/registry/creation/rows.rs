//! What a batch writes.

use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{ActiveValue, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde_json::json;
use uuid::Uuid;

use super::facts::{Series, counter_row};
use crate::random;
use crate::registry::accounts::ANONYMOUS;
use crate::registry::clients::moved;
use crate::registry::devices::dbid_place;
use crate::registry::entity::{api_key, device, event, forward, serial_counter};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::events::event_row;
use crate::registry::folded;
use crate::registry::model::{
    AccountId, DeviceId, Forward, ForwardId, NewDevice, NewEvent, PublicKey, Timestamp, Wanted,
};
use crate::registry::store::Store;
use moorline_protocol::Secret;
use moorline_protocol::operator::DeviceState;

/// Connections a minute and visitor on the ports of a new device (provisioning contract section 4.1).
const CONNECTIONS_PER_MINUTE: i32 = 10;

/// A device to be made.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) id: Uuid,
    pub(super) account: i64,
    pub(super) name: String,
    /// Region, and node of the first forward.
    pub(super) node: String,
    pub(super) public_port: u16,
    pub(super) device_port: u16,
    pub(super) public_key: Option<PublicKey>,
    pub(super) username: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) hardware: Option<String>,
    pub(super) api_key_id: String,
}

impl Fresh {
    /// Takes over what a second call with the same key says of the device.
    pub(super) fn refresh(&mut self, new: &NewDevice) {
        self.hostname = new.hostname.clone().or_else(|| self.hostname.take());
        self.hardware = new.hardware.clone().or_else(|| self.hardware.take());
    }

    fn row(&self, store: &Store, now: Timestamp) -> Result<device::ActiveModel, RegistryError> {
        let key = self.public_key.as_ref();
        let account = AccountId(self.account);
        Ok(device::ActiveModel {
            public_key: ActiveValue::Set(key.map(|key| key.canonical.clone())),
            public_key_comment: ActiveValue::Set(key.map(|key| key.comment.clone())),
            public_key_fingerprint: ActiveValue::Set(key.map(|key| key.fingerprint.clone())),
            username: ActiveValue::Set(self.username.clone()),
            hostname: ActiveValue::Set(self.hostname.clone()),
            hardware: ActiveValue::Set(self.hardware.clone()),
            ..device_row(store, self.id, account, &self.name, &self.node, now)?
        })
    }

    fn event(&self, now: Timestamp) -> event::ActiveModel {
        let created = NewEvent {
            account: Some(AccountId(self.account)),
            device: Some(DeviceId(self.id)),
            user: None,
            host: None,
            task: None,
            level: "info",
            kind: "device.created",
            message: format!("device {} made", self.name),
            metadata: json!({"api_key": self.api_key_id, "region": self.node, "port": self.public_port}),
        };
        event_row(created, now)
    }
}

/// The row of a new device without a key, as every new device has it.
pub(in crate::registry) fn device_row(
    store: &Store,
    id: Uuid,
    account: AccountId,
    name: &str,
    region: &str,
    now: Timestamp,
) -> Result<device::ActiveModel, RegistryError> {
    let place = dbid_place(DeviceId(id));
    let dbid = store.keys.seal(&place, random::dbid().as_bytes());
    Ok(device::ActiveModel {
        number: ActiveValue::NotSet,
        id: ActiveValue::Set(id),
        account_id: ActiveValue::Set(account.0),
        name: ActiveValue::Set(name.to_owned()),
        name_folded: ActiveValue::Set(folded(name)),
        state: ActiveValue::Set(DeviceState::Active.as_str().to_owned()),
        wanted: ActiveValue::Set(Wanted::Open.as_str().to_owned()),
        allow_clientless: ActiveValue::Set(false),
        public_key: ActiveValue::Set(None),
        public_key_comment: ActiveValue::Set(None),
        public_key_fingerprint: ActiveValue::Set(None),
        dbid: ActiveValue::Set(dbid.map_err(|_| RegistryError::Seal {
            attempt: "seal dbid of device",
        })?),
        redirect_token: ActiveValue::Set(random::redirect_token()),
        username: ActiveValue::Set(None),
        hostname: ActiveValue::Set(None),
        hardware: ActiveValue::Set(None),
        region: ActiveValue::Set(region.to_owned()),
        sshd_host_keys: ActiveValue::Set("[]".to_owned()),
        ip_link_protection: ActiveValue::Set(false),
        max_connections_per_minute: ActiveValue::Set(CONNECTIONS_PER_MINUTE),
        recording_required: ActiveValue::NotSet,
        direct_tcpip_allowed: ActiveValue::NotSet,
        created_at: ActiveValue::Set(now.0),
        unique_client_id: ActiveValue::Set(None),
        client_version: ActiveValue::Set(None),
        platform: ActiveValue::Set(None),
    })
}

/// What a device that is there already says of itself.
#[derive(Debug)]
pub(super) struct Refresh {
    number: i64,
    hostname: Option<String>,
    hardware: Option<String>,
}

impl Refresh {
    /// `None` when it says nothing new, which is how it mostly is.
    pub(super) fn of(row: &device::Model, new: &NewDevice) -> Option<Self> {
        let changed = |old: &Option<String>, new: &Option<String>| new.is_some() && new != old;
        (changed(&row.hostname, &new.hostname) || changed(&row.hardware, &new.hardware)).then(
            || Self {
                number: row.number,
                hostname: new.hostname.clone().or_else(|| row.hostname.clone()),
                hardware: new.hardware.clone().or_else(|| row.hardware.clone()),
            },
        )
    }
}

/// Writes devices, their forwards and events. Gives the forwards by device.
pub(super) async fn insert(
    transaction: &DatabaseTransaction,
    store: &Store,
    fresh: &[Fresh],
    now: Timestamp,
) -> Result<HashMap<Uuid, Forward>, RegistryError> {
    let mut made = HashMap::with_capacity(fresh.len());
    let mut rest = fresh;
    while !rest.is_empty() {
        let (part, later) = rest.split_at(largest_power_of_two(rest.len()));
        made.extend(insert_part(transaction, store, part, now).await?);
        rest = later;
    }
    Ok(made)
}

/// Statements of a few lengths only, so that they are found prepared.
const fn largest_power_of_two(length: usize) -> usize {
    if length == 0 { 0 } else { 1 << length.ilog2() }
}

async fn insert_part(
    transaction: &DatabaseTransaction,
    store: &Store,
    fresh: &[Fresh],
    now: Timestamp,
) -> Result<Vec<(Uuid, Forward)>, RegistryError> {
    let numbers = insert_devices(transaction, store, fresh, now).await?;
    let forwards = insert_forwards(transaction, fresh, &numbers, now).await?;
    event::Entity::insert_many(fresh.iter().map(|fresh| fresh.event(now)))
        .exec_without_returning(transaction)
        .await
        .attempt("record events")?;
    Ok(forwards)
}

async fn insert_devices(
    transaction: &DatabaseTransaction,
    store: &Store,
    fresh: &[Fresh],
    now: Timestamp,
) -> Result<HashMap<Uuid, i64>, RegistryError> {
    let rows: Vec<_> = fresh
        .iter()
        .map(|fresh| fresh.row(store, now))
        .collect::<Result<_, _>>()?;
    let mut statement = device::Entity::insert_many(rows).into_query();
    statement.returning(Query::returning().columns([device::Column::Number, device::Column::Id]));
    let rows = transaction
        .query_all(&statement)
        .await
        .attempt("insert devices")?;
    rows.into_iter()
        .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "number")?)))
        .collect::<Result<_, _>>()
        .attempt("read numbers of devices")
}

async fn insert_forwards(
    transaction: &DatabaseTransaction,
    fresh: &[Fresh],
    numbers: &HashMap<Uuid, i64>,
    now: Timestamp,
) -> Result<Vec<(Uuid, Forward)>, RegistryError> {
    let by_number: HashMap<i64, &Fresh> = fresh
        .iter()
        .filter_map(|fresh| Some((*numbers.get(&fresh.id)?, fresh)))
        .collect();
    let rows = by_number.iter().map(|(number, fresh)| {
        let made = (
            *number,
            fresh.node.as_str(),
            fresh.device_port,
            fresh.public_port,
        );
        forward_row(made, now)
    });
    let mut statement = forward::Entity::insert_many(rows).into_query();
    statement.returning(Query::returning().columns([
        forward::Column::Id,
        forward::Column::DeviceNumber,
        forward::Column::LinkToken,
    ]));
    let rows = transaction
        .query_all(&statement)
        .await
        .attempt("insert forwards")?;
    let mut forwards = Vec::with_capacity(rows.len());
    for row in rows {
        let id: i64 = row.try_get("", "id").attempt("read number of forward")?;
        let number: i64 = row
            .try_get("", "device_number")
            .attempt("read device of forward")?;
        if let Some(fresh) = by_number.get(&number) {
            let node = fresh.node.clone();
            let link: Option<String> = row
                .try_get("", "link_token")
                .attempt("read link of forward")?;
            let first = Forward::first(ForwardId(id), node, fresh.device_port, fresh.public_port);
            let forward = Forward {
                link_token: link.map(Secret::new),
                ..first
            };
            forwards.push((fresh.id, forward));
        }
    }
    Ok(forwards)
}

/// Device number, node, device port, public port.
pub(in crate::registry) type NewForward<'a> = (i64, &'a str, u16, u16);

fn forward_row(
    (number, node, device_port, public_port): NewForward<'_>,
    now: Timestamp,
) -> forward::ActiveModel {
    forward::ActiveModel {
        id: ActiveValue::NotSet,
        device_number: ActiveValue::Set(number),
        node: ActiveValue::Set(node.to_owned()),
        device_port: ActiveValue::Set(device_port.into()),
        public_port: ActiveValue::Set(public_port.into()),
        is_first: ActiveValue::Set(true),
        session_token: ActiveValue::Set(None),
        link_token: ActiveValue::Set(Some(random::link_token())),
        http_label: ActiveValue::Set(None),
        created_at: ActiveValue::Set(now.0),
        is_http: ActiveValue::Set(false),
        link_protection: ActiveValue::Set(None),
        killed: ActiveValue::Set(false),
        last_used_at: ActiveValue::Set(None),
    }
}

/// Writes the first forward of a device that has none.
pub(in crate::registry) async fn first_forward(
    transaction: &DatabaseTransaction,
    new: NewForward<'_>,
    now: Timestamp,
) -> Result<Forward, RegistryError> {
    let row = forward::Entity::insert(forward_row(new, now))
        .exec_with_returning(transaction)
        .await
        .attempt("insert forward")?;
    Forward::try_from(row)
}

/// Moves the device of an anonymous key, by number and id, into the account of `new`.
pub(super) async fn adopt(
    transaction: &DatabaseTransaction,
    (number, id): (i64, DeviceId),
    old_name: &str,
    name: &str,
    new: &NewDevice,
) -> Result<(), RegistryError> {
    let mut update = device::Entity::update_many()
        .col_expr(device::Column::AccountId, Expr::value(new.account.0))
        .col_expr(device::Column::Name, Expr::value(name))
        .col_expr(device::Column::NameFolded, Expr::value(folded(name)));
    if let Some(username) = &new.username {
        update = update.col_expr(device::Column::Username, Expr::value(username.as_str()));
    }
    update
        .filter(device::Column::Number.eq(number))
        .exec(transaction)
        .await
        .attempt("adopt device")?;
    moved(
        transaction,
        id,
        (AccountId(ANONYMOUS), old_name),
        (new.account, name),
    )
    .await
}

/// Writes what devices said of themselves.
pub(super) async fn refresh(
    transaction: &DatabaseTransaction,
    refreshes: &[Refresh],
) -> Result<(), RegistryError> {
    for refresh in refreshes {
        device::Entity::update_many()
            .col_expr(
                device::Column::Hostname,
                Expr::value(refresh.hostname.clone()),
            )
            .col_expr(
                device::Column::Hardware,
                Expr::value(refresh.hardware.clone()),
            )
            .filter(device::Column::Number.eq(refresh.number))
            .exec(transaction)
            .await
            .attempt("refresh device")?;
    }
    Ok(())
}

/// Counts down the uses of keys that have such a limit.
pub(super) async fn spend(
    transaction: &DatabaseTransaction,
    spent: &BTreeMap<String, i64>,
) -> Result<(), RegistryError> {
    for (key, devices) in spent {
        api_key::Entity::update_many()
            .col_expr(
                api_key::Column::LimitUses,
                Expr::col(api_key::Column::LimitUses).sub(*devices),
            )
            .filter(api_key::Column::Id.eq(key.as_str()))
            .filter(api_key::Column::LimitUses.is_not_null())
            .exec(transaction)
            .await
            .attempt("count uses of API key")?;
    }
    Ok(())
}

/// Moves counters on.
pub(super) async fn advance(
    transaction: &DatabaseTransaction,
    advanced: &BTreeMap<Series, i64>,
) -> Result<(), RegistryError> {
    if advanced.is_empty() {
        return Ok(());
    }
    let rows = advanced
        .iter()
        .map(|((account, prefix), next)| counter_row(*account, prefix.clone(), *next));
    let replace = OnConflict::columns([
        serial_counter::Column::AccountId,
        serial_counter::Column::Prefix,
    ])
    .update_column(serial_counter::Column::NextNumber)
    .to_owned();
    serial_counter::Entity::insert_many(rows)
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .attempt("count serial numbers")?;
    Ok(())
}
