//! `/v1/admin/egress-ips`: tunnels whose exit address is declared (control contract section 6).
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | what was sent, checked and laid over what is there |
//! | [`proxy_config`] | sing-box outbounds: checked, shown without secrets, secrets kept |
//! | [`test`] | `POST .../test` |

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::audit::{self, Deed};
use super::path::Path;
use crate::api::Api;
use crate::registry::error::EgressError;
use crate::registry::model::{EgressIp, EgressIpId, EgressTunnel, WireGuard};

mod proxy_config;
mod settings;
pub(super) mod test;

const NOT_FOUND: Refusal = Refusal::not_found("egress ip not found");

/// An egress IP on the wire, without its secrets.
#[derive(Serialize)]
pub(super) struct EgressIpInfo {
    id: String,
    label: String,
    ip_address: String,
    provider: String,
    status: &'static str,
    tunnel_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wg_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wg_public_key: Option<String>,
    wg_allowed_ips: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wg_dns_server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wg_peer_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wg_client_public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_config: Option<Value>,
    created_at: String,
    updated_at: String,
}

impl From<EgressIp> for EgressIpInfo {
    fn from(ip: EgressIp) -> Self {
        let tunnel_type = tunnel_type(&ip);
        let (wireguard, proxy_config) = match ip.tunnel {
            EgressTunnel::WireGuard(wireguard) => (wireguard, None),
            EgressTunnel::Proxy(config) => (
                WireGuard::default(),
                Some(proxy_config::redacted(config.into_exposed())),
            ),
        };
        Self {
            id: ip.id.to_string(),
            label: ip.label,
            ip_address: ip.ip_address.to_string(),
            provider: ip.provider,
            status: ip.status.as_str(),
            tunnel_type,
            wg_endpoint: wireguard.endpoint,
            wg_public_key: wireguard.public_key,
            wg_allowed_ips: wireguard.allowed_ips,
            wg_dns_server: wireguard.dns_server,
            wg_peer_address: wireguard.peer_address,
            wg_client_public_key: wireguard.client_public_key,
            proxy_config,
            created_at: ip.created_at.to_rfc3339(),
            updated_at: ip.updated_at.to_rfc3339(),
        }
    }
}

#[derive(Serialize)]
struct EgressIps {
    egress_ips: Vec<EgressIpInfo>,
}

#[derive(Serialize)]
struct Envelope {
    egress_ip: EgressIpInfo,
}

impl From<EgressError> for Refusal {
    fn from(error: EgressError) -> Self {
        match error {
            EgressError::Unknown => NOT_FOUND,
            EgressError::AddressTaken => Self::conflict("ip address already exists"),
            EgressError::TooMany => Self::conflict("too many egress ips"),
            EgressError::Bound => Self::conflict("egress IP is bound to a host, unbind first"),
            EgressError::Registry(error) => error.into(),
        }
    }
}

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let ips = api.registry().egress_ips(operator.0.account).await?;
    let egress_ips = ips.into_iter().map(EgressIpInfo::from).collect();
    Ok(json(StatusCode::OK, &EgressIps { egress_ips }))
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(wanted): Json<settings::Wanted>,
) -> Result<Response, Refusal> {
    let new = settings::new(wanted)?;
    let made = api
        .registry()
        .create_egress_ip(operator.0.account, new)
        .await?;
    note(&api, &operator, "admin.egress_ip.created", &made).await;
    let egress_ip = made.into();
    Ok(json(StatusCode::CREATED, &Envelope { egress_ip }))
}

pub(super) async fn show(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let egress_ip = find(&api, &operator, &id).await?.into();
    Ok(json(StatusCode::OK, &Envelope { egress_ip }))
}

pub(super) async fn change(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
    Json(wanted): Json<settings::Wanted>,
) -> Result<Response, Refusal> {
    let changed = api
        .registry()
        .change_egress_ip(operator.0.account, parse_id(&id)?, |present| {
            settings::changed(present, wanted)
        })
        .await?;
    note(&api, &operator, "admin.egress_ip.updated", &changed).await;
    let egress_ip = changed.into();
    Ok(json(StatusCode::OK, &Envelope { egress_ip }))
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let gone = api
        .registry()
        .delete_egress_ip(operator.0.account, parse_id(&id)?)
        .await?;
    note(&api, &operator, "admin.egress_ip.deleted", &gone).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// One of the administrator's account; another account's answers like one that does not exist.
async fn find(api: &Api, operator: &Operator, id: &str) -> Result<EgressIp, Refusal> {
    let found = api
        .registry()
        .egress_ip(operator.0.account, parse_id(id)?)
        .await?;
    found.ok_or(NOT_FOUND)
}

fn parse_id(id: &str) -> Result<EgressIpId, Refusal> {
    Uuid::try_parse(id).map(EgressIpId).map_err(|_| NOT_FOUND)
}

/// The word for how an egress IP is reached.
pub(super) const fn tunnel_type(ip: &EgressIp) -> &'static str {
    match ip.tunnel {
        EgressTunnel::WireGuard(_) => settings::WIREGUARD,
        EgressTunnel::Proxy(_) => settings::PROXY,
    }
}

async fn note(api: &Api, operator: &Operator, kind: &'static str, ip: &EgressIp) {
    let deed = Deed {
        kind,
        user: None,
        host: None,
        task: None,
        message: format!("egress IP {} ({})", ip.label, ip.ip_address),
        metadata: json!({
            "egress_ip_id": ip.id.to_string(),
            "label": ip.label,
            "ip_address": ip.ip_address.to_string(),
            "tunnel_type": tunnel_type(ip),
        }),
    };
    audit::note(api, operator, deed).await;
}
