//! Tasks in work: claimed by the node that can do them, and ended.

use std::time::Duration;

use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, EntityTrait as _};
use sea_orm::{
    FromQueryResult as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
};

use super::LISTED;
use crate::registry::Registry;
use crate::registry::entity::{host, task};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::model::{HostId, HostStatus, Task, TaskEnd, TaskKind, TaskStatus, Timestamp};

/// Longest error message that is kept, in characters.
const MAX_MESSAGE: usize = 1000;
/// Tasks that wait or run, in the words of the index that holds these alone: parameters would not match it.
const OPEN: &str = r#""tasks"."status" IN ('pending', 'running')"#;

impl Registry {
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
             WHERE t.status = 'pending' AND t.status IN ('pending', 'running') \
             AND COALESCE(d.region, h.region) = $1 \
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

/// Every change of a task counts as a touch.
fn update(status: TaskStatus) -> sea_orm::UpdateMany<task::Entity> {
    task::Entity::update_many()
        .col_expr(task::Column::Status, Expr::value(status.as_str()))
        .col_expr(task::Column::UpdatedAt, Expr::value(Timestamp::now().0))
}
