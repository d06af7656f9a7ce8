//! Making a device from its key alone, without a forward (openport contract section 3, `POST keys/`).

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _};
use uuid::Uuid;

use super::creation::device_row;
use super::entity::{account, device, event, forward, node};
use super::error::{Attempt as _, RegisterKeyError, RegistryError};
use super::events::event_row;
use super::model::{
    AccountId, Device, DeviceId, KeyNaming, NewEvent, NewKeyedDevice, Node, NodeStatus, Timestamp,
};
use super::{Registry, folded};

/// How often it is tried when another process took the name meanwhile.
const TRIES: usize = 4;

impl Registry {
    /// Makes a device from its key and writes the event `device.created`. Its region is the account's default, else
    /// the active node with most free ports.
    ///
    /// # Errors
    /// [`RegisterKeyError`]; then nothing was changed.
    pub async fn create_keyed_device(
        &self,
        new: NewKeyedDevice,
    ) -> Result<Device, RegisterKeyError> {
        let mut tries = 1;
        let id = loop {
            match self.try_keyed_device(&new).await {
                Err(RegisterKeyError::NameTaken)
                    if tries < TRIES && !matches!(new.naming, KeyNaming::Given(_)) =>
                {
                    tries += 1;
                }
                other => break other?,
            }
        };
        let device = self.device(id).await?;
        Ok(device.ok_or(RegistryError::Damaged {
            column: "devices.id",
        })?)
    }

    async fn try_keyed_device(&self, new: &NewKeyedDevice) -> Result<DeviceId, RegisterKeyError> {
        let (id, now) = (Uuid::new_v4(), Timestamp::now());
        let transaction = self.store.begin().await?;
        let holders = device::Entity::find()
            .filter(device::Column::PublicKeyFingerprint.eq(new.public_key.fingerprint.as_str()))
            .count(&transaction)
            .await
            .attempt("look up key")?;
        if holders > 0 {
            return Err(RegisterKeyError::KeyTaken);
        }
        let wished = wished_name(&transaction, new).await?;
        // A name that depends on the number can only be given once the number is there.
        let name = wished.clone().unwrap_or_else(|| id.to_string());
        let region = region(&transaction, new.account).await?;
        let row = device::ActiveModel {
            public_key: ActiveValue::Set(Some(new.public_key.canonical.clone())),
            public_key_comment: ActiveValue::Set(Some(new.public_key.comment.clone())),
            public_key_fingerprint: ActiveValue::Set(Some(new.public_key.fingerprint.clone())),
            ip_link_protection: ActiveValue::Set(new.ip_link_protection),
            ..device_row(&self.store, id, new.account, &name, &region, now)?
        };
        let made = row.insert(&transaction).await.attempt("insert device");
        let number = made.map_err(taken)?.number;
        let name = match wished {
            Some(name) => name,
            None => name_by_number(&transaction, new.account, number).await?,
        };
        let created = NewEvent {
            account: Some(new.account),
            device: Some(DeviceId(id)),
            user: None,
            host: None,
            task: None,
            level: "info",
            kind: "device.created",
            message: format!("device {name} made"),
            metadata: new.metadata.clone(),
        };
        event::Entity::insert(event_row(created, now))
            .exec_without_returning(&transaction)
            .await
            .attempt("record event")?;
        transaction.commit().await.attempt("insert device")?;
        Ok(DeviceId(id))
    }
}

/// Which of the two unique things a row was refused for.
fn taken(error: RegistryError) -> RegisterKeyError {
    match error.unique_violation() {
        Some(text) if text.contains("name_folded") => RegisterKeyError::NameTaken,
        Some(text) if text.contains("public_key") => RegisterKeyError::KeyTaken,
        _ => error.into(),
    }
}

/// The name as asked for; `None` when it is to be made from the number.
async fn wished_name(
    transaction: &DatabaseTransaction,
    new: &NewKeyedDevice,
) -> Result<Option<String>, RegisterKeyError> {
    let name = match &new.naming {
        KeyNaming::Given(name) | KeyNaming::Preferred(name) => name,
        KeyNaming::Number => return Ok(None),
    };
    match (is_taken(transaction, new.account, name).await?, &new.naming) {
        (false, _) => Ok(Some(name.clone())),
        (true, KeyNaming::Given(_)) => Err(RegisterKeyError::NameTaken),
        (true, _) => Ok(None),
    }
}

/// Gives the device `key<number>`, and if that is taken `key<number>-2` and so on.
async fn name_by_number(
    transaction: &DatabaseTransaction,
    account: AccountId,
    number: i64,
) -> Result<String, RegisterKeyError> {
    let mut name = format!("key{number}");
    let mut next = 2;
    while is_taken(transaction, account, &name).await? {
        name = format!("key{number}-{next}");
        next += 1;
    }
    device::Entity::update_many()
        .col_expr(device::Column::Name, Expr::value(name.as_str()))
        .col_expr(device::Column::NameFolded, Expr::value(folded(&name)))
        .filter(device::Column::Number.eq(number))
        .exec(transaction)
        .await
        .attempt("name device")
        .map_err(taken)?;
    Ok(name)
}

async fn is_taken(
    transaction: &DatabaseTransaction,
    account: AccountId,
    name: &str,
) -> Result<bool, RegistryError> {
    let holders = device::Entity::find()
        .filter(device::Column::AccountId.eq(account.0))
        .filter(device::Column::NameFolded.eq(folded(name)))
        .count(transaction)
        .await
        .attempt("look up name")?;
    Ok(holders > 0)
}

/// The account's default region, else the active node with most free ports, else any node: the device has no forward
/// yet, and its node may be back when it asks for one.
async fn region(
    transaction: &DatabaseTransaction,
    account: AccountId,
) -> Result<String, RegistryError> {
    let account = account::Entity::find_by_id(account.0)
        .one(transaction)
        .await
        .attempt("read account")?;
    let default = account.and_then(|account| account.default_region);
    let nodes = node::Entity::find()
        .all(transaction)
        .await
        .attempt("read nodes")?;
    let nodes: Vec<Node> = nodes
        .into_iter()
        .map(Node::try_from)
        .collect::<Result<_, _>>()?;
    if let Some(default) = default.filter(|name| nodes.iter().any(|node| node.name == *name)) {
        return Ok(default);
    }
    let used: Vec<(String, i64)> = forward::Entity::find()
        .select_only()
        .column(forward::Column::Node)
        .column_as(forward::Column::Id.count(), "used")
        .group_by(forward::Column::Node)
        .into_tuple()
        .all(transaction)
        .await
        .attempt("count ports in use")?;
    let used: HashMap<String, i64> = used.into_iter().collect();
    let free = |node: &Node| {
        let (first, last) = node.ports;
        i64::from(last) - i64::from(first) - used.get(&node.name).copied().unwrap_or(0)
    };
    nodes
        .into_iter()
        .max_by_key(|node| (node.status == NodeStatus::Active, free(node)))
        .map(|node| node.name)
        .ok_or(RegistryError::Damaged {
            column: "nodes.name",
        })
}
