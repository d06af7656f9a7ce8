//! `/v1/admin/devices/{device}/forwards`: ports of a device that operators make reachable
//! (`moorline_protocol::operator`).

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::operator::{ForwardEnvelope, ForwardList, NewForward};

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::devices::{find, forward_info, nodes};
use super::path::Path;
use crate::api::Api;
use crate::api::device_changes::Actor;
use crate::registry::error::AddForwardError;
use crate::registry::model::{Device, ForwardId, ForwardKind, Wanted};

/// How long a call waits for a connected agent to take up a forward; it is a matter of one round trip.
const TAKE_UP_PATIENCE: Duration = Duration::from_secs(3);
const NOT_FOUND: Refusal = Refusal::not_found("forward not found");

pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    let nodes = nodes(&api).await?;
    let forwards = device.forwards.iter();
    let forwards = forwards.map(|forward| forward_info(&api, &nodes, &device, forward));
    let forwards = forwards.collect();
    Ok(json(StatusCode::OK, &ForwardList { forwards }))
}

/// Makes a forward, or gives the one that is there.
pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
    Json(new): Json<NewForward>,
) -> Result<Response, Refusal> {
    if new.device_port == 0 {
        return Err(Refusal::bad("device_port must be a number from 1 to 65535"));
    }
    let device = find(&api, &operator.0, &name).await?;
    let kind = match new.http {
        true => ForwardKind::Http,
        false => ForwardKind::Tcp,
    };
    let added = api.registry().add_forward(&device, new.device_port, kind);
    let (forward, made) = added.await.map_err(refusal)?;
    if made {
        let metadata = serde_json::json!({
            "name": device.name,
            "device_port": forward.device_port,
            "public_port": forward.public_port,
            "http": new.http,
        });
        api.record_change(
            &device,
            "forward.added",
            Actor::Operator(&operator.0),
            metadata,
        )
        .await;
        api.tunnels().forwards_changed(device.id);
    }
    if may_open(&api, &device) {
        let tunnels = api.tunnels();
        let taken_up = tunnels.wait_forward(device.id, forward.id, TAKE_UP_PATIENCE);
        if !taken_up.await {
            tracing::debug!(device = %device.id, forward = forward.id.0, "forward not taken up yet");
        }
    }
    let forward = forward_info(&api, &nodes(&api).await?, &device, &forward);
    let status = match made {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(json(status, &ForwardEnvelope { forward }))
}

/// Takes a forward away. Connections that it carries now go on; no new one comes.
pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path((name, forward)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    let id = forward.parse().map(ForwardId).map_err(|_| NOT_FOUND)?;
    let forwards = device.forwards.iter();
    let forward = forwards.clone().find(|one| one.id == id).ok_or(NOT_FOUND)?;
    if forward.first {
        let text = "the first forward of a device cannot be removed";
        return Err(Refusal::conflict(text));
    }
    if !api.registry().remove_forward(&device, id).await? {
        return Err(NOT_FOUND);
    }
    api.tunnels().forwards_changed(device.id);
    let metadata = serde_json::json!({
        "name": device.name,
        "device_port": forward.device_port,
        "public_port": forward.public_port,
    });
    api.record_change(
        &device,
        "forward.removed",
        Actor::Operator(&operator.0),
        metadata,
    )
    .await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Whether there is an agent to wait for.
fn may_open(api: &Api, device: &Device) -> bool {
    device.wanted == Wanted::Open && api.tunnels().status(device.id).is_some()
}

fn refusal(error: AddForwardError) -> Refusal {
    match error {
        AddForwardError::UnknownDevice => Refusal::not_found("device not found"),
        AddForwardError::TooMany => Refusal::conflict("device has too many forwards"),
        AddForwardError::NodeUnavailable => {
            let text = "node has no port for the device";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        AddForwardError::Registry(error) => error.into(),
    }
}
