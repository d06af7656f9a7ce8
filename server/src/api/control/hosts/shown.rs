//! The list of hosts, and the sheet of one (control contract section 8).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::{ConnectionInfo, NOT_FOUND, find};
use crate::api::Api;
use crate::api::control::access::Operator;
use crate::api::control::answer::{Refusal, json};
use crate::api::control::egress_ips::EgressIpInfo;
use crate::api::control::host_info::HostInfo;
use crate::api::control::origin::Origin;
use crate::api::control::path::Path;
use crate::api::control::users::UserInfo;
use crate::registry::HostsOf;
use crate::registry::model::{Device, Host, HostView};

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

pub(in crate::api::control) async fn list(
    State(api): State<Api>,
    operator: Operator,
) -> Result<Response, Refusal> {
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

pub(in crate::api::control) async fn show(
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
