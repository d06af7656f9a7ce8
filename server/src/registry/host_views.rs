//! Hosts with what belongs to them, as lists show them (control contract sections 8 and 11).

use std::collections::HashMap;

use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, FromQueryResult};
use sea_orm::{QueryFilter as _, QueryOrder as _, Statement};
use uuid::Uuid;

use super::Registry;
use super::entity::host;
use super::error::{Attempt as _, RegistryError};
use super::model::{AccountId, Host, HostView, UserId};

/// Which hosts to show.
#[derive(Clone, Copy, Debug)]
pub enum HostsOf {
    /// All of an account, last updated first.
    Account(AccountId),
    /// All of a user, oldest first.
    User(UserId),
}

impl Registry {
    /// Hosts with what belongs to them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn host_views(&self, of: HostsOf) -> Result<Vec<HostView>, RegistryError> {
        let query = match of {
            HostsOf::Account(account) => host::Entity::find()
                .filter(host::Column::AccountId.eq(account.0))
                .order_by_desc(host::Column::UpdatedAt),
            HostsOf::User(user) => host::Entity::find()
                .filter(host::Column::UserId.eq(user.0))
                .order_by_asc(host::Column::CreatedAt),
        };
        let rows = query
            .order_by_asc(host::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list hosts")?;
        let (column, value) = match of {
            HostsOf::Account(account) => ("h.account_id", account.0.into()),
            HostsOf::User(user) => ("h.user_id", user.0.into()),
        };
        let mut beside = self.beside(column, value).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            // A host that was made between the two looks shows at the next one.
            if let Some(extra) = beside.remove(&row.id) {
                views.push(extra.complete(Host::try_from(row)?));
            }
        }
        Ok(views)
    }

    /// What other tables tell of the hosts with this value in `column`.
    async fn beside(
        &self,
        column: &str,
        value: sea_orm::Value,
    ) -> Result<HashMap<Uuid, Beside>, RegistryError> {
        let sql = format!(
            "SELECT h.id, u.username, d.name AS device_name, e.label, e.ip_address, e.tunnel_type \
             FROM hosts AS h JOIN users AS u ON u.id = h.user_id \
             LEFT JOIN devices AS d ON d.id = h.device_id \
             LEFT JOIN bindings AS b ON b.number = \
                 (SELECT MIN(o.number) FROM bindings AS o WHERE o.host_id = h.id) \
             LEFT JOIN egress_ips AS e ON e.id = b.egress_ip_id WHERE {column} = $1"
        );
        let backend = self.store.read.get_database_backend();
        let rows = self
            .store
            .read
            .query_all_raw(Statement::from_sql_and_values(backend, sql, [value]))
            .await
            .attempt("list what belongs to hosts")?;
        rows.iter()
            .map(|row| {
                let beside = Beside::from_query_result(row, "");
                beside.map(|beside| (beside.id, beside))
            })
            .collect::<Result<_, _>>()
            .attempt("read what belongs to hosts")
    }
}

/// What other tables tell of a host.
#[derive(FromQueryResult)]
struct Beside {
    id: Uuid,
    username: String,
    device_name: Option<String>,
    label: Option<String>,
    ip_address: Option<String>,
    tunnel_type: Option<String>,
}

impl Beside {
    fn complete(self, host: Host) -> HostView {
        HostView {
            host,
            username: self.username,
            device_name: self.device_name,
            egress_label: self.label,
            egress_address: self.ip_address,
            egress_tunnel: self.tunnel_type,
        }
    }
}
