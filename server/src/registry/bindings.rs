//! Which host leaves by which egress IP (control contract section 8, Bindings).

use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{binding, egress_ip, host};
use super::error::{Attempt as _, BindError, RegistryError};
use super::model::{
    AccountId, Binding, BindingId, EgressIpId, EgressStatus, HostId, HostKind, HostStatus,
    Timestamp,
};

impl Registry {
    /// Binds a container host, which must not run, to an egress IP.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        &self,
        account: AccountId,
        host: HostId,
        egress: EgressIpId,
    ) -> Result<Binding, BindError> {
        let transaction = self.store.begin().await?;
        let host = locked_host(&transaction, account, host)
            .await?
            .ok_or(BindError::UnknownHost)?;
        if host.kind != HostKind::Container.as_str() {
            return Err(BindError::DeviceHost);
        }
        let egress = egress_ip::Entity::find_by_id(egress.0)
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .lock_shared()
            .one(&transaction)
            .await
            .attempt("read egress IP")?
            .ok_or(BindError::UnknownEgressIp)?;
        if host.status == HostStatus::Running.as_str() {
            return Err(BindError::HostRuns);
        }
        let there = binding::Entity::find()
            .filter(binding::Column::HostId.eq(host.id))
            .filter(binding::Column::EgressIpId.eq(egress.id))
            .one(&transaction)
            .await
            .attempt("read binding")?;
        if there.is_some() {
            return Err(BindError::Exists);
        }
        if egress.status != EgressStatus::Available.as_str() {
            return Err(BindError::Disabled);
        }
        let row = binding::ActiveModel {
            number: ActiveValue::NotSet,
            id: ActiveValue::Set(Uuid::new_v4()),
            host_id: ActiveValue::Set(host.id),
            egress_ip_id: ActiveValue::Set(egress.id),
            created_at: ActiveValue::Set(Timestamp::now().0),
        };
        let row = row.insert(&transaction).await.attempt("bind egress IP")?;
        transaction.commit().await.attempt("bind egress IP")?;
        Ok(row.into())
    }

    /// Removes a binding of a host that does not run.
    ///
    /// # Errors
    /// [`BindError::Unknown`], [`BindError::HostRuns`], [`BindError::Registry`].
    pub async fn unbind(&self, account: AccountId, id: BindingId) -> Result<Binding, BindError> {
        let transaction = self.store.begin().await?;
        let found = binding::Entity::find()
            .filter(binding::Column::Id.eq(id.0))
            .one(&transaction)
            .await
            .attempt("read binding")?
            .ok_or(BindError::Unknown)?;
        let host = locked_host(&transaction, account, HostId(found.host_id))
            .await?
            .ok_or(BindError::Unknown)?;
        if host.status == HostStatus::Running.as_str() {
            return Err(BindError::HostRuns);
        }
        let done = binding::Entity::delete_by_id(found.number)
            .exec(&transaction)
            .await
            .attempt("unbind egress IP")?;
        if done.rows_affected == 0 {
            return Err(BindError::Unknown);
        }
        transaction.commit().await.attempt("unbind egress IP")?;
        Ok(found.into())
    }

    /// The bindings of a host, the one in use first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn bindings_of(&self, host: HostId) -> Result<Vec<Binding>, RegistryError> {
        let rows = binding::Entity::find()
            .filter(binding::Column::HostId.eq(host.0))
            .order_by_asc(binding::Column::Number)
            .all(&self.store.read)
            .await
            .attempt("list bindings")?;
        Ok(rows.into_iter().map(Binding::from).collect())
    }
}

/// The host, which does not change its state until the transaction ends.
async fn locked_host(
    transaction: &DatabaseTransaction,
    account: AccountId,
    id: HostId,
) -> Result<Option<host::Model>, RegistryError> {
    host::Entity::find_by_id(id.0)
        .filter(host::Column::AccountId.eq(account.0))
        .lock_exclusive()
        .one(transaction)
        .await
        .attempt("read host")
}

impl From<binding::Model> for Binding {
    fn from(row: binding::Model) -> Self {
        Self {
            id: BindingId(row.id),
            host: HostId(row.host_id),
            egress_ip: EgressIpId(row.egress_ip_id),
            created_at: Timestamp(row.created_at),
        }
    }
}
