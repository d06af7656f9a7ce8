//! Forwards that an operator adds to a device and takes away again, beside its first one.

use std::time::Instant;

use sea_orm::{ActiveValue, ColumnTrait as _, DatabaseTransaction, EntityTrait as _};
use sea_orm::{QueryFilter as _, QuerySelect as _};

use super::Registry;
use super::device_changes::Meant;
use super::entity::{device, forward, node};
use super::error::{AddForwardError, Attempt as _, RegistryError};
use super::model::{Forward, ForwardId, ForwardKind, Node, NodeStatus, Timestamp};
use crate::random;

/// Forwards of one device, those of its Openport clients included (openport contract section 5).
pub const MAX_FORWARDS: usize = 50;
/// How often it is tried when another process took the port or the label meanwhile.
const TRIES: usize = 4;

impl Registry {
    /// The forward of a device to its port `device_port` that its agent holds; makes one on the device's node if
    /// there is none, and then says so with `true`. Forwards of Openport clients are theirs and do not count.
    ///
    /// # Errors
    /// [`AddForwardError`].
    pub async fn add_forward(
        &self,
        device: impl Into<Meant>,
        device_port: u16,
        kind: ForwardKind,
    ) -> Result<(Forward, bool), AddForwardError> {
        let device = device.into();
        let mut tries = 1;
        loop {
            match self.find_or_make(device, device_port, kind).await {
                Err(AddForwardError::Registry(error)) if error.is_about_rows() && tries < TRIES => {
                    self.store.with_ports(|ports| ports.forget());
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Takes a forward away; its port and its name are free again. False when the device has no such forward, or it
    /// is the one that it was made with.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn remove_forward(
        &self,
        device: impl Into<Meant>,
        forward: ForwardId,
    ) -> Result<bool, RegistryError> {
        const ATTEMPT: &str = "delete forward";
        let transaction = self.store.begin().await?;
        let Some(device) = locked(&transaction, device.into()).await? else {
            return Ok(false);
        };
        let found = forward::Entity::find_by_id(forward.0)
            .filter(forward::Column::DeviceNumber.eq(device.number))
            .filter(forward::Column::IsFirst.eq(false))
            .one(&transaction)
            .await
            .attempt(ATTEMPT)?;
        let Some(found) = found else {
            return Ok(false);
        };
        forward::Entity::delete_by_id(found.id)
            .exec(&transaction)
            .await
            .attempt(ATTEMPT)?;
        transaction.commit().await.attempt(ATTEMPT)?;
        if let Ok(port) = u16::try_from(found.public_port) {
            self.store
                .with_ports(|ports| ports.release([(found.node.as_str(), port)]));
        }
        Ok(true)
    }

    async fn find_or_make(
        &self,
        device: Meant,
        device_port: u16,
        kind: ForwardKind,
    ) -> Result<(Forward, bool), AddForwardError> {
        let transaction = self.store.begin().await?;
        let device = locked(&transaction, device)
            .await?
            .ok_or(AddForwardError::UnknownDevice)?;
        let forwards = forward::Entity::find()
            .filter(forward::Column::DeviceNumber.eq(device.number))
            .all(&transaction)
            .await
            .attempt("read forwards")?;
        let forwards: Vec<Forward> = forwards
            .into_iter()
            .map(Forward::try_from)
            .collect::<Result<_, _>>()?;
        let there = |forward: &&Forward| {
            forward.device_port == device_port && forward.kind == kind && forward.is_for_agent()
        };
        if let Some(found) = forwards.iter().find(there) {
            return Ok((found.clone(), false));
        }
        if forwards.len() >= MAX_FORWARDS {
            return Err(AddForwardError::TooMany);
        }
        let node = node_of(&transaction, &device).await?;
        let port = self
            .store
            .take_port(&transaction, &node, Instant::now())
            .await?
            .ok_or(AddForwardError::NodeUnavailable)?;
        let row = row((device.number, node.name.as_str()), device_port, port, kind);
        match insert(transaction, row).await {
            Ok(forward) => Ok((forward, true)),
            Err(error) => {
                self.store
                    .with_ports(|ports| ports.release([(node.name.as_str(), port)]));
                Err(error.into())
            }
        }
    }
}

/// The device, kept from changing until the end of the transaction.
pub(super) async fn locked(
    transaction: &DatabaseTransaction,
    device: Meant,
) -> Result<Option<device::Model>, RegistryError> {
    device::Entity::find()
        .filter(device.condition())
        .lock_exclusive()
        .one(transaction)
        .await
        .attempt("read device")
}

async fn node_of(
    transaction: &DatabaseTransaction,
    device: &device::Model,
) -> Result<Node, AddForwardError> {
    let node = node::Entity::find_by_id(device.region.as_str())
        .one(transaction)
        .await
        .attempt("read node")?
        .ok_or(AddForwardError::NodeUnavailable)?;
    let node = Node::try_from(node)?;
    if node.status == NodeStatus::Active {
        Ok(node)
    } else {
        Err(AddForwardError::NodeUnavailable)
    }
}

async fn insert(
    transaction: DatabaseTransaction,
    row: forward::ActiveModel,
) -> Result<Forward, RegistryError> {
    const ATTEMPT: &str = "insert forward";
    let row = forward::Entity::insert(row)
        .exec_with_returning(&transaction)
        .await
        .attempt(ATTEMPT)?;
    let forward = Forward::try_from(row)?;
    transaction.commit().await.attempt(ATTEMPT)?;
    Ok(forward)
}

fn row(
    (device, node): (i64, &str),
    device_port: u16,
    public_port: u16,
    kind: ForwardKind,
) -> forward::ActiveModel {
    let is_http = kind == ForwardKind::Http;
    forward::ActiveModel {
        id: ActiveValue::NotSet,
        device_number: ActiveValue::Set(device),
        node: ActiveValue::Set(node.to_owned()),
        device_port: ActiveValue::Set(device_port.into()),
        public_port: ActiveValue::Set(public_port.into()),
        is_first: ActiveValue::Set(false),
        session_token: ActiveValue::Set(None),
        link_token: ActiveValue::Set(Some(random::link_token())),
        http_label: ActiveValue::Set(is_http.then(random::http_label)),
        created_at: ActiveValue::Set(Timestamp::now().0),
        is_http: ActiveValue::Set(is_http),
        link_protection: ActiveValue::Set(None),
        killed: ActiveValue::Set(false),
        last_used_at: ActiveValue::Set(None),
    }
}
