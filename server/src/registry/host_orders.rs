//! Making and removing hosts together with the tasks that belong to it (control contract section 8).

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{binding, device, egress_ip, host, task, user};
use super::error::{Attempt as _, DeleteHostError, HostError, RegistryError};
use super::hosts::{SHORT_ID_TRIES, insert_host};
use super::model::{
    AccountId, DeviceId, EgressIpId, EgressStatus, Host, HostId, HostOrder, HostStatus, NewHost,
    Removal, Task, TaskKind, TaskStatus, Timestamp,
};
use super::tasks::{NewTask, insert_task};
use crate::random;

/// Hosts that an account may have; all of them are listed in one answer.
const MAX_HOSTS: u64 = 50_000;

impl Registry {
    /// Makes a host in status `pending`, its binding if one is asked for, and the task that makes it what it shall be:
    /// all or nothing.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn order_host(&self, order: HostOrder) -> Result<(Host, Task), HostError> {
        for _ in 0..SHORT_ID_TRIES {
            match self.try_order(&order).await {
                Err(HostError::ShortIdTaken) => {}
                other => return other,
            }
        }
        Err(HostError::ShortIdTaken)
    }

    async fn try_order(&self, order: &HostOrder) -> Result<(Host, Task), HostError> {
        let transaction = self.store.begin().await?;
        check_parts(&transaction, &order.new).await?;
        let present = host::Entity::find()
            .filter(host::Column::AccountId.eq(order.new.account.0))
            .count(&transaction)
            .await
            .attempt("count hosts")?;
        if present >= MAX_HOSTS {
            return Err(HostError::TooMany);
        }
        let host = insert_host(&transaction, &order.new, random::host_short_id()).await?;
        if let Some(egress) = order.egress_ip {
            bind(&transaction, &host, egress).await?;
        }
        let new = NewTask {
            account: host.account,
            host: host.id,
            kind: TaskKind::CreateHost,
            requested_by: order.requested_by.clone(),
        };
        let task = insert_task(&transaction, new, Timestamp::now()).await?;
        transaction.commit().await.attempt("create host")?;
        Ok((host, task))
    }

    /// Removes a host with its bindings and one-time passwords, and cancels the tasks that wait for it. A device is
    /// only unassigned. Gives the host that was.
    ///
    /// # Errors
    /// [`DeleteHostError`].
    pub async fn delete_host(
        &self,
        account: AccountId,
        id: HostId,
        removal: Removal,
    ) -> Result<Host, DeleteHostError> {
        let transaction = self.store.begin().await?;
        let found = host::Entity::find_by_id(id.0)
            .filter(host::Column::AccountId.eq(account.0))
            .lock_exclusive()
            .one(&transaction)
            .await
            .attempt("read host")?
            .ok_or(DeleteHostError::Unknown)?;
        if found.status == HostStatus::Running.as_str() && removal == Removal::IfNotRunning {
            return Err(DeleteHostError::Running);
        }
        cancel_waiting(&transaction, id).await?;
        host::Entity::delete_by_id(id.0)
            .exec(&transaction)
            .await
            .attempt("delete host")?;
        transaction.commit().await.attempt("delete host")?;
        Ok(Host::try_from(found)?)
    }
}

/// Removes the host that a device is, if it is one, as [`Registry::delete_host`] does.
pub(super) async fn unassign(
    transaction: &DatabaseTransaction,
    device: DeviceId,
) -> Result<(), RegistryError> {
    let found = host::Entity::find()
        .filter(host::Column::DeviceId.eq(device.0))
        .lock_exclusive()
        .one(transaction)
        .await
        .attempt("read host of device")?;
    let Some(found) = found else {
        return Ok(());
    };
    cancel_waiting(transaction, HostId(found.id)).await?;
    host::Entity::delete_by_id(found.id)
        .exec(transaction)
        .await
        .attempt("unassign device")?;
    Ok(())
}

/// The user and the device of a host stay what they are until the transaction ends, and are of its account.
async fn check_parts(transaction: &DatabaseTransaction, new: &NewHost) -> Result<(), HostError> {
    user::Entity::find_by_id(new.user.0)
        .filter(user::Column::AccountId.eq(new.account.0))
        .lock_shared()
        .one(transaction)
        .await
        .attempt("read user of host")?
        .ok_or(HostError::UnknownUser)?;
    let Some(device) = new.device else {
        return Ok(());
    };
    device::Entity::find()
        .filter(device::Column::Id.eq(device.0))
        .filter(device::Column::AccountId.eq(new.account.0))
        .lock_shared()
        .one(transaction)
        .await
        .attempt("read device of host")?
        .ok_or(HostError::UnknownDevice)?;
    Ok(())
}

async fn bind(
    transaction: &DatabaseTransaction,
    host: &Host,
    egress: EgressIpId,
) -> Result<(), HostError> {
    let found = egress_ip::Entity::find_by_id(egress.0)
        .filter(egress_ip::Column::AccountId.eq(host.account.0))
        .lock_shared()
        .one(transaction)
        .await
        .attempt("read egress IP")?
        .ok_or(HostError::UnknownEgressIp)?;
    if found.status != EgressStatus::Available.as_str() {
        return Err(HostError::EgressIpDisabled);
    }
    let row = binding::ActiveModel {
        number: ActiveValue::NotSet,
        id: ActiveValue::Set(Uuid::new_v4()),
        host_id: ActiveValue::Set(host.id.0),
        egress_ip_id: ActiveValue::Set(egress.0),
        created_at: ActiveValue::Set(Timestamp::now().0),
    };
    row.insert(transaction).await.attempt("bind egress IP")?;
    Ok(())
}

/// What waits for a host is not done any more.
pub(super) async fn cancel_waiting(
    transaction: &DatabaseTransaction,
    id: HostId,
) -> Result<(), RegistryError> {
    task::Entity::update_many()
        .col_expr(
            task::Column::Status,
            Expr::value(TaskStatus::Canceled.as_str()),
        )
        .col_expr(task::Column::UpdatedAt, Expr::value(Timestamp::now().0))
        .filter(task::Column::HostId.eq(id.0))
        .filter(task::Column::Status.eq(TaskStatus::Pending.as_str()))
        .exec(transaction)
        .await
        .attempt("cancel tasks of host")?;
    Ok(())
}
