//! `POST /v1/admin/egress-ips/{ipID}/test` (control contract section 7).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::super::access::Operator;
use super::super::answer::{Refusal, json};
use super::super::path::Path;
use super::{find, settings};
use crate::api::Api;
use crate::registry::model::{EgressTunnel, Timestamp, WireGuard};

/// The sub-checks of a tunnel that could not be built have said nothing.
const UNTOLD: Check = Check { status: "" };

#[derive(Serialize)]
struct Verdict {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    tested_at: String,
    results: Results,
}

#[derive(Serialize)]
struct Results {
    connectivity: Check,
    egress_ip: Check,
    dns_leak: Check,
}

#[derive(Serialize)]
struct Check {
    status: &'static str,
}

/// Tests an egress IP through its own tunnel.
pub(in super::super) async fn run(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let ip = find(&api, &operator, &id).await?;
    let message = match &ip.tunnel {
        EgressTunnel::Proxy(config) if config.expose().is_empty() => {
            return Err(Refusal::bad("proxy_config is empty"));
        }
        EgressTunnel::WireGuard(wireguard) => missing(wireguard),
        EgressTunnel::Proxy(_) => None,
    };
    let message = message.unwrap_or("this server does not build egress tunnels");
    let verdict = Verdict {
        status: "error",
        message: Some(message.to_owned()),
        tested_at: Timestamp::now().to_rfc3339(),
        results: Results {
            connectivity: UNTOLD,
            egress_ip: UNTOLD,
            dns_leak: UNTOLD,
        },
    };
    Ok(json(StatusCode::OK, &verdict))
}

/// What a WireGuard tunnel cannot do without.
fn missing(wireguard: &WireGuard) -> Option<&'static str> {
    let is_key = |text: &str| settings::decoded(text).is_some();
    if wireguard.endpoint.is_none() {
        Some("wg_endpoint is not set")
    } else if !wireguard.public_key.as_deref().is_some_and(is_key) {
        Some("wg_public_key is not a WireGuard key")
    } else if wireguard.client_public_key.is_none() {
        Some("wg_private_key is not a WireGuard key")
    } else if wireguard.peer_address.is_none() {
        Some("wg_peer_address is not set")
    } else {
        None
    }
}
