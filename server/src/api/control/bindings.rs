//! `/v1/admin/bindings`: which host leaves by which egress IP (control contract section 8).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::audit::{self, Deed};
use super::path::Path;
use crate::api::Api;
use crate::registry::error::BindError;
use crate::registry::model::{Binding, BindingId, EgressIpId, HostId};

const NOT_FOUND: Refusal = Refusal::not_found("binding not found");
const NO_HOST: Refusal = Refusal::not_found("host not found");
const NO_EGRESS_IP: Refusal = Refusal::not_found("egress ip not found");

#[derive(Deserialize)]
pub(super) struct Wanted {
    host_id: Option<String>,
    egress_ip_id: Option<String>,
}

#[derive(Serialize)]
struct BindingInfo {
    binding_id: String,
    host_id: String,
    egress_ip_id: String,
    created_at: String,
}

#[derive(Serialize)]
struct Envelope {
    binding: BindingInfo,
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let (Some(host), Some(egress)) = (given(wanted.host_id), given(wanted.egress_ip_id)) else {
        return Err(Refusal::bad("host_id and egress_ip_id are required"));
    };
    let host = Uuid::try_parse(host.trim()).map_err(|_| NO_HOST)?;
    // Nobody has the id of zeros: an unknown host is told before an unknown egress IP.
    let egress = Uuid::try_parse(egress.trim()).unwrap_or(Uuid::nil());
    let made = api
        .registry()
        .bind(operator.0.account, HostId(host), EgressIpId(egress))
        .await
        .map_err(|error| {
            refused(
                error,
                "cannot bind egress IP to running host, stop host first",
            )
        })?;
    note(&api, &operator, "admin.binding.created", &made).await;
    let binding = BindingInfo {
        binding_id: made.id.to_string(),
        host_id: made.host.to_string(),
        egress_ip_id: made.egress_ip.to_string(),
        created_at: made.created_at.to_rfc3339(),
    };
    Ok(json(StatusCode::CREATED, &Envelope { binding }))
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = Uuid::try_parse(&id).map_err(|_| NOT_FOUND)?;
    let running = "cannot unbind egress IP from running host, stop host first";
    let gone = api
        .registry()
        .unbind(operator.0.account, BindingId(id))
        .await
        .map_err(|error| refused(error, running))?;
    note(&api, &operator, "admin.binding.deleted", &gone).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn refused(error: BindError, running: &'static str) -> Refusal {
    match error {
        BindError::Unknown => NOT_FOUND,
        BindError::UnknownHost => NO_HOST,
        BindError::UnknownEgressIp => NO_EGRESS_IP,
        BindError::DeviceHost => Refusal::bad("egress IPs apply to container hosts only"),
        BindError::HostRuns => Refusal::conflict(running),
        BindError::Exists => Refusal::conflict("egress IP is already bound to this host"),
        BindError::Disabled => Refusal::conflict("egress IP is disabled"),
        BindError::Registry(error) => error.into(),
    }
}

async fn note(api: &Api, operator: &Operator, kind: &'static str, binding: &Binding) {
    let deed = Deed {
        kind,
        user: None,
        host: Some(binding.host),
        task: None,
        message: format!("egress IP {} of host {}", binding.egress_ip, binding.host),
        metadata: json!({
            "binding_id": binding.id.to_string(),
            "host_id": binding.host.to_string(),
            "egress_ip_id": binding.egress_ip.to_string(),
        }),
    };
    audit::note(api, operator, deed).await;
}
