//! `/v1/admin/hosts`: users' machines (control contract section 8).
//!
//! | module | holds |
//! |---|---|
//! | [`shown`] | the list, and the sheet of one |
//! | [`create`] | what a new host shall be, checked |
//! | [`connection`] | how a host is reached |
//! | [`own`] | `/v1/user/hosts`: what users see of their hosts |

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::audit::{self, Deed};
use super::path::Path;
use crate::api::Api;
use crate::random;
use crate::registry::error::{DeleteHostError, QueueTaskError};
use crate::registry::model::{self, AccountId, Host, HostId, HostKind, Removal, Task, TaskKind};

mod connection;
pub(super) mod create;
pub(super) mod own;
pub(super) mod shown;

use connection::ConnectionInfo;

/// For a host that there is not, and for one of another account.
pub(super) const NOT_FOUND: Refusal = Refusal::not_found("host not found");
/// Status text in answers to work that is queued.
pub(super) const ACCEPTED: &str = "202 Accepted";
const QUEUE_FAILED: Refusal =
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "queue action failed");

/// Answer to an action.
#[derive(Serialize)]
pub(super) struct Queued {
    task_id: String,
    status: &'static str,
}

impl From<&Task> for Queued {
    fn from(task: &Task) -> Self {
        Self {
            task_id: task.id.to_string(),
            status: ACCEPTED,
        }
    }
}

#[derive(Serialize)]
struct NewPassword<'a> {
    new_password: &'a str,
}

#[derive(Serialize)]
struct Deleted {
    status: &'static str,
}

#[derive(Deserialize)]
pub(super) struct Force {
    force: Option<String>,
}

/// Body of `PATCH`; absent members stay.
#[derive(Default, Deserialize)]
pub(super) struct PolicyChange {
    recording_required: Option<bool>,
    direct_tcpip_allowed: Option<bool>,
}

#[derive(Serialize)]
struct Policy {
    host_id: String,
    recording_required: bool,
    direct_tcpip_allowed: bool,
}

pub(super) async fn start(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    act(&api, &operator, &id, TaskKind::StartHost, "start").await
}

pub(super) async fn stop(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    act(&api, &operator, &id, TaskKind::StopHost, "stop").await
}

pub(super) async fn rebuild(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    act(&api, &operator, &id, TaskKind::RebuildHost, "rebuild").await
}

async fn act(
    api: &Api,
    operator: &Operator,
    id: &str,
    kind: TaskKind,
    action: &'static str,
) -> Result<Response, Refusal> {
    let host = find(api, operator.0.account, id).await?;
    let task = queue(api, &host, kind, "admin".to_owned()).await?;
    let deed = deed("admin.host.action", &host, format!("asked to {action}"))
        .with("action", action)
        .with("task_id", task.id.to_string());
    audit::note(api, operator, deed).await;
    Ok(json(StatusCode::ACCEPTED, &Queued::from(&task)))
}

/// Queues an action and has it looked at.
pub(super) async fn queue(
    api: &Api,
    host: &Host,
    kind: TaskKind,
    requested_by: String,
) -> Result<Task, Refusal> {
    let queued = api.registry().queue_task(host.id, kind, requested_by).await;
    let task = queued.map_err(|error| match error {
        QueueTaskError::UnknownHost => NOT_FOUND,
        QueueTaskError::Full | QueueTaskError::Registry(_) => {
            tracing::warn!(%error, host = %host.short_id, "queue action");
            QUEUE_FAILED
        }
    })?;
    api.0.parts.hosts.task_queued();
    Ok(task)
}

pub(super) async fn rotate_password(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let host = find(&api, operator.0.account, &id).await?;
    let password = Secret::new(random::entry_password());
    let hash = api.0.parts.passwords.hash(password.clone()).await?;
    if !api.registry().set_entry_password(host.id, hash).await? {
        return Err(NOT_FOUND);
    }
    api.0.parts.hosts.changed();
    let verb = "got another entry password".to_owned();
    audit::note(
        &api,
        &operator,
        deed("admin.host.ssh_password_rotated", &host, verb),
    )
    .await;
    let new_password = password.expose();
    Ok(json(StatusCode::OK, &NewPassword { new_password }))
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
    force: Result<Query<Force>, QueryRejection>,
) -> Result<Response, Refusal> {
    let id = Uuid::try_parse(&id).map_err(|_| NOT_FOUND)?;
    let asked = force.ok().and_then(|Query(force)| force.force);
    let forced = asked.is_some_and(|text| text == "true" || text == "1");
    let removal = if forced {
        Removal::Forced
    } else {
        Removal::IfNotRunning
    };
    let gone = api
        .registry()
        .delete_host(operator.0.account, HostId(id), removal)
        .await;
    let host = gone.map_err(|error| match error {
        DeleteHostError::Unknown => NOT_FOUND,
        DeleteHostError::Running => {
            Refusal::conflict("host is running, stop it first or use force=true")
        }
        DeleteHostError::Registry(error) => error.into(),
    })?;
    api.0.parts.hosts.changed();
    if let Some(device) = host.device {
        api.ways_changed(device).await;
    }
    let deed = deed("admin.host.delete", &host, "deleted".to_owned()).with("force", forced);
    audit::note(&api, &operator, deed).await;
    let deleted = Deleted { status: "deleted" };
    Ok(json(StatusCode::OK, &deleted))
}

/// What may be done with the sessions of a host (an extension of the contract).
pub(super) async fn set_policy(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
    Json(change): Json<PolicyChange>,
) -> Result<Response, Refusal> {
    let host = find(&api, operator.0.account, &id).await?;
    let named = model::PolicyChange {
        recording_required: change.recording_required,
        direct_tcpip_allowed: change.direct_tcpip_allowed,
    };
    if !api.registry().set_host_policy(host.id, named).await? {
        return Err(NOT_FOUND);
    }
    if let Some(device) = host.device {
        api.ways_changed(device).await;
    }
    let host = api.registry().host(host.id).await?.ok_or(NOT_FOUND)?;
    let policy = host.policy;
    let deed = deed("admin.host.policy", &host, "got another policy".to_owned())
        .with("recording_required", policy.recording_required)
        .with("direct_tcpip_allowed", policy.direct_tcpip_allowed);
    audit::note(&api, &operator, deed).await;
    let policy = Policy {
        host_id: host.id.to_string(),
        recording_required: policy.recording_required,
        direct_tcpip_allowed: policy.direct_tcpip_allowed,
    };
    Ok(json(StatusCode::OK, &policy))
}

/// Something done to a host.
pub(super) fn deed(kind: &'static str, host: &Host, verb: String) -> Deed {
    Deed {
        kind,
        user: Some(host.user),
        host: Some(host.id),
        task: None,
        message: format!("host {} {verb}", host.short_id),
        metadata: json!({
            "user_id": host.user.to_string(),
            "host_id": host.id.to_string(),
        }),
    }
}

/// A host of the account; another account's answers like one that does not exist.
pub(super) async fn find(api: &Api, account: AccountId, id: &str) -> Result<Host, Refusal> {
    let id = Uuid::try_parse(id).map_err(|_| NOT_FOUND)?;
    let host = api.registry().host(HostId(id)).await?;
    host.filter(|host| host.account == account).ok_or(NOT_FOUND)
}

/// Whether a host is a device.
fn is_device(host: &Host) -> bool {
    host.kind == HostKind::Device
}
