//! What users do for themselves (control contract section 11).

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::users::PASSWORD_CHARS;
use crate::api::{Api, Peer};
use crate::registry::model::NewEvent;

const WRONG: Refusal = Refusal::unauthorized("invalid old password");

#[derive(Deserialize)]
pub(super) struct PasswordChange {
    old_password: Option<Secret<String>>,
    new_password: Option<Secret<String>>,
}

#[derive(Serialize)]
struct Done {
    status: &'static str,
}

/// A new password for whoever knows the old one. Tokens given out before are refused from then on.
pub(super) async fn change_password(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    operator: Operator,
    Json(change): Json<PasswordChange>,
) -> Result<Response, Refusal> {
    let given = |text: Option<Secret<String>>| text.filter(|text| !text.expose().is_empty());
    let (Some(old), Some(new)) = (given(change.old_password), given(change.new_password)) else {
        let text = "old_password and new_password are required";
        return Err(Refusal::bad(text));
    };
    if !PASSWORD_CHARS.contains(&new.expose().chars().count()) {
        return Err(Refusal::bad("new password must be 8-128 characters"));
    }
    let user = operator.0;
    let parts = &api.0.parts;
    let attempt = parts
        .logins
        .begin(peer.0.ip(), &user.id.to_string())
        .await?;
    let stored = user.password_hash.clone();
    let right = match parts.passwords.verify(old, Some(stored.clone())).await {
        Ok(right) => right,
        Err(error) => {
            attempt.succeeded();
            return Err(error.into());
        }
    };
    if !right {
        attempt.failed().await;
        return Err(WRONG);
    }
    attempt.succeeded();
    let hash = parts.passwords.hash(new).await?;
    // An administrator may have been faster; then the old password is none any more.
    if !api
        .registry()
        .change_password_hash(user.id, &stored, hash)
        .await?
    {
        return Err(WRONG);
    }
    api.0.parts.hosts.changed();
    let event = NewEvent {
        account: Some(user.account),
        device: None,
        user: Some(user.id),
        host: None,
        task: None,
        level: "info",
        kind: "user.password_changed",
        message: format!("user {} changed their password", user.username),
        metadata: serde_json::json!({ "username": user.username }),
    };
    if let Err(error) = api.registry().record_event(event).await {
        tracing::warn!(%error, "record change of password");
    }
    Ok(json(StatusCode::OK, &Done { status: "ok" }))
}
