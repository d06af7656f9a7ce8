//! `/v1/admin/api-keys`: keys of API clients, made and revoked by operators (`moorline_protocol::operator`).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::operator::{ApiKeyEnvelope, ApiKeyInfo, ApiKeyList, NewApiKey};

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use super::path::Path;
use crate::api::Api;
use crate::api::apiclients::rules;
use crate::registry::error::{ApiClientError, ChangeClientError};
use crate::registry::model::{KeyContext, KeyLimits, NewApiClient, Timestamp};

/// Devices that a key may be made for.
const USES: std::ops::RangeInclusive<i64> = 1..=rules::MAX_USES;

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let keys = api.registry().api_keys(operator.0.account).await?;
    let api_keys = keys.into_iter().map(ApiKeyInfo::from).collect();
    Ok(json(StatusCode::OK, &ApiKeyList { api_keys }))
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(new): Json<NewApiKey>,
) -> Result<Response, Refusal> {
    let new = checked(new, api.identity().default_rate_limit, Timestamp::now())?;
    if let Some(region) = &new.limits.region
        && api.registry().node(region).await?.is_none()
    {
        return Err(Refusal::bad("region is unknown"));
    }
    let made = api
        .registry()
        .create_api_client(operator.0.account, new)
        .await;
    let (key, secret) = made.map_err(|error| match error {
        ApiClientError::NameTaken => Refusal::conflict("name is already in use"),
        ApiClientError::Registry(error) => error.into(),
    })?;
    let envelope = ApiKeyEnvelope {
        api_key: key.into(),
        secret: secret.into_exposed(),
    };
    Ok(json(StatusCode::CREATED, &envelope))
}

pub(super) async fn revoke(
    State(api): State<Api>,
    operator: Operator,
    Path(key): Path<String>,
) -> Result<Response, Refusal> {
    let account = operator.0.account;
    let registry = api.registry();
    // Named by the id of the key too, whose owner is what goes.
    let keys = registry.api_keys(account).await?;
    let owner = keys.into_iter().find(|of| of.id == key);
    let client = owner.map_or(key, |key| key.owner_id);
    match registry.delete_api_client(account, &client).await {
        Ok(client) => {
            api.forget_key_of(&client.id);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(ChangeClientError::Locked) => Err(Refusal::conflict("api client is locked")),
        Err(ChangeClientError::Registry(error)) => Err(error.into()),
        Err(_) => Err(Refusal::not_found("api key not found")),
    }
}

fn checked(new: NewApiKey, default_rate: i64, now: Timestamp) -> Result<NewApiClient, Refusal> {
    if !rules::is_client_name(&new.name) {
        let text = "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -, first a letter";
        return Err(Refusal::bad(text));
    }
    let scope = match new.scope {
        None => rules::default_scopes(),
        Some(scope) => rules::scopes(scope).map_err(|_| Refusal::bad("scope is unknown"))?,
    };
    let rate_limit = new.rate_limit.unwrap_or(default_rate);
    if !rules::is_rate_limit(rate_limit) {
        return Err(Refusal::bad(
            "rate_limit must be a number from 1 to 1000000, or -1",
        ));
    }
    if new
        .prefix
        .as_deref()
        .is_some_and(|prefix| !rules::is_prefix(prefix))
    {
        let text = "prefix must be at most 32 characters of A-Z a-z 0-9 . _ -";
        return Err(Refusal::bad(text));
    }
    if new.uses.is_some_and(|uses| !USES.contains(&uses)) {
        return Err(Refusal::bad("uses must be a number from 1"));
    }
    Ok(NewApiClient {
        name: Some(new.name),
        context: KeyContext::Account,
        scope,
        rate_limit,
        limits: KeyLimits {
            prefix: new.prefix,
            region: new.region,
            uses: new.uses,
            expires_at: new.expires_at.map(|text| expiry(&text, now)).transpose()?,
        },
    })
}

fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let bad = Refusal::bad("expires_at must be RFC3339 format");
    let at = Timestamp::from_rfc3339(text).map_err(|_| bad)?;
    if at > now {
        Ok(at)
    } else {
        Err(Refusal::bad("expires_at must be in the future"))
    }
}
