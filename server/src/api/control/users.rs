//! `/v1/admin/users`: people of the account (control contract section 4).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, OptionalJson, Refusal, json};
use super::audit::{self, Deed};
use super::host_info::{self, HostInfo};
use super::path::Path;
use crate::api::Api;
use crate::passwords;
use crate::registry::error::{ChangeUserError, UserError};
use crate::registry::model::{Host, NewUser, Role, Timestamp, User, UserId, UserStatus};

const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=50;
pub(super) const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
const NOT_FOUND: Refusal = Refusal::not_found("user not found");
const BAD_PASSWORD: Refusal = Refusal::bad("login password must be 8-128 characters");

/// A user on the wire.
#[derive(Serialize)]
pub(super) struct UserInfo {
    id: String,
    username: String,
    status: &'static str,
    role: &'static str,
    short_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    created_at: String,
    updated_at: String,
}

impl From<User> for UserInfo {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username,
            status: user.status.as_str(),
            role: user.role.as_str(),
            short_id: user.short_id,
            expires_at: user.expires_at.map(Timestamp::to_rfc3339),
            created_at: user.created_at.to_rfc3339(),
            updated_at: user.updated_at.to_rfc3339(),
        }
    }
}

#[derive(Serialize)]
struct Users {
    users: Vec<UserInfo>,
}

#[derive(Serialize)]
struct Envelope {
    user: UserInfo,
}

#[derive(Serialize)]
struct WithHosts {
    user: UserInfo,
    hosts: Vec<HostInfo>,
}

#[derive(Serialize)]
struct Created<'a> {
    user: UserInfo,
    short_id: String,
    password: &'a str,
}

#[derive(Serialize)]
struct NewPassword<'a> {
    new_password: &'a str,
}

/// Body of `POST`.
#[derive(Deserialize)]
pub(super) struct Wanted {
    username: Option<String>,
    password: Option<Secret<String>>,
    expires_at: Option<String>,
}

/// Body of `PATCH`.
#[derive(Deserialize)]
pub(super) struct StatusChange {
    status: Option<String>,
}

/// Body of `PUT .../expiry`.
#[derive(Deserialize)]
pub(super) struct Expiry {
    expires_at: Option<String>,
}

/// Body of `POST .../rotate-password`.
#[derive(Default, Deserialize)]
pub(super) struct Rotation {
    new_password: Option<Secret<String>>,
}

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let users = api.registry().users_of(operator.0.account).await?;
    let users = users.into_iter().map(UserInfo::from).collect();
    Ok(json(StatusCode::OK, &Users { users }))
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    let username = wanted.username.unwrap_or_default().trim().to_owned();
    if !is_username(&username) {
        return Err(Refusal::bad("username must be 3-50 characters"));
    }
    let given = wanted.password.filter(|text| !text.expose().is_empty());
    let password = chosen_or_generated(given)?;
    let expires_at = wanted.expires_at.as_deref().map(expiry).transpose()?;
    let new = NewUser {
        account: operator.0.account,
        username,
        role: Role::User,
        password_hash: api.0.parts.passwords.hash(password.clone()).await?,
        expires_at,
        short_id: None,
    };
    let user = api.registry().create_user(new).await;
    let user = user.map_err(|error| match error {
        UserError::UsernameTaken => Refusal::conflict("username already exists"),
        UserError::TooMany => Refusal::conflict("too many users"),
        UserError::ShortIdTaken => Refusal::internal(&error),
        UserError::Registry(error) => error.into(),
    })?;
    let deed = Deed::to_user("admin.user.created", user.id, &user.username, "made");
    audit::note(&api, &operator, deed).await;
    let created = Created {
        short_id: user.short_id.clone(),
        user: user.into(),
        password: password.expose(),
    };
    Ok(json(StatusCode::CREATED, &created))
}

pub(super) async fn show(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let user = find(&api, &operator, &id).await?;
    let hosts = api.registry().hosts_of_user(user.id).await?;
    let answer = WithHosts {
        hosts: host_info::of(&api, hosts).await?,
        user: user.into(),
    };
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn set_status(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
    Json(change): Json<StatusChange>,
) -> Result<Response, Refusal> {
    let found = find(&api, &operator, &id).await?;
    let status = match change.status.as_deref() {
        Some("active") => UserStatus::Active,
        Some("disabled") => UserStatus::Disabled,
        _ => return Err(Refusal::bad("status must be active or disabled")),
    };
    let changed = api
        .registry()
        .set_user_status(operator.0.account, found.id, status)
        .await;
    let user = changed.map_err(|error| refused(error, "cannot disable the last admin"))?;
    api.0.parts.hosts.changed();
    let deed = Deed::to_user("admin.user.updated", user.id, &user.username, "changed")
        .with("new_status", status.as_str());
    audit::note(&api, &operator, deed).await;
    let user = user.into();
    Ok(json(StatusCode::OK, &Envelope { user }))
}

pub(super) async fn set_expiry(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
    Json(wanted): Json<Expiry>,
) -> Result<Response, Refusal> {
    let found = find(&api, &operator, &id).await?;
    let expires_at = wanted.expires_at.as_deref().map(expiry).transpose()?;
    let changed = api
        .registry()
        .set_user_expiry(operator.0.account, found.id, expires_at)
        .await;
    let user = changed.map_err(|error| refused(error, "cannot disable the last admin"))?;
    let deed = Deed::to_user("admin.user.updated", user.id, &user.username, "changed")
        .with("expires_at", expires_at.map(Timestamp::to_rfc3339));
    audit::note(&api, &operator, deed).await;
    let user = user.into();
    Ok(json(StatusCode::OK, &Envelope { user }))
}

pub(super) async fn rotate_password(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
    OptionalJson(rotation): OptionalJson<Rotation>,
) -> Result<Response, Refusal> {
    let user = find(&api, &operator, &id).await?;
    let given = rotation.new_password;
    let given = given.filter(|text| !text.expose().trim().is_empty());
    let password = chosen_or_generated(given)?;
    let hash = api.0.parts.passwords.hash(password.clone()).await?;
    if !api.registry().set_password_hash(user.id, hash).await? {
        return Err(NOT_FOUND);
    }
    api.0.parts.hosts.changed();
    let kind = "admin.user.password_rotated";
    let deed = Deed::to_user(kind, user.id, &user.username, "has a new password");
    audit::note(&api, &operator, deed).await;
    let answer = NewPassword {
        new_password: password.expose(),
    };
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let user = find(&api, &operator, &id).await?;
    let hosts = api
        .registry()
        .delete_user(operator.0.account, user.id)
        .await
        .map_err(|error| refused(error, "cannot delete the last admin"))?;
    api.0.parts.hosts.changed();
    for host in &hosts {
        audit::note(&api, &operator, host_went(&user, host)).await;
    }
    let deed = Deed::to_user("admin.user.deleted", user.id, &user.username, "deleted");
    audit::note(&api, &operator, deed).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn host_went(user: &User, host: &Host) -> Deed {
    Deed {
        kind: "admin.host.delete",
        user: Some(user.id),
        host: Some(host.id),
        task: None,
        message: format!("host {} went with user {}", host.short_id, user.username),
        metadata: json!({
            "user_id": user.id.to_string(),
            "host_id": host.id.to_string(),
            "force": true,
        }),
    }
}

/// A user of the administrator's own account; another account's answers like one that does not exist.
pub(super) async fn find(api: &Api, operator: &Operator, id: &str) -> Result<User, Refusal> {
    let user = match Uuid::try_parse(id) {
        Ok(id) => api.registry().user(UserId(id)).await?,
        Err(_) => None,
    };
    user.filter(|user| user.account == operator.0.account)
        .ok_or(NOT_FOUND)
}

fn refused(error: ChangeUserError, last_admin: &'static str) -> Refusal {
    match error {
        ChangeUserError::UnknownUser => NOT_FOUND,
        ChangeUserError::LastAdmin => Refusal::conflict(last_admin),
        ChangeUserError::Registry(error) => error.into(),
    }
}

/// Control characters would forge lines in logs and terminals.
fn is_username(name: &str) -> bool {
    USERNAME_CHARS.contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn chosen_or_generated(given: Option<Secret<String>>) -> Result<Secret<String>, Refusal> {
    match given {
        None => Ok(passwords::generate()),
        Some(given) if PASSWORD_CHARS.contains(&given.expose().chars().count()) => Ok(given),
        Some(_) => Err(BAD_PASSWORD),
    }
}

fn expiry(text: &str) -> Result<Timestamp, Refusal> {
    let bad = Refusal::bad("expires_at must be RFC3339 format");
    let at = Timestamp::from_rfc3339(text).map_err(|_| bad)?;
    if at > Timestamp::now() {
        Ok(at)
    } else {
        Err(Refusal::bad("expires_at must be in the future"))
    }
}
