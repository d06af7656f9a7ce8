//! Finding hosts, their entry passwords and policies (control contract sections 8 and 13).

use moorline_protocol::Secret;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::entity::{binding, host, one_time_password, user};
use super::error::{Attempt as _, RegistryError};
use super::model::{Host, HostId, HostKind, PolicyChange, Timestamp, User, UserId};
use super::{Registry, is_storable};

/// Rows named in one statement; databases limit them.
const IDS_AT_ONCE: usize = 500;

impl Registry {
    /// The host of this short id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn host_by_short_id(&self, short_id: &str) -> Result<Option<Host>, RegistryError> {
        if !is_storable(short_id) {
            return Ok(None);
        }
        host::Entity::find()
            .filter(host::Column::ShortId.eq(short_id))
            .one(&self.store.read)
            .await
            .attempt("read host")?
            .map(Host::try_from)
            .transpose()
    }

    /// Those of these hosts that there are.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn hosts_by_id(&self, ids: &[HostId]) -> Result<Vec<Host>, RegistryError> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(IDS_AT_ONCE) {
            let rows = host::Entity::find()
                .filter(host::Column::Id.is_in(part.iter().map(|id| id.0)))
                .all(&self.store.read)
                .await
                .attempt("read hosts")?;
            for row in rows {
                found.push(Host::try_from(row)?);
            }
        }
        Ok(found)
    }

    /// Those of these users that there are.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn users_by_id(&self, ids: &[UserId]) -> Result<Vec<User>, RegistryError> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(IDS_AT_ONCE) {
            let rows = user::Entity::find()
                .filter(user::Column::Id.is_in(part.iter().map(|id| id.0)))
                .all(&self.store.read)
                .await
                .attempt("read users")?;
            for row in rows {
                found.push(User::try_from(row)?);
            }
        }
        Ok(found)
    }

    /// Whether a host is bound to an egress IP.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn is_bound(&self, id: HostId) -> Result<bool, RegistryError> {
        let found = binding::Entity::find()
            .filter(binding::Column::HostId.eq(id.0))
            .limit(1)
            .one(&self.store.read)
            .await
            .attempt("look for binding")?;
        Ok(found.is_some())
    }

    /// The main host of a user (control contract section 12): the container in slot `primary`, else the oldest
    /// container, else the oldest device host.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn main_host(&self, user: UserId) -> Result<Option<Host>, RegistryError> {
        let hosts = self.hosts_of_user(user).await?;
        let rank = |host: &Host| match host.kind {
            HostKind::Container if host.slot_key == "primary" => 0,
            HostKind::Container => 1,
            HostKind::Device => 2,
        };
        // The first of equal ones is the oldest.
        Ok(hosts.into_iter().min_by_key(rank))
    }

    /// Gives a host another entry password; unused one-time passwords die. False when there is no such host.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_entry_password(
        &self,
        id: HostId,
        hash: Secret<String>,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let done = host::Entity::update_many()
            .col_expr(
                host::Column::EntryPasswordHash,
                Expr::value(hash.into_exposed()),
            )
            .col_expr(host::Column::UpdatedAt, Expr::value(Timestamp::now().0))
            .filter(host::Column::Id.eq(id.0))
            .exec(&transaction)
            .await
            .attempt("set entry password")?;
        one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::HostId.eq(id.0))
            .exec(&transaction)
            .await
            .attempt("end one-time passwords")?;
        transaction.commit().await.attempt("set entry password")?;
        Ok(done.rows_affected > 0)
    }

    /// Changes what may be done with the sessions of a host. False when there is no such host.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_host_policy(
        &self,
        id: HostId,
        change: PolicyChange,
    ) -> Result<bool, RegistryError> {
        let mut update = host::Entity::update_many()
            .col_expr(host::Column::UpdatedAt, Expr::value(Timestamp::now().0));
        for (column, value) in [
            (host::Column::RecordingRequired, change.recording_required),
            (
                host::Column::DirectTcpipAllowed,
                change.direct_tcpip_allowed,
            ),
        ] {
            if let Some(value) = value {
                update = update.col_expr(column, Expr::value(value));
            }
        }
        let done = update
            .filter(host::Column::Id.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("set policy of host")?;
        Ok(done.rows_affected > 0)
    }
}
