//! `POST /v1/auth/login` and `/v1/admin/login` (control contract section 3).

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};

use super::access::barred;
use super::answer::{BUSY, Json, Refusal, json};
use super::token::LIFETIME_SECS;
use crate::api::{Api, Peer};
use crate::passwords::PasswordError;
use crate::rate_limit::Exceeded;
use crate::registry::error::RegistryError;
use crate::registry::model::{AccountId, NewEvent, Timestamp, User};

/// Who acts, in the audit.
const OPERATOR: &str = "admin";
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
    let attempt = Attempt {
        peer,
        identifier,
        user: api.registry().user_by_login(identifier).await?,
        operator: OPERATOR,
    };
    let user = check(&api, attempt, credentials.password.clone()).await?;
    if let Some(barred) = barred(&api, &user).await? {
        let reason = Some(barred.reason());
        record(&api, OPERATOR, Some(&user), identifier, reason).await;
        return Err(Refusal::forbidden("account is not active"));
    }
    let token = api
        .0
        .parts
        .tokens
        .make(&user, Timestamp::now())
        .map_err(|error| Refusal::internal(&error))?;
    record(&api, OPERATOR, Some(&user), identifier, None).await;
    let answer = LoggedIn {
        token: token.expose(),
        role: user.role.as_str(),
        username: &user.username,
        short_id: &user.short_id,
        expires_in: LIFETIME_SECS,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// Somebody who says who they are.
pub(super) struct Attempt<'a> {
    /// From where.
    pub(super) peer: Peer,
    /// What they typed.
    pub(super) identifier: &'a str,
    /// Whom that names.
    pub(super) user: Option<User>,
    /// Which way, for the audit.
    pub(super) operator: &'static str,
}

/// Why a password was not taken.
#[derive(Debug)]
pub(super) enum WrongPassword {
    /// It is wrong, or there is no such user.
    Wrong,
    /// There were too many wrong ones; this one was not looked at.
    TooMany(Exceeded),
    /// It could not be checked.
    Failed(PasswordError),
    /// See [`RegistryError`].
    Registry(RegistryError),
}

impl From<PasswordError> for WrongPassword {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::TooMany(BUSY),
            PasswordError::Failed => Self::Failed(error),
        }
    }
}

impl From<WrongPassword> for Refusal {
    fn from(error: WrongPassword) -> Self {
        match error {
            WrongPassword::Wrong => Self::unauthorized("invalid credentials"),
            WrongPassword::TooMany(exceeded) => exceeded.into(),
            WrongPassword::Failed(error) => error.into(),
            WrongPassword::Registry(error) => error.into(),
        }
    }
}

/// The user as they are now, if the password is right. Unknown users take as long as known ones.
pub(super) async fn check(
    api: &Api,
    attempt: Attempt<'_>,
    password: Secret<String>,
) -> Result<User, WrongPassword> {
    let Attempt {
        peer,
        identifier,
        user,
        operator,
    } = attempt;
    let counted_as = user
        .as_ref()
        .map_or_else(|| identifier.to_owned(), |user| user.id.to_string());
    let parts = &api.0.parts;
    let counted = parts.logins.begin(peer.0.ip(), &counted_as).await;
    let counted = counted.map_err(WrongPassword::TooMany)?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = match parts.passwords.verify(password, hash).await {
        Ok(right) => right,
        Err(error) => {
            // It was not looked at, whoever it is said to be of.
            counted.succeeded();
            return Err(error.into());
        }
    };
    if let Some(user) = user.as_ref().filter(|_| right)
        && let Some(now) = unchanged(api, user)
            .await
            .map_err(WrongPassword::Registry)?
    {
        counted.succeeded();
        return Ok(now);
    }
    counted.failed().await;
    tracing::info!(peer = %peer.0.ip(), "login refused");
    let refused = Some("invalid_credentials");
    record(api, operator, user.as_ref(), identifier, refused).await;
    Err(WrongPassword::Wrong)
}

/// The user as they are now: a check may have waited for its turn while the password was changed.
async fn unchanged(api: &Api, user: &User) -> Result<Option<User>, RegistryError> {
    let now = api.registry().user(user.id).await?;
    Ok(now.filter(|now| now.password_hash.expose() == user.password_hash.expose()))
}

/// Writes down how a login went.
pub(super) async fn record(
    api: &Api,
    operator: &'static str,
    user: Option<&User>,
    identifier: &str,
    refused: Option<&str>,
) {
    let name: String = user
        .map_or(identifier, |user| &user.username)
        .chars()
        .take(MAX_LOGGED_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let mut metadata = serde_json::json!({"operator": operator, "username": name});
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
