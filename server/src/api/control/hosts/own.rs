//! `/v1/user/hosts`: what users see of their own hosts (control contract section 11).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::{ConnectionInfo, NOT_FOUND, Queued, deed, queue};
use crate::api::Api;
use crate::api::control::access::Operator;
use crate::api::control::answer::{Refusal, json};
use crate::api::control::audit;
use crate::api::control::egress_ips::tunnel_type;
use crate::api::control::origin::Origin;
use crate::api::control::path::Path;
use crate::registry::HostsOf;
use crate::registry::model::{HostId, HostView, Role, TaskKind};

#[derive(Serialize)]
struct Listed {
    id: String,
    hostname: String,
    status: &'static str,
    egress_ip: String,
    created_at: String,
    /// Extension: what ssh and the entry link call it.
    short_id: String,
    /// Extension.
    kind: &'static str,
}

#[derive(Serialize)]
struct List {
    hosts: Vec<Listed>,
}

#[derive(Serialize)]
struct Sheet {
    id: String,
    hostname: String,
    status: &'static str,
    timezone: String,
    created_at: String,
    updated_at: String,
    egress_bindings: Vec<Egress>,
    connection_info: ConnectionInfo,
}

#[derive(Serialize)]
struct Egress {
    ip_address: String,
    tunnel_type: &'static str,
}

pub(in crate::api::control) async fn list(
    State(api): State<Api>,
    operator: Operator,
) -> Result<Response, Refusal> {
    let views = api
        .registry()
        .host_views(HostsOf::User(operator.0.id))
        .await?;
    let hosts = views
        .into_iter()
        .map(|view| Listed {
            id: view.host.id.to_string(),
            hostname: view.device_name.unwrap_or(view.host.hostname),
            status: view.host.status.as_str(),
            egress_ip: view.egress_address.unwrap_or_default(),
            created_at: view.host.created_at.to_rfc3339(),
            short_id: view.host.short_id,
            kind: view.host.kind.as_str(),
        })
        .collect();
    Ok(json(StatusCode::OK, &List { hosts }))
}

pub(in crate::api::control) async fn show(
    State(api): State<Api>,
    operator: Operator,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let view = own(&api, &operator, &id).await?;
    let mut egress_bindings = Vec::new();
    for binding in api.registry().bindings_of(view.host.id).await? {
        let account = view.host.account;
        if let Some(egress) = api.registry().egress_ip(account, binding.egress_ip).await? {
            egress_bindings.push(Egress {
                ip_address: egress.ip_address.to_string(),
                tunnel_type: tunnel_type(&egress),
            });
        }
    }
    let host = view.host;
    let sheet = Sheet {
        connection_info: ConnectionInfo::new(&api, &origin, &host, "user"),
        id: host.id.to_string(),
        hostname: view.device_name.unwrap_or(host.hostname),
        status: host.status.as_str(),
        timezone: host.timezone,
        created_at: host.created_at.to_rfc3339(),
        updated_at: host.updated_at.to_rfc3339(),
        egress_bindings,
    };
    Ok(json(StatusCode::OK, &sheet))
}

pub(in crate::api::control) async fn rebuild(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let host = own(&api, &operator, &id).await?.host;
    let by = operator.0.id.to_string();
    let task = queue(&api, &host, TaskKind::RebuildHost, by).await?;
    let deed = deed("user.host.rebuild", &host, "asked to rebuild".to_owned())
        .with("task_id", task.id.to_string());
    audit::write(&api, host.account, deed).await;
    Ok(json(StatusCode::ACCEPTED, &Queued::from(&task)))
}

/// A host of the caller; administrators pass for those of their account. Another account's answers like one that does
/// not exist.
pub(in crate::api::control) async fn own(
    api: &Api,
    operator: &Operator,
    id: &str,
) -> Result<HostView, Refusal> {
    let id = HostId(Uuid::try_parse(id).map_err(|_| NOT_FOUND)?);
    let caller = &operator.0;
    let host = api.registry().host(id).await?;
    let host = host
        .filter(|host| host.account == caller.account)
        .ok_or(NOT_FOUND)?;
    if host.user != caller.id && caller.role != Role::Admin {
        return Err(Refusal::forbidden("forbidden"));
    }
    let views = api.registry().host_views(HostsOf::User(host.user)).await?;
    views
        .into_iter()
        .find(|view| view.host.id == id)
        .ok_or(NOT_FOUND)
}
