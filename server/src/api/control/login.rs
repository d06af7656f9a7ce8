//! `POST /v1/auth/login` and `/v1/admin/login` (control contract section 3).

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};

use super::access::is_active;
use super::answer::{Json, Refusal, json};
use super::token::LIFETIME_SECS;
use crate::api::{Api, Peer};
use crate::registry::model::{AccountId, NewEvent, Timestamp, User, UserStatus};

/// Longest identifier that is written into the audit, in characters.
const MAX_LOGGED_CHARS: usize = 64;

/// Name and password.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Credentials {
    username: String,
    short_id: String,
    password: Secret<String>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            username: String::new(),
            short_id: String::new(),
            password: Secret::new(String::new()),
        }
    }
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    token: &'a str,
    role: &'a str,
    username: &'a str,
    short_id: &'a str,
    expires_in: i64,
}

/// Gives a token for name and password.
pub(super) async fn login(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Json(credentials): Json<Credentials>,
) -> Result<Response, Refusal> {
    let identifier = match credentials.username.trim() {
        "" => credentials.short_id.trim(),
        username => username,
    };
    if identifier.is_empty() || credentials.password.expose().is_empty() {
        return Err(Refusal::bad("username and password are required"));
    }
    let user = check(&api, peer, identifier, credentials.password.clone()).await?;
    if !is_active(&user, Timestamp::now()) {
        let reason = match user.status {
            UserStatus::Disabled => "account_disabled",
            UserStatus::Expired | UserStatus::Active => "account_expired",
        };
        record(&api, Some(&user), identifier, Some(reason)).await;
        return Err(Refusal::forbidden("account is not active"));
    }
    let token = api
        .0
        .parts
        .tokens
        .make(&user, Timestamp::now())
        .map_err(|error| Refusal::internal(&error))?;
    record(&api, Some(&user), identifier, None).await;
    let answer = LoggedIn {
        token: token.expose(),
        role: user.role.as_str(),
        username: &user.username,
        short_id: &user.short_id,
        expires_in: LIFETIME_SECS,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// The user, if the password is right. Unknown users take as long as known ones.
async fn check(
    api: &Api,
    peer: Peer,
    identifier: &str,
    password: Secret<String>,
) -> Result<User, Refusal> {
    let user = api.registry().user_by_login(identifier).await?;
    let counted_as = user
        .as_ref()
        .map_or_else(|| identifier.to_owned(), |user| user.id.to_string());
    let attempt = api.0.parts.logins.begin(peer.0.ip(), &counted_as).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = api.0.parts.passwords.verify(password, hash).await?;
    match user {
        Some(user) if right => {
            attempt.succeeded();
            Ok(user)
        }
        user => {
            attempt.failed().await;
            tracing::info!(peer = %peer.0.ip(), "login refused");
            record(api, user.as_ref(), identifier, Some("invalid_credentials")).await;
            Err(Refusal::unauthorized("invalid credentials"))
        }
    }
}

async fn record(api: &Api, user: Option<&User>, identifier: &str, refused: Option<&str>) {
    let name: String = user
        .map_or(identifier, |user| &user.username)
        .chars()
        .take(MAX_LOGGED_CHARS)
        .collect();
    let mut metadata = serde_json::json!({"operator": "admin", "username": name});
    if let (Some(reason), Some(object)) = (refused, metadata.as_object_mut()) {
        object.insert("reason".into(), reason.into());
    }
    let event = NewEvent {
        account: account_of(api, user).await,
        device: None,
        user: user.map(|user| user.id),
        host: None,
        task: None,
        level: if refused.is_some() { "warn" } else { "info" },
        kind: if refused.is_some() {
            "auth.failed"
        } else {
            "auth.success"
        },
        message: match refused {
            Some(_) => format!("login of {name} refused"),
            None => format!("{name} logged in"),
        },
        metadata,
    };
    if let Err(error) = api.registry().record_event(event).await {
        tracing::warn!(%error, "record login");
    }
}

/// Whose audit a login goes to: who is unknown belongs to the only account, if there is but one.
async fn account_of(api: &Api, user: Option<&User>) -> Option<AccountId> {
    if let Some(user) = user {
        return Some(user.account);
    }
    match api.registry().accounts().await.ok()?.as_slice() {
        [only] => Some(only.id),
        _ => None,
    }
}
