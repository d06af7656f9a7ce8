//! JSON of users' machines and the work on them (control contract sections 8, 9 and 11).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A host, as lists have it: that of administrators, or that of their users with fewer members.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct HostInfo {
    /// UUID.
    pub(crate) id: String,
    /// What ssh calls it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) short_id: String,
    /// `container` or `device`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// `pending`, `running`, `stopped`, `failed`.
    pub(crate) status: String,
    /// Of a device its name.
    #[serde(default)]
    pub(crate) hostname: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) updated_at: String,
    /// Everything else there is of it.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// Hosts.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct HostList {
    /// The hosts.
    pub(crate) hosts: Vec<HostInfo>,
}

/// A host that was just made. It is there to be printed.
#[derive(Deserialize, Serialize)]
pub(crate) struct NewHost {
    /// The task that makes it.
    pub(crate) task_id: String,
    /// What ssh calls it.
    pub(crate) short_id: String,
    /// Shown this once.
    pub(crate) entry_password: String,
    /// The host, and everything else.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// Answer to work that is queued.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct QueuedTask {
    /// UUID.
    pub(crate) task_id: String,
}

/// Work on a host.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TaskInfo {
    /// UUID.
    pub(crate) task_id: String,
    /// Of the host, unless that is gone.
    pub(crate) host_id: Option<String>,
    /// `create_host`, `start_host` ….
    pub(crate) kind: String,
    /// `pending`, `running`, `succeeded`, `failed`, `canceled`.
    pub(crate) status: String,
    /// `admin`, a user's UUID, `bootstrap:<username>`, `system:expiry`.
    #[serde(default)]
    pub(crate) requested_by: String,
    /// Empty unless it failed.
    #[serde(default)]
    pub(crate) error_code: String,
    /// Empty unless it failed.
    #[serde(default)]
    pub(crate) error_message: String,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) created_at: String,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) updated_at: String,
    /// Everything else there is of it.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl TaskInfo {
    /// Whether nothing more will become of it.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "running")
    }
}

/// The latest tasks of the account, last changed first.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TaskList {
    /// The tasks.
    pub(crate) tasks: Vec<TaskInfo>,
}
