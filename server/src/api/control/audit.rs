//! What is written into the audit of what people do here (control contract section 10).

use serde_json::{Value, json};

use super::access::Operator;
use crate::api::Api;
use crate::registry::model::{AccountId, HostId, NewEvent, TaskId, UserId};

/// Something that was done.
pub(super) struct Deed {
    /// `admin.user.created` ….
    pub(super) kind: &'static str,
    /// The user it was done to.
    pub(super) user: Option<UserId>,
    /// The host it was done to.
    pub(super) host: Option<HostId>,
    /// The task that does it.
    pub(super) task: Option<TaskId>,
    /// For a person.
    pub(super) message: String,
    /// JSON object, without `operator`.
    pub(super) metadata: Value,
}

impl Deed {
    /// Something done to a user.
    pub(super) fn to_user(kind: &'static str, user: UserId, username: &str, verb: &str) -> Self {
        Self {
            kind,
            user: Some(user),
            host: None,
            task: None,
            message: format!("user {username} {verb}"),
            metadata: json!({ "username": username }),
        }
    }

    /// Adds a member to the metadata.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(object) = self.metadata.as_object_mut() {
            object.insert(name.to_owned(), value.into());
        }
        self
    }
}

/// Writes down what an administrator did. What was done stays done when that fails.
pub(super) async fn note(api: &Api, by: &Operator, deed: Deed) {
    let deed = deed
        .with("operator", "admin")
        .with("by", by.0.username.as_str());
    write(api, by.0.account, deed).await;
}

/// Writes down what was done in an account.
pub(super) async fn write(api: &Api, account: AccountId, deed: Deed) {
    let event = NewEvent {
        account: Some(account),
        device: None,
        user: deed.user,
        host: deed.host,
        task: deed.task,
        level: level(deed.kind),
        kind: deed.kind,
        message: deed.message,
        metadata: deed.metadata,
    };
    if let Err(error) = api.registry().record_event(event).await {
        tracing::warn!(%error, kind = deed.kind, "record event");
    }
}

fn level(kind: &str) -> &'static str {
    match kind {
        "auth.failed" | "admin.host.delete" => "warn",
        _ => "info",
    }
}
