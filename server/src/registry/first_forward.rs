//! The first forward of a device that has none yet.

use std::time::Instant;

use sea_orm::QueryOrder as _;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};

use super::Registry;
use super::creation::first_forward;
use super::device_forwards::locked;
use super::entity::forward;
use super::error::{Attempt as _, ForwardError, RegistryError};
use super::model::{DeviceId, Forward, Timestamp};
use super::nodes::active_node;

/// Where the first forward leads when nobody said: to the device's SSH server.
const DEFAULT_DEVICE_PORT: u16 = 22;
/// How often it is tried when another process took the port meanwhile.
const TRIES: usize = 4;

impl Registry {
    /// The first forward of a device; makes one to port 22 if there is none.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub async fn ensure_first_forward(&self, id: DeviceId) -> Result<Forward, ForwardError> {
        let device = self.device(id).await?.ok_or(ForwardError::UnknownDevice)?;
        if let Some(first) = device.forwards.into_iter().next() {
            return Ok(first);
        }
        let mut tries = 1;
        loop {
            match self.make_first_forward(id).await {
                Err(ForwardError::Registry(error)) if error.is_about_rows() && tries < TRIES => {
                    self.store.with_ports(|ports| ports.forget());
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn make_first_forward(&self, id: DeviceId) -> Result<Forward, ForwardError> {
        let transaction = self.store.begin().await?;
        let device = locked(&transaction, id.into())
            .await?
            .ok_or(ForwardError::UnknownDevice)?;
        if let Some(first) = first_of(&transaction, device.number).await? {
            return Ok(first);
        }
        let node = active_node(&transaction, &device.region).await?;
        let port = self
            .store
            .take_port(&transaction, &node, Instant::now())
            .await?
            .ok_or(ForwardError::NodeUnavailable)?;
        let new = (device.number, node.name.as_str(), DEFAULT_DEVICE_PORT, port);
        let made = first_forward(&transaction, new, Timestamp::now()).await;
        let committed = match made {
            Ok(forward) => transaction
                .commit()
                .await
                .attempt("insert forward")
                .map(|()| forward),
            Err(error) => Err(error),
        };
        if committed.is_err() {
            self.store
                .with_ports(|ports| ports.release([(node.name.as_str(), port)]));
        }
        Ok(committed?)
    }
}

async fn first_of(
    transaction: &DatabaseTransaction,
    device: i64,
) -> Result<Option<Forward>, RegistryError> {
    forward::Entity::find()
        .filter(forward::Column::DeviceNumber.eq(device))
        .order_by_desc(forward::Column::IsFirst)
        .order_by_asc(forward::Column::Id)
        .one(transaction)
        .await
        .attempt("read forwards")?
        .map(Forward::try_from)
        .transpose()
}
