//! Asynchronous work on hosts (control contract section 9): queued, claimed by the node that can do it, ended.
//!
//! *Invariant:* a task runs only when no earlier task of its host waits or runs; a unique index makes sure of the
//! second half whatever several processes do.

use std::time::Duration;

use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, ConnectionTrait as _};
use sea_orm::{DatabaseTransaction, EntityTrait as _, FromQueryResult as _, PaginatorTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement};
use uuid::Uuid;

use super::Registry;
use super::entity::{event, host, task};
use super::error::{Attempt as _, QueueTaskError, RegistryError};
use super::events::event_row;
use super::model::{
    AccountId, Host, HostId, HostStatus, HostWanted, NewEvent, Task, TaskEnd, TaskId, TaskKind,
    TaskStatus, Timestamp, User,
};

/// Tasks of one host that wait at once; an action takes half a minute at most.
const MAX_WAITING: u64 = 32;
/// Those that others than administrators may leave waiting, so that what they ask for keeps no administrator out.
const MAX_WAITING_OF_USERS: u64 = 16;
/// [`Task::requested_by`] of administrators.
const ADMIN: &str = "admin";
/// Tasks that are listed (control contract section 2).
const LISTED: u64 = 1000;
/// Longest error message that is kept, in characters.
const MAX_MESSAGE: usize = 1000;
/// Tasks that wait or run, in the words of the index that holds these alone: parameters would not match it.
const OPEN: &str = r#""tasks"."status" IN ('pending', 'running')"#;
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

    /// Takes up to `most` tasks that `node` can do now: of each of its hosts the oldest one that waits, unless one of
    /// that host runs. Tasks whose host is gone are canceled.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn claim_tasks(&self, node: &str, most: usize) -> Result<Vec<Task>, RegistryError> {
        let backend = self.store.read.get_database_backend();
        // Reading first: nearly always there is nothing to do, and then nothing is written.
        let any = task::Entity::find()
            .filter(Expr::cust(OPEN))
            .filter(task::Column::Status.eq(TaskStatus::Pending.as_str()))
            .limit(1)
            .one(&self.store.read)
            .await
            .attempt("look for tasks")?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let transaction = self.store.begin().await?;
        cancel_orphans(&transaction).await?;
        let sql = "SELECT t.* FROM tasks AS t JOIN hosts AS h ON h.id = t.host_id \
             LEFT JOIN devices AS d ON d.id = h.device_id \
             WHERE t.status = 'pending' AND t.status IN ('pending', 'running') AND COALESCE(d.region, h.region) = $1 \
             AND NOT EXISTS (SELECT 1 FROM tasks AS e WHERE e.host_id = t.host_id \
                 AND e.number < t.number AND e.status IN ('pending', 'running')) \
             ORDER BY t.number LIMIT $2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let statement = Statement::from_sql_and_values(backend, sql, [node.into(), most.into()]);
        let rows = transaction
            .query_all_raw(statement)
            .await
            .attempt("look for tasks")?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in rows {
            let row = task::Model::from_query_result(&row, "").attempt("read task")?;
            let done = update(TaskStatus::Running)
                .col_expr(task::Column::Node, Expr::value(node))
                .filter(task::Column::Number.eq(row.number))
                .filter(task::Column::Status.eq(TaskStatus::Pending.as_str()))
                .exec(&transaction)
                .await
                .attempt("claim task")?;
            if done.rows_affected > 0 {
                claimed.push(Task::try_from(row)?);
            }
        }
        transaction.commit().await.attempt("claim tasks")?;
        Ok(claimed)
    }

    /// Puts back what `node` worked on when it went down: it is done anew, in its old place.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn release_tasks(&self, node: &str) -> Result<u64, RegistryError> {
        let done = update(TaskStatus::Pending)
            .filter(Expr::cust(OPEN))
            .filter(task::Column::Status.eq(TaskStatus::Running.as_str()))
            .filter(task::Column::Node.eq(node))
            .exec(&self.store.write)
            .await
            .attempt("release tasks")?;
        Ok(done.rows_affected)
    }

    /// Ends a task that runs, and its host with it: as `end` says, or both failed. False when the task was ended
    /// otherwise meanwhile; then nothing is changed.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn end_task(&self, task: &Task, end: TaskEnd) -> Result<bool, RegistryError> {
        let (status, host_status, code, message) = match end {
            TaskEnd::Done(host_status) => (TaskStatus::Succeeded, host_status, "", String::new()),
            TaskEnd::Failed { code, message } => {
                let message = message.chars().take(MAX_MESSAGE).collect();
                (TaskStatus::Failed, HostStatus::Failed, code, message)
            }
        };
        let transaction = self.store.begin().await?;
        let done = update(status)
            .col_expr(task::Column::ErrorCode, Expr::value(code))
            .col_expr(task::Column::ErrorMessage, Expr::value(message))
            .filter(task::Column::Number.eq(task.number))
            .filter(task::Column::Status.eq(TaskStatus::Running.as_str()))
            .exec(&transaction)
            .await
            .attempt("end task")?;
        if done.rows_affected == 0 {
            return Ok(false);
        }
        if let Some(id) = task.host {
            set_status(&transaction, id, host_status).await?;
        }
        transaction.commit().await.attempt("end task")?;
        Ok(true)
    }

    /// Fails tasks that nobody touched for `threshold`, with their hosts, and gives them as they were. One that waits is
    /// touched by each that begins or ends before it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn fail_stale_tasks(&self, threshold: Duration) -> Result<Vec<Task>, RegistryError> {
        let now = Timestamp::now();
        let micros = i64::try_from(threshold.as_micros()).unwrap_or(i64::MAX);
        let before = now.0.saturating_sub(micros);
        let transaction = self.store.begin().await?;
        let stale = task::Entity::find()
            .filter(Expr::cust(OPEN))
            .filter(task::Column::UpdatedAt.lt(before))
            .filter(Expr::exists(touched_before(before)).not())
            .order_by_asc(task::Column::Number)
            .limit(LISTED)
            .lock_exclusive()
            .all(&transaction)
            .await
            .attempt("look for stale tasks")?;
        for row in &stale {
            update(TaskStatus::Failed)
                .col_expr(task::Column::ErrorCode, Expr::value("stale_timeout"))
                .col_expr(
                    task::Column::ErrorMessage,
                    Expr::value("task exceeded stale threshold"),
                )
                .filter(task::Column::Number.eq(row.number))
                .exec(&transaction)
                .await
                .attempt("fail stale task")?;
            if let Some(id) = row.host_id {
                set_status(&transaction, HostId(id), HostStatus::Failed).await?;
            }
        }
        transaction.commit().await.attempt("fail stale tasks")?;
        stale.into_iter().map(Task::try_from).collect()
    }
}

/// Tasks of the same host that were queued before and touched since `since`.
fn touched_before(since: i64) -> SelectStatement {
    let earlier = Alias::new("earlier");
    let column = |column: task::Column| Expr::col((Alias::new("earlier"), column));
    let this = |column: task::Column| Expr::col((task::Entity, column));
    Query::select()
        .expr(Expr::value(1))
        .from_as(task::Entity, earlier)
        .and_where(column(task::Column::HostId).eq(this(task::Column::HostId)))
        .and_where(column(task::Column::Number).lt(this(task::Column::Number)))
        .and_where(column(task::Column::UpdatedAt).gte(since))
        .to_owned()
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

/// Every change of a task counts as a touch.
fn update(status: TaskStatus) -> sea_orm::UpdateMany<task::Entity> {
    task::Entity::update_many()
        .col_expr(task::Column::Status, Expr::value(status.as_str()))
        .col_expr(task::Column::UpdatedAt, Expr::value(Timestamp::now().0))
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

async fn set_status(
    transaction: &DatabaseTransaction,
    id: HostId,
    status: HostStatus,
) -> Result<(), RegistryError> {
    host::Entity::update_many()
        .col_expr(host::Column::Status, Expr::value(status.as_str()))
        .col_expr(host::Column::UpdatedAt, Expr::value(Timestamp::now().0))
        .filter(host::Column::Id.eq(id.0))
        .exec(transaction)
        .await
        .attempt("set status of host")?;
    Ok(())
}

/// A host may go with its user or its device; then nobody can do what waits for it.
async fn cancel_orphans(transaction: &DatabaseTransaction) -> Result<(), RegistryError> {
    update(TaskStatus::Canceled)
        .filter(task::Column::Status.eq(TaskStatus::Pending.as_str()))
        .filter(task::Column::HostId.is_null())
        .filter(task::Column::Kind.ne(TaskKind::PrepareHost.as_str()))
        .exec(transaction)
        .await
        .attempt("cancel tasks without host")?;
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
