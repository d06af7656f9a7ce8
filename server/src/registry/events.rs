//! The audit: what happened to whom.

use std::collections::HashSet;

use sea_orm::{ActiveValue, ColumnTrait as _, EntityTrait, PaginatorTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _, Select};

use uuid::{Builder, Uuid};

use super::Registry;
use super::entity::{event, host, task, user};
use super::error::{Attempt as _, RegistryError};
use super::model::{
    AccountId, DeviceId, Event, EventFilter, EventPage, HostId, NewEvent, TaskId, Timestamp, UserId,
};
use crate::master_key::LastingKey;

/// Most events that are listed at once.
const MAX_LISTED: u64 = 1000;

impl Registry {
    /// Writes an entry.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn record_event(&self, new: NewEvent) -> Result<(), RegistryError> {
        event::Entity::insert(event_row(new, Timestamp::now()))
            .exec_without_returning(&self.store.write)
            .await
            .attempt("record event")?;
        Ok(())
    }

    /// Lists entries, newest first, at most 1000.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn events(&self, filter: EventFilter) -> Result<Vec<Event>, RegistryError> {
        let rows = chosen(&filter)
            .order_by_desc(event::Column::At)
            .order_by_desc(event::Column::Id)
            .offset(filter.offset)
            .limit(filter.limit.min(MAX_LISTED))
            .all(&self.store.read)
            .await
            .attempt("list events")?;
        rows.into_iter().map(|row| self.event(row)).collect()
    }

    /// A page of entries, newest first, at most 1000, with users, hosts and tasks named that still exist.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn event_page(&self, filter: EventFilter) -> Result<EventPage, RegistryError> {
        let total = chosen(&filter)
            .count(&self.store.read)
            .await
            .attempt("count events")?;
        let mut events = self.events(filter).await?;
        let users = events.iter().filter_map(|event| Some(event.user?.0));
        let users = self
            .existing::<user::Entity>(user::Column::Id, users)
            .await?;
        let hosts = events.iter().filter_map(|event| Some(event.host?.0));
        let hosts = self
            .existing::<host::Entity>(host::Column::Id, hosts)
            .await?;
        let tasks = events.iter().filter_map(|event| Some(event.task?.0));
        let tasks = self
            .existing::<task::Entity>(task::Column::Id, tasks)
            .await?;
        for event in &mut events {
            event.user = event.user.filter(|id| users.contains(&id.0));
            event.host = event.host.filter(|id| hosts.contains(&id.0));
            event.task = event.task.filter(|id| tasks.contains(&id.0));
        }
        Ok(EventPage { events, total })
    }

    /// Those of `ids` that a table has.
    async fn existing<E: EntityTrait>(
        &self,
        column: E::Column,
        ids: impl Iterator<Item = Uuid> + Send,
    ) -> Result<HashSet<Uuid>, RegistryError> {
        let ids: HashSet<Uuid> = ids.collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let found: Vec<Uuid> = E::find()
            .select_only()
            .column(column)
            .filter(column.is_in(ids))
            .into_tuple()
            .all(&self.store.read)
            .await
            .attempt("look up what events name")?;
        Ok(found.into_iter().collect())
    }

    /// Kind of the latest entry about a task.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn latest_event_of_task(
        &self,
        task: TaskId,
    ) -> Result<Option<String>, RegistryError> {
        event::Entity::find()
            .select_only()
            .column(event::Column::Kind)
            .filter(event::Column::TaskId.eq(task.0))
            .order_by_desc(event::Column::Id)
            .limit(1)
            .into_tuple()
            .one(&self.store.read)
            .await
            .attempt("read latest event of task")
    }

    /// Removes the entries from before that time, and tells how many. Entries go only by this.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forget_events(&self, before: Timestamp) -> Result<u64, RegistryError> {
        let done = event::Entity::delete_many()
            .filter(event::Column::At.lt(before.0))
            .exec(&self.store.write)
            .await
            .attempt("forget events")?;
        Ok(done.rows_affected)
    }
}

/// The id of an entry on the wire, a UUID of version 4: it costs no column and no index.
fn event_uuid(keys: &LastingKey, number: i64) -> Uuid {
    let hash = keys.keyed_hash("event id", &number.to_be_bytes());
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash) {
        *byte = hashed;
    }
    Builder::from_random_bytes(bytes).into_uuid()
}

/// The row of an entry.
pub(super) fn event_row(new: NewEvent, at: Timestamp) -> event::ActiveModel {
    event::ActiveModel {
        id: ActiveValue::NotSet,
        at: ActiveValue::Set(at.0),
        account_id: ActiveValue::Set(new.account.map(|account| account.0)),
        device_id: ActiveValue::Set(new.device.map(|device| device.0)),
        user_id: ActiveValue::Set(new.user.map(|user| user.0)),
        host_id: ActiveValue::Set(new.host.map(|host| host.0)),
        task_id: ActiveValue::Set(new.task.map(|task| task.0)),
        level: ActiveValue::Set(new.level.to_owned()),
        kind: ActiveValue::Set(new.kind.to_owned()),
        message: ActiveValue::Set(new.message),
        metadata: ActiveValue::Set(new.metadata.to_string()),
    }
}

fn chosen(filter: &EventFilter) -> Select<event::Entity> {
    let ids = [
        (event::Column::DeviceId, filter.device.map(|id| id.0)),
        (event::Column::UserId, filter.user.map(|id| id.0)),
        (event::Column::HostId, filter.host.map(|id| id.0)),
    ];
    let mut query = event::Entity::find();
    if let Some(account) = filter.account {
        query = query.filter(event::Column::AccountId.eq(account.0));
    }
    for (column, id) in ids {
        if let Some(id) = id {
            query = query.filter(column.eq(id));
        }
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(event::Column::Kind.eq(kind.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(event::Column::At.gte(since.0));
    }
    if let Some(until) = filter.until {
        query = query.filter(event::Column::At.lte(until.0));
    }
    if let Some(before) = filter.before {
        query = query.filter(event::Column::Id.lt(before));
    }
    query
}

impl Registry {
    fn event(&self, row: event::Model) -> Result<Event, RegistryError> {
        Ok(Event {
            uuid: event_uuid(&self.store.lasting, row.id),
            metadata: serde_json::from_str(&row.metadata).map_err(|_| RegistryError::Damaged {
                column: "events.metadata",
            })?,
            id: row.id,
            at: Timestamp(row.at),
            account: row.account_id.map(AccountId),
            device: row.device_id.map(DeviceId),
            user: row.user_id.map(UserId),
            host: row.host_id.map(HostId),
            task: row.task_id.map(TaskId),
            level: row.level,
            kind: row.kind,
            message: row.message,
        })
    }
}
