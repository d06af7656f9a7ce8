//! `POST /api/v1/kill-session`: ends a session for good (openport contract section 7).

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::answer::{self, Refusal};
use super::form::Form;
use crate::api::{Api, Peer};
use crate::registry::model::{Device, Forward, NewEvent};
use crate::tunnels::Cut;

/// Cuts the tunnel of a session and marks it as killed.
pub(super) async fn kill_session(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match kill(&api, peer, request).await {
        Ok(true) => answer::ok(),
        Ok(false) => not_found(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn kill(api: &Api, peer: Peer, request: Request) -> Result<bool, Refusal> {
    api.count_client(peer)?;
    // What cannot be read names no session.
    let form = Form::of(request).await.unwrap_or_default();
    let (Some(port), Some(token)) = (form.port("port"), form.get("session_token")) else {
        return Ok(false);
    };
    let registry = api.registry();
    let found = registry.session_anywhere_with_token(port, token).await?;
    let Some((device, forward)) = found else {
        return Ok(false);
    };
    if !registry.kill_session(forward.id).await? {
        return Ok(false);
    }
    let cut = api
        .tunnels()
        .cut_forward(device.id, forward.id, Cut::Killed);
    if !cut.await {
        tracing::warn!(device = %device.id, "tunnel still there after its session was killed");
    }
    record(api, &device, &forward).await;
    Ok(true)
}

fn not_found() -> Response {
    #[derive(Serialize)]
    struct Missing {
        error: &'static str,
    }
    let body = Missing {
        error: "No session found",
    };
    answer::json(StatusCode::NOT_FOUND, &body)
}

async fn record(api: &Api, device: &Device, forward: &Forward) {
    let event = NewEvent {
        account: Some(device.account),
        device: Some(device.id),
        user: None,
        host: None,
        task: None,
        level: "info",
        kind: "device.session.killed",
        message: format!(
            "session of {} on port {} killed by its client",
            device.name, forward.public_port
        ),
        metadata: serde_json::json!({"name": device.name, "port": forward.public_port}),
    };
    if let Err(error) = api.registry().record_event(event).await {
        tracing::warn!(%error, "record event");
    }
}
