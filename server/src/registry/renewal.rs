//! New public ports and links for a device that keeps its identity (control contract section 9, `rebuild_host`).

use std::time::Instant;

use sea_orm::QueryOrder as _;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};

use super::Registry;
use super::device_changes::Meant;
use super::device_forwards::locked;
use super::entity::forward;
use super::error::{Attempt as _, ForwardError, RegistryError};
use super::nodes::active_node;
use crate::random;

/// How often it is tried when another process took a port meanwhile.
const TRIES: usize = 4;

/// A public port and the node that has it.
type Place = (String, u16);

impl Registry {
    /// Gives every forward of a device another public port of its node and another link; the numbers of the forwards
    /// stay. The old ports are free from then on.
    ///
    /// # Errors
    /// [`ForwardError`]; then everything is as it was.
    pub async fn renew_forwards(&self, device: impl Into<Meant>) -> Result<(), ForwardError> {
        let device = device.into();
        let mut tries = 1;
        loop {
            let mut taken: Vec<Place> = Vec::new();
            match self.try_renew(device, &mut taken).await {
                Ok(freed) => {
                    self.release(&freed);
                    return Ok(());
                }
                Err(ForwardError::Registry(error)) if error.is_about_rows() && tries < TRIES => {
                    self.store.with_ports(|ports| ports.forget());
                    tries += 1;
                }
                Err(error) => {
                    self.release(&taken);
                    return Err(error);
                }
            }
        }
    }

    async fn try_renew(
        &self,
        device: Meant,
        taken: &mut Vec<Place>,
    ) -> Result<Vec<Place>, ForwardError> {
        let transaction = self.store.begin().await?;
        let device = locked(&transaction, device)
            .await?
            .ok_or(ForwardError::UnknownDevice)?;
        let forwards = forward::Entity::find()
            .filter(forward::Column::DeviceNumber.eq(device.number))
            .order_by_asc(forward::Column::Id)
            .all(&transaction)
            .await
            .attempt("read forwards")?;
        let mut freed = Vec::with_capacity(forwards.len());
        for row in forwards {
            let node = active_node(&transaction, &row.node).await?;
            let port = self
                .store
                .take_port(&transaction, &node, Instant::now())
                .await?
                .ok_or(ForwardError::NodeUnavailable)?;
            taken.push((node.name, port));
            renew(&transaction, &row, port).await?;
            if let Ok(old) = u16::try_from(row.public_port) {
                freed.push((row.node, old));
            }
        }
        transaction.commit().await.attempt("renew forwards")?;
        Ok(freed)
    }

    fn release(&self, places: &[Place]) {
        self.store.with_ports(|ports| {
            ports.release(places.iter().map(|(node, port)| (node.as_str(), *port)));
        });
    }
}

async fn renew(
    transaction: &DatabaseTransaction,
    row: &forward::Model,
    port: u16,
) -> Result<(), RegistryError> {
    let label = row.http_label.as_ref().map(|_| random::renewed_label());
    forward::Entity::update_many()
        .col_expr(forward::Column::PublicPort, Expr::value(i32::from(port)))
        .col_expr(
            forward::Column::LinkToken,
            Expr::value(random::link_token()),
        )
        .col_expr(forward::Column::HttpLabel, Expr::value(label))
        .filter(forward::Column::Id.eq(row.id))
        .exec(transaction)
        .await
        .attempt("renew forward")?;
    Ok(())
}
