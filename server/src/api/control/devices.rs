//! `/v1/admin/devices`: what operators see of devices and change (`moorline_protocol::operator`).

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::operator::{
    DeviceChange, DeviceEnvelope, DeviceInfo, DeviceList, DeviceState, ForwardInfo, TunnelInfo,
};
use serde::Deserialize;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use crate::api::Api;
use crate::api::provisioning::parameters::is_name;
use crate::registry::error::RenameError;
use crate::registry::model::{AccessPolicy, Device, DeviceFilter, DeviceId, NewEvent, User};
use crate::tunnels::{Cut, TunnelStatus};

/// Devices in a page unless asked for fewer or more.
const DEFAULT_LIMIT: u64 = 1000;
const MAX_LIMIT: u64 = 10_000;
/// Highest limit of new connections per minute and visitor.
const MAX_CONNECTIONS: u32 = 10_000;
const NOT_FOUND: Refusal = Refusal::not_found("device not found");

#[derive(Deserialize)]
pub(super) struct Page {
    prefix: Option<String>,
    limit: Option<u64>,
    offset: Option<u64>,
}

pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(page) = page.map_err(|_| Refusal::bad("limit and offset must be numbers"))?;
    let account = operator.0.account;
    let prefix = page.prefix.filter(|prefix| !prefix.is_empty());
    let total = api
        .registry()
        .count_devices(account, prefix.as_deref())
        .await?;
    let filter = DeviceFilter {
        prefix,
        ids: None,
        limit: Some(page.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)),
        offset: page.offset.unwrap_or(0).min(i64::MAX.unsigned_abs()),
    };
    let devices = api.registry().devices(account, filter).await?;
    let hosts = hosts(&api).await?;
    let devices = devices
        .iter()
        .map(|device| info(&api, &hosts, device))
        .collect();
    Ok(json(StatusCode::OK, &DeviceList { devices, total }))
}

pub(super) async fn show(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    envelope(&api, &device).await
}

pub(super) async fn change(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
    Json(change): Json<DeviceChange>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    if change
        .max_connections_per_minute
        .is_some_and(|limit| limit > MAX_CONNECTIONS)
    {
        let text = "max_connections_per_minute must be a number from 0 to 10000";
        return Err(Refusal::bad(text));
    }
    if let Some(name) = change.name.filter(|name| *name != device.name) {
        rename(&api, &device, &name).await?;
        let metadata = serde_json::json!({"old_name": device.name, "new_name": name});
        record(&api, &operator.0, &device, "device.renamed", metadata).await;
    }
    if let Some(state) = change.state.filter(|state| *state != device.state) {
        set_state(&api, &device, state).await?;
        let metadata = serde_json::json!({"name": device.name, "state": state.as_str()});
        record(&api, &operator.0, &device, "device.state", metadata).await;
    }
    if let Some(limit) = change.max_connections_per_minute {
        if !api.registry().set_max_connections(device.id, limit).await? {
            return Err(NOT_FOUND);
        }
        // Ports that are open take it over at once.
        api.ports()
            .change(device.id, |rules| rules.max_connections_per_minute = limit);
        let metadata =
            serde_json::json!({"name": device.name, "max_connections_per_minute": limit});
        record(&api, &operator.0, &device, "device.settings", metadata).await;
    }
    let policy = AccessPolicy {
        recording_required: change
            .recording_required
            .unwrap_or(device.policy.recording_required),
        direct_tcpip_allowed: change
            .direct_tcpip_allowed
            .unwrap_or(device.policy.direct_tcpip_allowed),
    };
    if policy != device.policy {
        set_policy(&api, &operator.0, &device, policy).await?;
    }
    let device = api.registry().device(device.id).await?.ok_or(NOT_FOUND)?;
    envelope(&api, &device).await
}

async fn set_policy(
    api: &Api,
    operator: &User,
    device: &Device,
    policy: AccessPolicy,
) -> Result<(), Refusal> {
    if !api.registry().set_device_policy(device.id, policy).await? {
        return Err(NOT_FOUND);
    }
    let metadata = serde_json::json!({
        "name": device.name,
        "recording_required": policy.recording_required,
        "direct_tcpip_allowed": policy.direct_tcpip_allowed,
    });
    record(api, operator, device, "device.policy", metadata).await;
    Ok(())
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    if !api
        .registry()
        .delete_device(device.account, device.id)
        .await?
    {
        return Err(NOT_FOUND);
    }
    cut(&api, &device, Cut::Deleted).await;
    let metadata = serde_json::json!({"name": device.name});
    record(&api, &operator.0, &device, "device.deleted", metadata).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn rename(api: &Api, device: &Device, name: &str) -> Result<(), Refusal> {
    if !is_name(name, 64) {
        let text = "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -";
        return Err(Refusal::bad(text));
    }
    let renamed = api.registry().rename_device(device.id, name).await;
    renamed.map_err(|error| match error {
        RenameError::NameTaken => Refusal::conflict("name is already in use"),
        RenameError::UnknownDevice => NOT_FOUND,
        RenameError::Registry(error) => error.into(),
    })
}

async fn set_state(api: &Api, device: &Device, state: DeviceState) -> Result<(), Refusal> {
    if !api.registry().set_state(device.id, state).await? {
        return Err(NOT_FOUND);
    }
    match state {
        DeviceState::Active => {}
        DeviceState::Blocked => cut(api, device, Cut::Blocked).await,
        DeviceState::Inactive => cut(api, device, Cut::Inactive).await,
    }
    Ok(())
}

async fn cut(api: &Api, device: &Device, cut: Cut) {
    if !api.tunnels().cut(device.id, cut).await {
        tracing::warn!(device = %device.id, reason = cut.reason(), "tunnel still there after cut");
    }
}

/// A device of the operator's account by UUID or name; another account's answers like one that does not exist.
async fn find(api: &Api, operator: &User, name: &str) -> Result<Device, Refusal> {
    let account = operator.account;
    if let Ok(id) = Uuid::try_parse(name) {
        let device = api.registry().device(DeviceId(id)).await?;
        if let Some(device) = device.filter(|device| device.account == account) {
            return Ok(device);
        }
    }
    let device = api.registry().device_by_name(account, name).await?;
    device.ok_or(NOT_FOUND)
}

async fn envelope(api: &Api, device: &Device) -> Result<Response, Refusal> {
    let device = info(api, &hosts(api).await?, device);
    Ok(json(StatusCode::OK, &DeviceEnvelope { device }))
}

/// Public DNS names by region.
async fn hosts(api: &Api) -> Result<HashMap<String, String>, Refusal> {
    let nodes = api.registry().nodes().await?;
    Ok(nodes
        .into_iter()
        .map(|node| (node.name, node.public_host))
        .collect())
}

fn info(api: &Api, hosts: &HashMap<String, String>, device: &Device) -> DeviceInfo {
    let tunnel = api.tunnels().status(device.id);
    let online = tunnel.as_ref().is_some_and(|tunnel| tunnel.active);
    let last_sign = tunnel.as_ref().map(|tunnel| tunnel.last_sign);
    let forwards = device.forwards.iter().map(|forward| ForwardInfo {
        id: forward.id.0,
        device_port: forward.device_port,
        public_port: forward.public_port,
        server: hosts.get(&forward.node).cloned().unwrap_or_default(),
        bytes: api.ports().traffic().bytes(forward.id),
    });
    DeviceInfo {
        id: device.id.to_string(),
        number: device.number,
        name: device.name.clone(),
        state: device.state,
        online,
        offline_reason: (!online).then(|| offline_reason(device, tunnel.as_ref())),
        wanted_open: device.wanted == crate::registry::model::Wanted::Open,
        tunnel: tunnel.map(tunnel_info),
        node: device.region.clone(),
        username: device.username.clone(),
        hostname: device.hostname.clone(),
        hardware: hardware(device.hardware.as_deref()),
        fingerprint: device
            .public_key
            .as_ref()
            .map(|key| key.fingerprint.clone()),
        forwards: forwards.collect(),
        max_connections_per_minute: device.max_connections_per_minute,
        recording_required: device.policy.recording_required,
        direct_tcpip_allowed: device.policy.direct_tcpip_allowed,
        created_at: device.created_at.to_rfc3339(),
        last_seen_at: last_sign.max(device.last_seen_at).map(|at| at.to_rfc3339()),
    }
}

fn offline_reason(device: &Device, tunnel: Option<&TunnelStatus>) -> String {
    match (device.state, tunnel, &device.last_end, device.last_seen_at) {
        (DeviceState::Blocked, ..) => "blocked".into(),
        (DeviceState::Inactive, ..) => "inactive".into(),
        (_, Some(_), ..) => "does not answer".into(),
        (_, None, Some(end), _) => end.clone(),
        (_, None, None, None) => "never seen".into(),
        // The end of its last tunnel was not written down: the server itself went down hard.
        (_, None, None, Some(_)) => "node lost".into(),
    }
}

fn tunnel_info(tunnel: TunnelStatus) -> TunnelInfo {
    TunnelInfo {
        generation: tunnel.generation,
        peer: tunnel.peer.to_string(),
        connected_at: tunnel.connected_at.to_rfc3339(),
        round_trip_millis: tunnel
            .round_trip
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        client: tunnel.client,
    }
}

fn hardware(text: Option<&str>) -> BTreeMap<String, String> {
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    let object: serde_json::Map<String, serde_json::Value> = parsed.unwrap_or_default();
    let as_text = |value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    object
        .into_iter()
        .map(|(name, value)| (name, as_text(value)))
        .collect()
}

async fn record(
    api: &Api,
    operator: &User,
    device: &Device,
    kind: &'static str,
    mut metadata: serde_json::Value,
) {
    if let Some(object) = metadata.as_object_mut() {
        object.insert("operator".into(), operator.username.clone().into());
    }
    let event = NewEvent {
        account: Some(device.account),
        device: Some(device.id),
        user: Some(operator.id),
        host: None,
        task: None,
        level: "info",
        kind,
        message: format!("{} by {}", kind, operator.username),
        metadata,
    };
    if let Err(error) = api.registry().record_event(event).await {
        tracing::warn!(%error, kind, "record event");
    }
}
