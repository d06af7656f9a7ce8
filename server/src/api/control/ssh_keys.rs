//! The SSH keys of a user (control contract section 5).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, Refusal, json};
use crate::api::Api;
use crate::registry::error::UserKeyError;
use crate::registry::model::{KeyPurpose, NewUserKey, PublicKey, User, UserId, UserKey};

/// Longest label, in characters.
const MAX_LABEL: usize = 128;
const KEY_NOT_FOUND: Refusal = Refusal::not_found("ssh key not found");

#[derive(Deserialize)]
pub(super) struct NewKey {
    public_key: Option<String>,
    purpose: Option<String>,
    label: Option<String>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    user_id: String,
    purpose: &'static str,
    label: String,
    public_key: String,
    key_type: &'static str,
    fingerprint: String,
    created_at: String,
    source: &'static str,
    synced: bool,
}

impl From<UserKey> for Key {
    fn from(key: UserKey) -> Self {
        let canonical = &key.public_key.canonical;
        Self {
            id: key.id.to_string(),
            user_id: key.user.to_string(),
            purpose: "inbound",
            label: key.label,
            key_type: match canonical.split(['-', ' ']).nth(1) {
                Some("ed25519") => "ed25519",
                Some("rsa") => "rsa",
                _ => "ecdsa",
            },
            fingerprint: key.public_key.fingerprint,
            public_key: key.public_key.canonical,
            created_at: key.created_at.to_rfc3339(),
            source: "managed",
            // The gateway looks keys up at every login.
            synced: true,
        }
    }
}

#[derive(Serialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Envelope {
    key: Key,
}

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    keys_of(&api, operator.0.id).await
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(new): Json<NewKey>,
) -> Result<Response, Refusal> {
    add(&api, operator.0.id, new).await
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(key): Path<String>,
) -> Result<Response, Refusal> {
    delete(&api, operator.0.id, &key).await
}

pub(super) async fn list_of_user(
    State(api): State<Api>,
    operator: Operator,
    Path(user): Path<String>,
) -> Result<Response, Refusal> {
    let user = user_of_account(&api, &operator, &user).await?;
    keys_of(&api, user.id).await
}

pub(super) async fn create_for_user(
    State(api): State<Api>,
    operator: Operator,
    Path(user): Path<String>,
    Json(new): Json<NewKey>,
) -> Result<Response, Refusal> {
    let user = user_of_account(&api, &operator, &user).await?;
    add(&api, user.id, new).await
}

pub(super) async fn remove_of_user(
    State(api): State<Api>,
    operator: Operator,
    Path((user, key)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let user = user_of_account(&api, &operator, &user).await?;
    delete(&api, user.id, &key).await
}

/// A user of the administrator's own account; another account's answers like one that does not exist.
async fn user_of_account(api: &Api, operator: &Operator, id: &str) -> Result<User, Refusal> {
    let user = match Uuid::try_parse(id) {
        Ok(id) => api.registry().user(UserId(id)).await?,
        Err(_) => None,
    };
    user.filter(|user| user.account == operator.0.account)
        .ok_or(Refusal::not_found("user not found"))
}

async fn keys_of(api: &Api, user: UserId) -> Result<Response, Refusal> {
    let keys = api.registry().user_keys(user).await?;
    let keys = keys.into_iter().map(Key::from).collect();
    Ok(json(StatusCode::OK, &Keys { keys }))
}

async fn add(api: &Api, user: UserId, new: NewKey) -> Result<Response, Refusal> {
    match new.purpose.as_deref() {
        None | Some("" | "inbound") => {}
        Some("outbound") => {
            let text = "outbound keys need managed hosts, which this server does not have";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
        }
        Some(_) => return Err(Refusal::bad("purpose must be inbound or outbound")),
    }
    let text = new.public_key.filter(|text| !text.trim().is_empty());
    let text = text.ok_or(Refusal::bad("public_key is required"))?;
    let key = PublicKey::parse(&text).map_err(|_| Refusal::bad("public_key is invalid"))?;
    let label: String = new
        .label
        .filter(|label| !label.trim().is_empty())
        .unwrap_or_else(|| key.comment.clone())
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_LABEL)
        .collect();
    let new = NewUserKey {
        purpose: KeyPurpose::Inbound,
        label: label.trim().to_owned(),
        public_key: key,
        private_key: None,
    };
    let added = api.registry().add_user_key(user, new).await;
    let key = added.map_err(|error| match error {
        UserKeyError::Exists => Refusal::conflict("ssh key already exists"),
        UserKeyError::UnknownUser => Refusal::not_found("user not found"),
        UserKeyError::Registry(error) => error.into(),
    })?;
    let key = Key::from(key);
    Ok(json(StatusCode::CREATED, &Envelope { key }))
}

async fn delete(api: &Api, user: UserId, key: &str) -> Result<Response, Refusal> {
    let id = Uuid::try_parse(key).map_err(|_| KEY_NOT_FOUND)?;
    if api.registry().remove_user_key(user, id).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(KEY_NOT_FOUND)
    }
}
