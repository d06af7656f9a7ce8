//! The SSH keys of a user (control contract section 5).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Json, OptionalJson, Refusal, json};
use super::path::Path;
use super::users;
use crate::api::Api;
use crate::gateway::read_private_key;
use crate::registry::error::UserKeyError;
use crate::registry::model::{KeyPurpose, NewUserKey, PublicKey, User, UserId, UserKey};
use crate::ssh_identity::{KeyKind, KeyMakerError, KeyPair};

/// Longest label, in characters.
const MAX_LABEL: usize = 128;
const KEY_NOT_FOUND: Refusal = Refusal::not_found("ssh key not found");
const INVALID_KEY: Refusal = Refusal::bad("public_key is invalid");

#[derive(Deserialize)]
pub(super) struct Wanted {
    public_key: Option<String>,
    private_key: Option<Secret<String>>,
    purpose: Option<String>,
    label: Option<String>,
}

/// Body of `POST .../generate`.
#[derive(Default, Deserialize)]
pub(super) struct Generation {
    key_type: Option<String>,
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

impl Key {
    /// `on_hosts` is the state of the user's keys that all of their running container hosts have.
    fn new(key: UserKey, on_hosts: Option<i64>) -> Self {
        Self {
            id: key.id.to_string(),
            user_id: key.user.to_string(),
            purpose: key.purpose.as_str(),
            label: key.label,
            key_type: key_type(&key.public_key),
            fingerprint: key.public_key.fingerprint,
            public_key: key.public_key.canonical,
            created_at: key.created_at.to_rfc3339(),
            source: "managed",
            synced: match key.purpose {
                // Looked up at every login.
                KeyPurpose::Inbound => true,
                KeyPurpose::Outbound => on_hosts.is_none_or(|version| key.version <= version),
            },
        }
    }
}

fn key_type(key: &PublicKey) -> &'static str {
    match key.canonical.split(['-', ' ']).nth(1) {
        Some("ed25519") => "ed25519",
        Some("rsa") => "rsa",
        _ => "ecdsa",
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

#[derive(Serialize)]
struct Generated<'a> {
    key: Key,
    public_key: &'a str,
    private_key: &'a str,
    key_type: &'static str,
}

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    keys_of(&api, operator.0.id).await
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    add(&api, &operator.0, wanted).await
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
    let user = users::find(&api, &operator, &user).await?;
    keys_of(&api, user.id).await
}

pub(super) async fn create_for_user(
    State(api): State<Api>,
    operator: Operator,
    Path(user): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    let user = users::find(&api, &operator, &user).await?;
    add(&api, &user, wanted).await
}

pub(super) async fn remove_of_user(
    State(api): State<Api>,
    operator: Operator,
    Path((user, key)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let user = users::find(&api, &operator, &user).await?;
    delete(&api, user.id, &key).await
}

pub(super) async fn generate(
    State(api): State<Api>,
    operator: Operator,
    OptionalJson(wanted): OptionalJson<Generation>,
) -> Result<Response, Refusal> {
    make(&api, &operator.0, wanted).await
}

pub(super) async fn generate_for_user(
    State(api): State<Api>,
    operator: Operator,
    Path(user): Path<String>,
    OptionalJson(wanted): OptionalJson<Generation>,
) -> Result<Response, Refusal> {
    let user = users::find(&api, &operator, &user).await?;
    make(&api, &user, wanted).await
}

async fn keys_of(api: &Api, user: UserId) -> Result<Response, Refusal> {
    let on_hosts = api.registry().keys_version_on_hosts(user).await?;
    let keys = api.registry().user_keys(user).await?;
    let keys = keys
        .into_iter()
        .map(|key| Key::new(key, on_hosts))
        .collect();
    Ok(json(StatusCode::OK, &Keys { keys }))
}

async fn add(api: &Api, user: &User, wanted: Wanted) -> Result<Response, Refusal> {
    let purpose = purpose(wanted.purpose.as_deref())?;
    let public = match wanted.public_key.filter(|text| !text.trim().is_empty()) {
        Some(text) => Some(PublicKey::parse(&text).map_err(|_| INVALID_KEY)?),
        None if purpose == KeyPurpose::Inbound => {
            return Err(Refusal::bad("public_key is required"));
        }
        None => None,
    };
    let private = wanted
        .private_key
        .filter(|text| purpose == KeyPurpose::Outbound && !text.expose().trim().is_empty());
    let label = wanted.label.as_deref();
    let (public, private) = match (purpose, public, private) {
        (KeyPurpose::Inbound, Some(public), _) => (public, None),
        (_, None, None) => {
            let pair = new_pair(api, KeyKind::Ed25519, label.unwrap_or(&user.username)).await?;
            (pair.public, Some(pair.private))
        }
        // An identity without its private half is of no use to a host.
        (_, public, private) => outbound(public, private)?,
    };
    let key = keep(api, user, (purpose, label), (public, private)).await?;
    Ok(json(StatusCode::CREATED, &Envelope { key }))
}

/// The private half has to be that of the public key; without a public key it brings its own.
fn outbound(
    public: Option<PublicKey>,
    private: Option<Secret<String>>,
) -> Result<(PublicKey, Option<Secret<String>>), Refusal> {
    let mismatch = Refusal::bad("private_key does not match public_key");
    let Some((own, private)) = private.and_then(|text| read_private_key(text.expose())) else {
        return Err(mismatch);
    };
    let public = public.unwrap_or_else(|| own.clone());
    if public == own {
        Ok((public, Some(private)))
    } else {
        Err(mismatch)
    }
}

async fn make(api: &Api, user: &User, wanted: Generation) -> Result<Response, Refusal> {
    let kind = match wanted.key_type.as_deref() {
        None | Some("") => KeyKind::Ed25519,
        Some(text) => {
            let unknown = Refusal::bad("key_type must be ed25519 or rsa");
            KeyKind::parse(text).ok_or(unknown)?
        }
    };
    let purpose = purpose(wanted.purpose.as_deref())?;
    let label = wanted.label.as_deref();
    let pair = new_pair(api, kind, label.unwrap_or(&user.username)).await?;
    let kept = (purpose == KeyPurpose::Outbound).then(|| pair.private.clone());
    let key = keep(api, user, (purpose, label), (pair.public, kept)).await?;
    let generated = Generated {
        public_key: &key.public_key.clone(),
        key,
        private_key: pair.private.expose(),
        key_type: kind.as_str(),
    };
    Ok(json(StatusCode::OK, &generated))
}

async fn new_pair(api: &Api, kind: KeyKind, comment: &str) -> Result<KeyPair, Refusal> {
    api.0
        .key_maker
        .make(kind, &cleaned(comment))
        .await
        .map_err(|error| match error {
            KeyMakerError::Busy => {
                let text = "too many keys are being made, try again later";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
            }
            KeyMakerError::Failed => Refusal::internal(&error),
        })
}

/// Gives `user` the key and shows it as it is kept.
async fn keep(
    api: &Api,
    user: &User,
    (purpose, label): (KeyPurpose, Option<&str>),
    (public_key, private_key): (PublicKey, Option<Secret<String>>),
) -> Result<Key, Refusal> {
    let label = label.filter(|label| !label.trim().is_empty());
    let new = NewUserKey {
        purpose,
        label: cleaned(label.unwrap_or(&public_key.comment)),
        public_key,
        private_key,
    };
    let added = api.registry().add_user_key(user.id, new).await;
    let key = added.map_err(|error| match error {
        UserKeyError::Exists => Refusal::conflict("ssh key already exists"),
        UserKeyError::TooMany => Refusal::conflict("too many ssh keys"),
        UserKeyError::UnknownUser => Refusal::not_found("user not found"),
        UserKeyError::Registry(error) => error.into(),
    })?;
    let on_hosts = api.registry().keys_version_on_hosts(user.id).await?;
    Ok(Key::new(key, on_hosts))
}

fn purpose(text: Option<&str>) -> Result<KeyPurpose, Refusal> {
    match text {
        None | Some("") => Ok(KeyPurpose::Inbound),
        Some(text) => {
            let unknown = Refusal::bad("purpose must be inbound or outbound");
            KeyPurpose::parse(text).ok_or(unknown)
        }
    }
}

/// A label of one line.
fn cleaned(label: &str) -> String {
    let label: String = label
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_LABEL)
        .collect();
    label.trim().to_owned()
}

async fn delete(api: &Api, user: UserId, key: &str) -> Result<Response, Refusal> {
    let id = Uuid::try_parse(key).map_err(|_| KEY_NOT_FOUND)?;
    if api.registry().remove_user_key(user, id).await? {
        api.0.parts.hosts.changed();
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(KEY_NOT_FOUND)
    }
}
