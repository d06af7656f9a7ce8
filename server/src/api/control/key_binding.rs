//! `/v1/admin/key-binding`: the token by which clients register their keys to the account (openport contract
//! section 7).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use moorline_protocol::operator::KeyBinding;

use super::access::Operator;
use super::answer::{Refusal, json};
use crate::api::Api;
use crate::registry::model::{NewEvent, User};

const NO_TOKEN: Refusal = Refusal::not_found("account has no key binding token");

/// Shows the token; makes one when there is none.
pub(super) async fn show(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let token = api.registry().binding_token(operator.0.account).await?;
    answer(token)
}

/// Replaces the token; the old one is refused from then on.
pub(super) async fn renew(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let account = operator.0.account;
    let token = api.registry().renew_binding_token(account).await?;
    record(&api, &operator.0).await;
    answer(token)
}

fn answer(token: Option<Secret<String>>) -> Result<Response, Refusal> {
    let key_binding_token = token.ok_or(NO_TOKEN)?.into_exposed();
    Ok(json(StatusCode::OK, &KeyBinding { key_binding_token }))
}

async fn record(api: &Api, operator: &User) {
    let event = NewEvent {
        account: Some(operator.account),
        device: None,
        user: Some(operator.id),
        host: None,
        task: None,
        level: "info",
        kind: "account.key_binding.renewed",
        message: format!("key binding token renewed by {}", operator.username),
        metadata: serde_json::json!({"operator": operator.username}),
    };
    if let Err(error) = api.registry().record_event(event).await {
        tracing::warn!(%error, "record event");
    }
}
