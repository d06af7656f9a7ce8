//! The audit (control contract section 10).

use uuid::Uuid;

use super::{AccountId, DeviceId, HostId, TaskId, Timestamp, UserId};

/// An entry of the audit.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Whose.
    pub account: Option<AccountId>,
    /// Which device.
    pub device: Option<DeviceId>,
    /// Which user.
    pub user: Option<UserId>,
    /// Which host.
    pub host: Option<HostId>,
    /// Which task.
    pub task: Option<TaskId>,
    /// `info`, `warn` or `error`.
    pub level: &'static str,
    /// `device.created`, `auth.failed` ….
    pub kind: &'static str,
    /// For a person.
    pub message: String,
    /// JSON object; never a secret.
    pub metadata: serde_json::Value,
}

/// An entry of the audit as it is kept.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number, counts up.
    pub id: i64,
    /// The id on the wire; follows from the number.
    pub uuid: Uuid,
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub account: Option<AccountId>,
    /// Which device.
    pub device: Option<DeviceId>,
    /// Which user.
    pub user: Option<UserId>,
    /// Which host.
    pub host: Option<HostId>,
    /// Which task.
    pub task: Option<TaskId>,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// `device.created`, `auth.failed` ….
    pub kind: String,
    /// For a person.
    pub message: String,
    /// JSON object.
    pub metadata: serde_json::Value,
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this account only.
    pub account: Option<AccountId>,
    /// Of this device only.
    pub device: Option<DeviceId>,
    /// Of this kind only.
    pub kind: Option<String>,
    /// Of this user only.
    pub user: Option<UserId>,
    /// Of this host only.
    pub host: Option<HostId>,
    /// Not older than that.
    pub since: Option<Timestamp>,
    /// Not newer than that.
    pub until: Option<Timestamp>,
    /// Only events with a smaller number: the next page.
    pub before: Option<i64>,
    /// How many to leave out first.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

/// A page of events.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The page, newest first. What an event names and is gone is left out.
    pub events: Vec<Event>,
    /// How many there are in all.
    pub total: u64,
}
