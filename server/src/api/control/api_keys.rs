//! `/v1/admin/api-keys`: keys of API clients, made and revoked by operators (`moorline_protocol::operator`).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::operator::{ApiKeyEnvelope, ApiKeyInfo, ApiKeyList, NewApiKey};
use moorline_protocol::scope::{DEFAULT_SCOPES, Scope};

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use crate::api::Api;
use crate::api::provisioning::parameters::is_name;
use crate::registry::error::ApiClientError;
use crate::registry::model::{KeyContext, KeyLimits, NewApiClient, Timestamp};

/// Calls a minute that a key may be given.
const RATE_LIMITS: std::ops::RangeInclusive<i64> = 1..=1_000_000;
const NO_RATE_LIMIT: i64 = -1;
/// Devices that a key may be made for.
const USES: std::ops::RangeInclusive<i64> = 1..=1_000_000_000;

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
    if api
        .registry()
        .revoke_api_key(operator.0.account, &key)
        .await?
    {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Refusal::not_found("api key not found"))
    }
}

fn checked(new: NewApiKey, default_rate: i64, now: Timestamp) -> Result<NewApiClient, Refusal> {
    let starts_with_letter = new.name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !(starts_with_letter && is_name(&new.name, 64)) {
        let text = "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -, first a letter";
        return Err(Refusal::bad(text));
    }
    let scope = match new.scope {
        None => DEFAULT_SCOPES
            .map(|scope| scope.as_str().to_owned())
            .to_vec(),
        Some(scope) => scopes(scope)?,
    };
    let rate_limit = new.rate_limit.unwrap_or(default_rate);
    if rate_limit != NO_RATE_LIMIT && !RATE_LIMITS.contains(&rate_limit) {
        return Err(Refusal::bad(
            "rate_limit must be a number from 1 to 1000000, or -1",
        ));
    }
    if new
        .prefix
        .as_deref()
        .is_some_and(|prefix| !is_name(prefix, 32))
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

fn scopes(given: Vec<String>) -> Result<Vec<String>, Refusal> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in given {
        Scope::check(&scope).map_err(|_| Refusal::bad("scope is unknown"))?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
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
