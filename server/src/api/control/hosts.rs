//! `/v1/admin/hosts`: users' machines (control contract section 8).
//!
//! | module | holds |
//! |---|---|
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
use super::egress_ips::EgressIpInfo;
use super::host_info::HostInfo;
use super::origin::Origin;
use super::path::Path;
use super::users::UserInfo;
use crate::api::Api;
use crate::random;
use crate::registry::HostsOf;
use crate::registry::error::{DeleteHostError, QueueTaskError};
use crate::registry::model::{
    self, AccountId, Device, Host, HostId, HostKind, HostView, Removal, Task, TaskKind,
};

mod connection;
pub(super) mod create;
pub(super) mod own;

use connection::ConnectionInfo;

/// For a host that there is not, and for one of another account.
pub(super) const NOT_FOUND: Refusal = Refusal::not_found("host not found");
/// Status text in answers to work that is queued.
pub(super) const ACCEPTED: &str = "202 Accepted";
const QUEUE_FAILED: Refusal =
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "queue action failed");

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    host: HostInfo,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress_ip_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress_ip_address: Option<String>,
    docker_status: &'static str,
}

#[derive(Serialize)]
struct List {
    hosts: Vec<Listed>,
}

#[derive(Serialize)]
struct Sheet {
    host: HostInfo,
    user: UserInfo,
    bindings: Vec<BoundEgress>,
    connection_info: ConnectionInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceInfo>,
}

#[derive(Serialize)]
struct BoundEgress {
    binding_id: String,
    egress_ip: EgressIpInfo,
    created_at: String,
}

#[derive(Serialize)]
struct DeviceInfo {
    client_id: String,
    name: String,
    hostname: String,
    connected: bool,
    hardware: serde_json::Value,
    forwards: Vec<ForwardInfo>,
}

#[derive(Serialize)]
struct ForwardInfo {
    local_port: u16,
    public_port: u16,
    node: String,
}

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

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let of = HostsOf::Account(operator.0.account);
    let views = api.registry().host_views(of).await?;
    let hosts = views.into_iter().map(|view| listed(&api, view)).collect();
    Ok(json(StatusCode::OK, &List { hosts }))
}

fn listed(api: &Api, view: HostView) -> Listed {
    Listed {
        docker_status: docker_status(api, &view.host),
        host: HostInfo::new(view.host, view.device_name),
        username: view.username,
        egress_ip_label: view.egress_label,
        egress_ip_address: view.egress_address,
    }
}

/// What an engine would say of the container; for a device by its tunnel.
fn docker_status(api: &Api, host: &Host) -> &'static str {
    let Some(device) = host.device else {
        return "not found";
    };
    let tunnel = api.tunnels().status(device);
    if tunnel.is_some_and(|tunnel| tunnel.open) {
        "running"
    } else {
        "exited"
    }
}

pub(super) async fn show(
    State(api): State<Api>,
    operator: Operator,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let host = find(&api, operator.0.account, &id).await?;
    let user = api.registry().user(host.user).await?.ok_or(NOT_FOUND)?;
    let device = match host.device {
        Some(id) => api.registry().device(id).await?,
        None => None,
    };
    let device = device.filter(|device| device.account == host.account);
    let name = device.as_ref().map(|device| device.name.clone());
    let sheet = Sheet {
        bindings: bindings(&api, &host).await?,
        connection_info: ConnectionInfo::new(&api, &origin, &host, "admin"),
        device: device.map(|device| device_info(&api, device)),
        host: HostInfo::new(host, name),
        user: user.into(),
    };
    Ok(json(StatusCode::OK, &sheet))
}

async fn bindings(api: &Api, host: &Host) -> Result<Vec<BoundEgress>, Refusal> {
    let mut shown = Vec::new();
    for binding in api.registry().bindings_of(host.id).await? {
        let egress = api
            .registry()
            .egress_ip(host.account, binding.egress_ip)
            .await?;
        if let Some(egress) = egress {
            shown.push(BoundEgress {
                binding_id: binding.id.to_string(),
                egress_ip: egress.into(),
                created_at: binding.created_at.to_rfc3339(),
            });
        }
    }
    Ok(shown)
}

fn device_info(api: &Api, device: Device) -> DeviceInfo {
    let hardware = device.hardware.as_deref();
    let tunnel = api.tunnels().status(device.id);
    DeviceInfo {
        client_id: device.id.to_string(),
        connected: tunnel.is_some_and(|tunnel| tunnel.active),
        hardware: hardware
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_else(|| json!({})),
        hostname: device.hostname.unwrap_or_default(),
        name: device.name,
        forwards: device
            .forwards
            .into_iter()
            .map(|forward| ForwardInfo {
                local_port: forward.device_port,
                public_port: forward.public_port,
                node: forward.node,
            })
            .collect(),
    }
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
