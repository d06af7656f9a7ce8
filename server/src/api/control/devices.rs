//! `/v1/admin/devices`: what operators see of devices and change (`moorline_protocol::operator`).

use std::collections::{BTreeMap, HashMap};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::operator::{
    DeviceChange, DeviceEnvelope, DeviceInfo, DeviceList, DeviceState, ForwardInfo, TunnelInfo,
};
use serde::Deserialize;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::path::Path;
use crate::api::Api;
use crate::api::device_changes::Actor;
use crate::api::provisioning::parameters::is_name;
use crate::registry::error::RenameError;
use crate::registry::model::{Device, DeviceFilter, DeviceId, Forward, Node, PolicyChange, User};
use crate::tunnels::TunnelStatus;

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
    // No database keeps a NUL: no name begins so.
    if prefix
        .as_deref()
        .is_some_and(|prefix| prefix.contains('\0'))
    {
        let (devices, total) = (Vec::new(), 0);
        return Ok(json(StatusCode::OK, &DeviceList { devices, total }));
    }
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
    let nodes = nodes(&api).await?;
    let devices = devices
        .iter()
        .map(|device| info(&api, &nodes, device))
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
    let actor = Actor::Operator(&operator.0);
    if let Some(name) = change.name.filter(|name| *name != device.name) {
        rename(&api, &device, &name, actor).await?;
    }
    if let Some(state) = change.state.filter(|state| *state != device.state) {
        there(api.set_device_state(&device, state, actor).await?)?;
    }
    if let Some(limit) = change.max_connections_per_minute {
        there(api.set_device_limit(&device, limit, actor).await?)?;
    }
    let present = device.policy;
    let policy = PolicyChange {
        recording_required: change
            .recording_required
            .filter(|wanted| *wanted != present.recording_required),
        direct_tcpip_allowed: change
            .direct_tcpip_allowed
            .filter(|wanted| *wanted != present.direct_tcpip_allowed),
    };
    if policy != PolicyChange::default() {
        set_policy(&api, &operator.0, &device, policy).await?;
    }
    let device = api.registry().device(device.id).await?;
    let device = device.filter(|device| device.account == operator.0.account);
    let device = device.ok_or(NOT_FOUND)?;
    envelope(&api, &device).await
}

async fn set_policy(
    api: &Api,
    operator: &User,
    device: &Device,
    change: PolicyChange,
) -> Result<(), Refusal> {
    if !api.registry().set_device_policy(device, change).await? {
        return Err(NOT_FOUND);
    }
    api.ways_changed(device.id).await;
    let metadata = serde_json::json!({
        "name": device.name,
        "recording_required": change
            .recording_required
            .unwrap_or(device.policy.recording_required),
        "direct_tcpip_allowed": change
            .direct_tcpip_allowed
            .unwrap_or(device.policy.direct_tcpip_allowed),
    });
    api.record_change(device, "device.policy", Actor::Operator(operator), metadata)
        .await;
    Ok(())
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    let actor = Actor::Operator(&operator.0);
    there(api.delete_device(&device, actor).await?)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn rename(api: &Api, device: &Device, name: &str, actor: Actor<'_>) -> Result<(), Refusal> {
    if !is_name(name, 64) {
        let text = "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -";
        return Err(Refusal::bad(text));
    }
    let renamed = api.rename_device(device, name, actor).await;
    renamed.map_err(|error| match error {
        RenameError::NameTaken => Refusal::conflict("name is already in use"),
        RenameError::UnknownDevice => NOT_FOUND,
        RenameError::Registry(error) => error.into(),
    })
}

/// The device may be deleted between two statements.
fn there(there: bool) -> Result<(), Refusal> {
    if there { Ok(()) } else { Err(NOT_FOUND) }
}

/// A device of the operator's account by UUID or name; another account's answers like one that does not exist.
pub(super) async fn find(api: &Api, operator: &User, name: &str) -> Result<Device, Refusal> {
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
    let device = info(api, &nodes(api).await?, device);
    Ok(json(StatusCode::OK, &DeviceEnvelope { device }))
}

/// The nodes by region.
pub(super) async fn nodes(api: &Api) -> Result<HashMap<String, Node>, Refusal> {
    let nodes = api.registry().nodes().await?;
    Ok(nodes
        .into_iter()
        .map(|node| (node.name.clone(), node))
        .collect())
}

/// A forward of `device` as operators see it.
pub(super) fn forward_info(
    api: &Api,
    nodes: &HashMap<String, Node>,
    device: &Device,
    forward: &Forward,
) -> ForwardInfo {
    let node = nodes.get(&forward.node);
    ForwardInfo {
        id: forward.id.0,
        device_port: forward.device_port,
        public_port: forward.public_port,
        server: node.map_or(String::new(), |node| node.public_host.clone()),
        bytes: api.ports().traffic().bytes(forward.id),
        http_name: node.and_then(|node| node.http_name(forward)),
        open: api.tunnels().is_forward_open(device.id, forward.id),
    }
}

fn info(api: &Api, nodes: &HashMap<String, Node>, device: &Device) -> DeviceInfo {
    let tunnel = api.tunnels().status(device.id);
    let online = tunnel.as_ref().is_some_and(|tunnel| tunnel.active);
    let last_sign = tunnel.as_ref().map(|tunnel| tunnel.last_sign);
    let forwards = device.forwards.iter();
    let forwards = forwards.map(|forward| forward_info(api, nodes, device, forward));
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
