//! Asynchronous work on hosts (control contract section 9): queued, claimed by the node that can do it, ended.
//!
//! *Invariant:* a task runs only when no earlier task of its host waits or runs; a unique index makes sure of the
//! second half whatever several processes do.

use sea_orm::QuerySelect as _;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use uuid::Uuid;

mod work;

use super::Registry;
use super::entity::{event, host, task};
use super::error::{Attempt as _, QueueTaskError, RegistryError};
use super::events::event_row;
use super::model::{
    AccountId, Host, HostId, HostStatus, HostWanted, NewEvent, Task, TaskId, TaskKind, TaskStatus,
    Timestamp, User,
};

/// Tasks of one host that wait at once; an action takes half a minute at most.
const MAX_WAITING: u64 = 32;
/// Those that others than administrators may leave waiting, so that what they ask for keeps no administrator out.
const MAX_WAITING_OF_USERS: u64 = 16;
/// [`Task::requested_by`] of administrators.
const ADMIN: &str = "admin";
/// Tasks that are listed (control contract section 2).
const LISTED: u64 = 1000;
/// Who asks for the stop of an expired user's hosts.
const EXPIRY: &str = "system:expiry";

/// What a new task shall be.
pub(super) struct NewTask {
    pub(super) account: AccountId,
    pub(super) host: HostId,
    pub(super) kind: TaskKind,
    pub(super) requested_by: String,
}

/// Writes a task that waits.
pub(super) async fn insert_task(
    transaction: &DatabaseTransaction,
    new: NewTask,
    now: Timestamp,
) -> Result<Task, RegistryError> {
    let row = task::ActiveModel {
        number: ActiveValue::NotSet,
        id: ActiveValue::Set(Uuid::new_v4()),
        account_id: ActiveValue::Set(new.account.0),
        host_id: ActiveValue::Set(Some(new.host.0)),
        kind: ActiveValue::Set(new.kind.as_str().to_owned()),
        status: ActiveValue::Set(TaskStatus::Pending.as_str().to_owned()),
        requested_by: ActiveValue::Set(new.requested_by),
        node: ActiveValue::Set(None),
        error_code: ActiveValue::Set(String::new()),
        error_message: ActiveValue::Set(String::new()),
        created_at: ActiveValue::Set(now.0),
        updated_at: ActiveValue::Set(now.0),
    };
    row.insert(transaction)
        .await
        .attempt("queue task")?
        .try_into()
}

impl Registry {
    /// Queues an action on a host and notes how the host shall stand by it.
    ///
    /// # Errors
    /// [`QueueTaskError`].
    pub async fn queue_task(
        &self,
        id: HostId,
        kind: TaskKind,
        requested_by: String,
    ) -> Result<Task, QueueTaskError> {
        let transaction = self.store.begin().await?;
        let found = host::Entity::find_by_id(id.0)
            .lock_exclusive()
            .one(&transaction)
            .await
            .attempt("read host")?
            .ok_or(QueueTaskError::UnknownHost)?;
        let waiting = task::Entity::find()
            .filter(task::Column::HostId.eq(id.0))
            .filter(task::Column::Status.eq(TaskStatus::Pending.as_str()))
            .count(&transaction)
            .await
            .attempt("count tasks of host")?;
        let most = if requested_by == ADMIN {
            MAX_WAITING
        } else {
            MAX_WAITING_OF_USERS
        };
        if waiting >= most {
            return Err(QueueTaskError::Full);
        }
        want(&transaction, id, kind).await?;
        let new = NewTask {
            account: AccountId(found.account_id),
            host: id,
            kind,
            requested_by,
        };
        let task = insert_task(&transaction, new, Timestamp::now()).await?;
        transaction.commit().await.attempt("queue task")?;
        Ok(task)
    }

    /// Removes tasks that ended before that time, and tells how many. They go only by this.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forget_tasks(&self, before: Timestamp) -> Result<u64, RegistryError> {
        let open = [TaskStatus::Pending, TaskStatus::Running].map(TaskStatus::as_str);
        let done = task::Entity::delete_many()
            .filter(task::Column::UpdatedAt.lt(before.0))
            .filter(task::Column::Status.is_not_in(open))
            .exec(&self.store.write)
            .await
            .attempt("forget tasks")?;
        Ok(done.rows_affected)
    }

    /// The task with this id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn task(&self, id: TaskId) -> Result<Option<Task>, RegistryError> {
        task::Entity::find()
            .filter(task::Column::Id.eq(id.0))
            .one(&self.store.read)
            .await
            .attempt("read task")?
            .map(Task::try_from)
            .transpose()
    }

    /// The tasks of an account, last updated first, the 1000 latest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn tasks_of(&self, account: AccountId) -> Result<Vec<Task>, RegistryError> {
        task::Entity::find()
            .filter(task::Column::AccountId.eq(account.0))
            .order_by_desc(task::Column::UpdatedAt)
            .order_by_desc(task::Column::Number)
            .limit(LISTED)
            .all(&self.store.read)
            .await
            .attempt("list tasks")?
            .into_iter()
            .map(Task::try_from)
            .collect()
    }
}

/// Queues the stop of the hosts of users whose time is over, with an event each (control contract section 15).
pub(super) async fn stop_hosts_of(
    transaction: &DatabaseTransaction,
    users: &[User],
    now: Timestamp,
) -> Result<(), RegistryError> {
    for user in users {
        let hosts = host::Entity::find()
            .filter(host::Column::UserId.eq(user.id.0))
            .filter(
                host::Column::Status
                    .eq(HostStatus::Running.as_str())
                    .or(host::Column::Wanted.eq(HostWanted::Running.as_str())),
            )
            .lock_exclusive()
            .all(transaction)
            .await
            .attempt("list hosts of expired user")?;
        for row in hosts {
            let host = Host::try_from(row)?;
            want(transaction, host.id, TaskKind::StopHost).await?;
            let new = NewTask {
                account: host.account,
                host: host.id,
                kind: TaskKind::StopHost,
                requested_by: EXPIRY.to_owned(),
            };
            let task = insert_task(transaction, new, now).await?;
            event::Entity::insert(event_row(stopped_event(user, &host, &task), now))
                .exec_without_returning(transaction)
                .await
                .attempt("record stop of host")?;
        }
    }
    Ok(())
}

fn stopped_event(user: &User, host: &Host, task: &Task) -> NewEvent {
    NewEvent {
        account: Some(host.account),
        device: host.device,
        user: Some(user.id),
        host: Some(host.id),
        task: Some(task.id),
        level: "info",
        kind: "host.stop.expired",
        message: format!("host {} is stopped: its user expired", host.short_id),
        metadata: serde_json::json!({
            "operator": "system",
            "user_id": user.id.to_string(),
            "host_id": host.id.to_string(),
            "reason": "user expired",
        }),
    }
}

/// Notes how a host shall stand by an action.
async fn want(
    transaction: &DatabaseTransaction,
    id: HostId,
    kind: TaskKind,
) -> Result<(), RegistryError> {
    let wanted = match kind {
        TaskKind::StopHost => HostWanted::Stopped,
        TaskKind::StartHost | TaskKind::RebuildHost => HostWanted::Running,
        TaskKind::CreateHost | TaskKind::PrepareHost => return Ok(()),
    };
    host::Entity::update_many()
        .col_expr(host::Column::Wanted, Expr::value(wanted.as_str()))
        .filter(host::Column::Id.eq(id.0))
        .exec(transaction)
        .await
        .attempt("note how host shall stand")?;
    Ok(())
}

impl TryFrom<task::Model> for Task {
    type Error = RegistryError;

    fn try_from(row: task::Model) -> Result<Self, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        Ok(Self {
            number: row.number,
            id: TaskId(row.id),
            account: AccountId(row.account_id),
            host: row.host_id.map(HostId),
            kind: TaskKind::parse(&row.kind).ok_or_else(|| damaged("tasks.kind"))?,
            status: TaskStatus::parse(&row.status).ok_or_else(|| damaged("tasks.status"))?,
            requested_by: row.requested_by,
            node: row.node,
            error_code: row.error_code,
            error_message: row.error_message,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}
