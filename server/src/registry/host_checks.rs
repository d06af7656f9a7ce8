//! Keeping the status of hosts true (control contract section 15).

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};
use sea_orm::{QueryResult, Statement};
use uuid::Uuid;

use super::Registry;
use super::entity::host;
use super::error::{Attempt as _, RegistryError};
use super::model::{DeviceId, HostId, HostStatus, HostToCheck, Timestamp, Wanted};

/// The join begins with the hosts: there may be many more devices. Hosts with work under way are found by the index
/// that holds open tasks alone.
const TO_CHECK: &str = "SELECT h.id, h.device_id, h.status, d.wanted FROM hosts AS h CROSS JOIN devices AS d \
    WHERE d.id = h.device_id AND d.region = $1 \
    AND (h.status = 'running' OR (h.status IN ('stopped', 'failed') AND d.wanted = 'open')) \
    AND h.id NOT IN (SELECT b.id FROM tasks AS t JOIN hosts AS b ON b.id = t.host_id \
        WHERE t.status IN ('pending', 'running'))";

impl Registry {
    /// The device hosts of a node whose status may have to follow the tunnel: those that run, and those that do not
    /// although the tunnel is wanted open. Hosts with work under way are left out.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_hosts_to_check(
        &self,
        node: &str,
    ) -> Result<Vec<HostToCheck>, RegistryError> {
        let backend = self.store.read.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, TO_CHECK, [node.into()]);
        let rows = self.store.read.query_all_raw(statement).await;
        let rows = rows.attempt("look for hosts to check")?;
        rows.iter().map(to_check).collect()
    }

    /// Sets the status of a host that still has the status `from`, and tells whether it had.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn correct_host_status(
        &self,
        id: HostId,
        from: HostStatus,
        to: HostStatus,
    ) -> Result<bool, RegistryError> {
        let done = host::Entity::update_many()
            .col_expr(host::Column::Status, Expr::value(to.as_str()))
            .col_expr(host::Column::UpdatedAt, Expr::value(Timestamp::now().0))
            .filter(host::Column::Id.eq(id.0))
            .filter(host::Column::Status.eq(from.as_str()))
            .exec(&self.store.write)
            .await
            .attempt("correct status of host")?;
        Ok(done.rows_affected > 0)
    }
}

fn to_check(row: &QueryResult) -> Result<HostToCheck, RegistryError> {
    const ATTEMPT: &str = "read host to check";
    let damaged = |column| RegistryError::Damaged { column };
    let id: Uuid = row.try_get("", "id").attempt(ATTEMPT)?;
    let device: Uuid = row.try_get("", "device_id").attempt(ATTEMPT)?;
    let status: String = row.try_get("", "status").attempt(ATTEMPT)?;
    let wanted: String = row.try_get("", "wanted").attempt(ATTEMPT)?;
    Ok(HostToCheck {
        id: HostId(id),
        device: DeviceId(device),
        status: HostStatus::parse(&status).ok_or_else(|| damaged("hosts.status"))?,
        wanted: Wanted::parse(&wanted).ok_or_else(|| damaged("devices.wanted"))?,
    })
}
