//! Who reached what, when, and which way: the audit of operators' sessions.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select};
use uuid::Uuid;

use super::Registry;
use super::entity::operator_session;
use super::error::{Attempt as _, RegistryError};
use super::model::{
    AccountId, DeviceId, HostId, OperatorSession, SessionEnd, SessionFilter, Timestamp, UserId,
};

/// Most sessions that are listed at once.
const MAX_LISTED: u64 = 1000;

impl Registry {
    /// Notes a session that begins.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn begin_session(&self, session: &OperatorSession) -> Result<(), RegistryError> {
        let row = operator_session::ActiveModel {
            id: ActiveValue::Set(session.id),
            account_id: ActiveValue::Set(session.account.0),
            user_id: ActiveValue::Set(session.user.0),
            username: ActiveValue::Set(session.username.clone()),
            device_id: ActiveValue::Set(session.device.map(|device| device.0)),
            host_id: ActiveValue::Set(session.host.map(|host| host.0)),
            target: ActiveValue::Set(session.target.clone()),
            way_in: ActiveValue::Set(session.way_in.clone()),
            node: ActiveValue::Set(session.node.clone()),
            peer: ActiveValue::Set(session.peer.clone()),
            began_at: ActiveValue::Set(session.began_at.0),
            ended_at: ActiveValue::Set(None),
            received_bytes: ActiveValue::Set(0),
            sent_bytes: ActiveValue::Set(0),
            ending: ActiveValue::Set(None),
            recording_file: ActiveValue::Set(session.recording_file.clone()),
        };
        row.insert(&self.store.write)
            .await
            .attempt("note session")?;
        Ok(())
    }

    /// Notes how a session ended; the first end counts.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn end_session(&self, id: Uuid, end: SessionEnd) -> Result<(), RegistryError> {
        let bytes = |count: u64| Expr::value(i64::try_from(count).unwrap_or(i64::MAX));
        operator_session::Entity::update_many()
            .col_expr(
                operator_session::Column::EndedAt,
                Expr::value(Timestamp::now().0),
            )
            .col_expr(operator_session::Column::Ending, Expr::value(end.ending))
            .col_expr(
                operator_session::Column::ReceivedBytes,
                bytes(end.received_bytes),
            )
            .col_expr(operator_session::Column::SentBytes, bytes(end.sent_bytes))
            .filter(operator_session::Column::Id.eq(id))
            .filter(operator_session::Column::EndedAt.is_null())
            .exec(&self.store.write)
            .await
            .attempt("note end of session")?;
        Ok(())
    }

    /// Ends in the books what a node left open when it went down hard.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn close_sessions(&self, node: &str) -> Result<u64, RegistryError> {
        let done = operator_session::Entity::update_many()
            .col_expr(
                operator_session::Column::EndedAt,
                Expr::value(Timestamp::now().0),
            )
            .col_expr(operator_session::Column::Ending, Expr::value("node lost"))
            .filter(operator_session::Column::Node.eq(node))
            .filter(operator_session::Column::EndedAt.is_null())
            .exec(&self.store.write)
            .await
            .attempt("close sessions")?;
        Ok(done.rows_affected)
    }

    /// Sessions of an account, newest first, at most 1000, and how many there are in all.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn sessions_of(
        &self,
        account: AccountId,
        filter: &SessionFilter,
    ) -> Result<(Vec<OperatorSession>, u64), RegistryError> {
        let total = chosen(account, filter)
            .count(&self.store.read)
            .await
            .attempt("count sessions")?;
        let rows = chosen(account, filter)
            .order_by_desc(operator_session::Column::BeganAt)
            .order_by_desc(operator_session::Column::Id)
            .limit(filter.limit.min(MAX_LISTED))
            .offset(filter.offset)
            .all(&self.store.read)
            .await
            .attempt("list sessions")?;
        Ok((rows.into_iter().map(OperatorSession::from).collect(), total))
    }

    /// One session of an account.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_of(
        &self,
        account: AccountId,
        id: Uuid,
    ) -> Result<Option<OperatorSession>, RegistryError> {
        let row = operator_session::Entity::find_by_id(id)
            .filter(operator_session::Column::AccountId.eq(account.0))
            .one(&self.store.read)
            .await
            .attempt("read session")?;
        Ok(row.map(OperatorSession::from))
    }

    /// Removes up to 1000 sessions that ended before that time, and gives for each the name of its recording, if it
    /// has one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forget_sessions(
        &self,
        before: Timestamp,
    ) -> Result<Vec<Option<String>>, RegistryError> {
        let old = operator_session::Entity::find()
            .filter(operator_session::Column::EndedAt.lt(before.0))
            .limit(MAX_LISTED)
            .all(&self.store.read)
            .await
            .attempt("look for old sessions")?;
        if old.is_empty() {
            return Ok(Vec::new());
        }
        operator_session::Entity::delete_many()
            .filter(operator_session::Column::Id.is_in(old.iter().map(|row| row.id)))
            .exec(&self.store.write)
            .await
            .attempt("forget sessions")?;
        Ok(old.into_iter().map(|row| row.recording_file).collect())
    }
}

fn chosen(account: AccountId, filter: &SessionFilter) -> Select<operator_session::Entity> {
    let mut query =
        operator_session::Entity::find().filter(operator_session::Column::AccountId.eq(account.0));
    if let Some(user) = filter.user {
        query = query.filter(operator_session::Column::UserId.eq(user.0));
    }
    if let Some(username) = &filter.username {
        query = query.filter(operator_session::Column::Username.eq(username));
    }
    if let Some(since) = filter.since {
        query = query.filter(operator_session::Column::BeganAt.gte(since.0));
    }
    if filter.open_only {
        query = query.filter(operator_session::Column::EndedAt.is_null());
    }
    if let Some(device) = filter.device {
        query = query.filter(operator_session::Column::DeviceId.eq(device.0));
    }
    if let Some(host) = filter.host {
        query = query.filter(operator_session::Column::HostId.eq(host.0));
    }
    query
}

impl From<operator_session::Model> for OperatorSession {
    fn from(row: operator_session::Model) -> Self {
        Self {
            id: row.id,
            account: AccountId(row.account_id),
            user: UserId(row.user_id),
            username: row.username,
            device: row.device_id.map(DeviceId),
            host: row.host_id.map(HostId),
            target: row.target,
            way_in: row.way_in,
            node: row.node,
            peer: row.peer,
            began_at: Timestamp(row.began_at),
            ended_at: row.ended_at.map(Timestamp),
            received_bytes: row.received_bytes.unsigned_abs(),
            sent_bytes: row.sent_bytes.unsigned_abs(),
            ending: row.ending,
            recording_file: row.recording_file,
        }
    }
}
