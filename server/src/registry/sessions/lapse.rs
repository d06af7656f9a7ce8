//! What nobody has used for long goes (openport contract sections 4 and 5, rule 4).

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};
use sea_orm::{QuerySelect as _, Statement};

use crate::registry::Registry;
use crate::registry::accounts::ANONYMOUS;
use crate::registry::entity::{device, forward, link_click};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::model::Timestamp;

/// Rows that go in one transaction, so that others who write wait shortly.
const ROWS_AT_ONCE: u64 = 500;

impl Registry {
    /// Lets go of sessions that nobody has used since `before`, and tells how many went. The first forward of a
    /// device never goes so. Sessions whose tunnels are up have to be noted by [`Registry::touch_sessions`] first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn release_sessions(&self, before: Timestamp) -> Result<u64, RegistryError> {
        let mut released = 0;
        loop {
            let transaction = self.store.begin().await?;
            let used = Expr::col(forward::Column::LastUsedAt)
                .if_null(Expr::col(forward::Column::CreatedAt));
            let rows = forward::Entity::find()
                .filter(forward::Column::IsFirst.eq(false))
                .filter(forward::Column::SessionToken.is_not_null())
                .filter(used.lt(before.0))
                .limit(ROWS_AT_ONCE)
                .lock_exclusive()
                .all(&transaction)
                .await
                .attempt("find unused sessions")?;
            if rows.is_empty() {
                return Ok(released);
            }
            forward::Entity::delete_many()
                .filter(forward::Column::Id.is_in(rows.iter().map(|row| row.id)))
                .exec(&transaction)
                .await
                .attempt("release sessions")?;
            transaction.commit().await.attempt("release sessions")?;
            self.give_ports_back(&rows);
            released += rows.len() as u64;
        }
    }

    /// Deletes devices of the anonymous account that nobody has used since `before`, and tells how many went.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forget_anonymous(&self, before: Timestamp) -> Result<u64, RegistryError> {
        const UNUSED: &str = "SELECT d.number FROM devices AS d \
            WHERE d.account_id = $1 AND d.created_at < $2 \
            AND NOT EXISTS (SELECT 1 FROM forwards AS f WHERE f.device_number = d.number \
                AND COALESCE(f.last_used_at, f.created_at) >= $2) \
            AND NOT EXISTS (SELECT 1 FROM device_presence AS p WHERE p.device_number = d.number \
                AND p.last_seen_at >= $2) \
            ORDER BY d.number LIMIT 500";
        let mut forgotten = 0;
        loop {
            let transaction = self.store.begin().await?;
            let backend = transaction.get_database_backend();
            let values = [ANONYMOUS.into(), before.0.into()];
            let rows = transaction
                .query_all_raw(Statement::from_sql_and_values(backend, UNUSED, values))
                .await
                .attempt("find unused devices")?;
            let numbers = rows
                .iter()
                .map(|row| row.try_get::<i64>("", "number"))
                .collect::<Result<Vec<_>, _>>()
                .attempt("find unused devices")?;
            if numbers.is_empty() {
                return Ok(forgotten);
            }
            let forwards = forward::Entity::find()
                .filter(forward::Column::DeviceNumber.is_in(numbers.iter().copied()))
                .all(&transaction)
                .await
                .attempt("read forwards")?;
            let done = device::Entity::delete_many()
                .filter(device::Column::Number.is_in(numbers))
                // It may have been registered between the two statements.
                .filter(device::Column::AccountId.eq(ANONYMOUS))
                .exec(&transaction)
                .await
                .attempt("delete unused devices")?;
            transaction
                .commit()
                .await
                .attempt("delete unused devices")?;
            self.give_ports_back(&forwards);
            forgotten += done.rows_affected;
            if done.rows_affected == 0 {
                return Ok(forgotten);
            }
        }
    }

    /// Removes clicks from before that time, and tells how many.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forget_clicks(&self, before: Timestamp) -> Result<u64, RegistryError> {
        let done = link_click::Entity::delete_many()
            .filter(link_click::Column::At.lt(before.0))
            .exec(&self.store.write)
            .await
            .attempt("forget clicks")?;
        Ok(done.rows_affected)
    }

    fn give_ports_back(&self, rows: &[forward::Model]) {
        self.store.with_ports(|ports| {
            ports.release(rows.iter().filter_map(|row| {
                let port = u16::try_from(row.public_port).ok()?;
                Some((row.node.as_str(), port))
            }));
        });
    }
}
