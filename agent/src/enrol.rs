//! First boot: device key, identity, client script. Each step is repeatable and durable before the next begins, so
//! that any number of power cuts make one client at the server: `create_new_client` is idempotent on the public key.

use moorline_protocol::Secret;
use moorline_protocol::script::ScriptError;
use reqwest::Url;
use std::path::{Path, PathBuf};
use thiserror::Error;

use crate::agent::with_causes;
use crate::api::{ApiClient, ApiError, Credential, Introduction};
use crate::clock::{ClockFloor, build_time};
use crate::config::{AfterEnrolment, Config, KeySource};
use crate::device_key::DeviceKey;
use crate::inventory;
use crate::provision::{Provision, Quadruple};
use crate::reconnect::Ended;
use crate::state::{Identity, StateError, StateFolder};

/// Largest key file that is read, in bytes; a key has 32.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// Why the device is not enrolled, or its script not renewed.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The API cannot be used.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no credential.
    #[error("{0}")]
    NoCredential(String),
    /// The client script is not one.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl EnrolError {
    /// What the error means for the next attempt.
    #[must_use]
    pub const fn ended(&self) -> Ended {
        match self {
            Self::Api(ApiError::TooMany(come_back_in)) => Ended::Told {
                come_back_in: *come_back_in,
            },
            Self::Api(ApiError::Refused { .. } | ApiError::NoUrl | ApiError::Setup(_))
            | Self::NoCredential(_)
            | Self::Script(_) => Ended::Rejected,
            Self::State(_)
            | Self::Api(
                ApiError::Unreachable(_) | ApiError::NotMoorline(_) | ApiError::Busy { .. },
            ) => Ended::Lost {
                lived: std::time::Duration::ZERO,
            },
        }
    }
}

/// A device that is known to the server.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its key.
    pub key: DeviceKey,
    /// Who it is.
    pub identity: Identity,
    /// Where its node is.
    pub provision: Provision,
}

/// Takes the steps of first boot that were not taken yet. Key and identity have to be kept; with a script that
/// cannot be, the tunnel is held all the same.
///
/// # Errors
/// [`EnrolError`]; what was done stays done.
pub async fn enrol(config: &Config, state: &StateFolder) -> Result<Enrolled, EnrolError> {
    state.create()?;
    let key = state.ensure_device_key()?;
    let identity = match state.identity()? {
        Some(identity) => identity,
        None => create_client(config, state, &key).await?,
    };
    let provision = match stored_provision(state, &identity)? {
        Some(provision) => provision,
        None => fetch_script(config, state, &identity, None).await?,
    };
    // Until the script is kept, the key may be needed to fetch it again.
    let kept = matches!(state.provision(), Ok(Some(_)));
    if kept && let Err(error) = dispose_of_key(config, state) {
        tracing::warn!(error = with_causes(&error), "forget or keep the API key");
    }
    Ok(Enrolled {
        key,
        identity,
        provision,
    })
}

/// Asks the API for the client script again: the node may have moved.
///
/// # Errors
/// [`EnrolError`].
pub async fn renew(
    config: &Config,
    state: &StateFolder,
    enrolled: &Enrolled,
) -> Result<Provision, EnrolError> {
    let quadruple = enrolled.provision.quadruple.as_ref();
    fetch_script(config, state, &enrolled.identity, quadruple).await
}

/// Removes the client at the server. One that is gone already counts as removed.
///
/// # Errors
/// [`EnrolError`].
pub async fn delete_client(
    config: &Config,
    state: &StateFolder,
    identity: &Identity,
) -> Result<(), EnrolError> {
    let key = require_key(config, state, "with the scope device:delete")?;
    let api = api_client(config, state, Some(identity))?;
    let deleted = api.delete_client(&key, &identity.client_id).await;
    note_time(state, &api);
    match deleted {
        Err(ApiError::Refused { code: 31, .. }) => Ok(()),
        result => Ok(result?),
    }
}

/// A client for the API that this device belongs to.
///
/// # Errors
/// [`ApiError::NoUrl`] or [`ApiError::Setup`].
pub fn api_client(
    config: &Config,
    state: &StateFolder,
    identity: Option<&Identity>,
) -> Result<ApiClient, ApiError> {
    let url = api_url(config, identity).ok_or(ApiError::NoUrl)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        tracing::warn!(%url, "api_url is not https: keys and scripts travel in the clear");
    }
    ApiClient::new(url, config, floor(state))
}

/// Base of the API: the configured one, else the one that gave the identity.
#[must_use]
pub fn api_url(config: &Config, identity: Option<&Identity>) -> Option<Url> {
    let from_identity = || Url::parse(&identity?.api_url).ok();
    config.api_url.clone().or_else(from_identity)
}

/// The earliest time that it can be now.
#[must_use]
pub fn floor(state: &StateFolder) -> ClockFloor {
    ClockFloor::new(build_time(), state.last_seen())
}

/// The provisioning key, if there is one: configured, in its file, or kept in the state folder.
///
/// # Errors
/// [`EnrolError`] when its file cannot be read.
pub fn api_key(config: &Config, state: &StateFolder) -> Result<Option<Secret<String>>, EnrolError> {
    let configured = match &config.api_key {
        KeySource::None => None,
        KeySource::Given(key) => Some(key.clone()),
        KeySource::File(path) => read_key_file(path)?,
    };
    match configured {
        Some(key) => Ok(Some(key)),
        None => Ok(state.api_key()?),
    }
}

async fn create_client(
    config: &Config,
    state: &StateFolder,
    key: &DeviceKey,
) -> Result<Identity, EnrolError> {
    let api_key = require_key(
        config,
        state,
        "with the scopes device:create and device:read",
    )?;
    let api = api_client(config, state, None)?;
    let hardware = inventory::hardware(Path::new("/"));
    let introduction = Introduction {
        public_key: &key.public_line(),
        hostname: &inventory::hostname(),
        hardware: hardware
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect(),
    };
    let made = api
        .create_new_client(&api_key, &config.wishes, introduction)
        .await;
    note_time(state, &api);
    let made = made?;
    let identity = Identity {
        client_id: made.client_id,
        name: made.client_name,
        region: made.region,
        api_url: api_url(config, None).map_or_else(String::new, String::from),
    };
    state.write_identity(&identity)?;
    let (name, client_id) = (&identity.name, &identity.client_id);
    let again = if made.created {
        ""
    } else {
        "; the server knew it"
    };
    tracing::info!(name, client_id, "enrolled{again}");
    Ok(identity)
}

/// The stored script, if it is of this device. A damaged one counts as none: it can be fetched again.
fn stored_provision(
    state: &StateFolder,
    identity: &Identity,
) -> Result<Option<Provision>, EnrolError> {
    match state.provision() {
        Ok(stored) => Ok(stored.filter(|stored| stored.client_id == identity.client_id)),
        Err(error @ StateError::Damaged { .. }) => {
            tracing::warn!(%error, "fetching the client script again");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn fetch_script(
    config: &Config,
    state: &StateFolder,
    identity: &Identity,
    quadruple: Option<&Quadruple>,
) -> Result<Provision, EnrolError> {
    let credential = match quadruple {
        Some(quadruple) => Credential::Quadruple(quadruple.clone()),
        None => Credential::ApiKey(require_key(config, state, "with the scope device:read")?),
    };
    let api = api_client(config, state, Some(identity))?;
    let script = api.client_script(&credential, &identity.client_id).await;
    note_time(state, &api);
    let script = script?;
    let provision = Provision::parse(&script)?;
    if provision.client_id != identity.client_id {
        let other = "the client script is that of another device";
        return Err(ApiError::NotMoorline(other.into()).into());
    }
    if let Err(error) = state.write_script(&script) {
        // The tunnel does not wait for a disk; the next start fetches the script again.
        tracing::warn!(error = with_causes(&error), "keep the client script");
    }
    Ok(provision)
}

fn require_key(
    config: &Config,
    state: &StateFolder,
    scopes: &str,
) -> Result<Secret<String>, EnrolError> {
    api_key(config, state)?.ok_or_else(|| {
        EnrolError::NoCredential(format!(
            "no API key: give one {scopes} as api_key, api_key_file or MOORLINE_API_KEY"
        ))
    })
}

/// After enrolment the device proves itself with its own key: the provisioning key is forgotten unless it is to be
/// kept. A key that stands in the configuration itself cannot be removed; it is only used again to ask where the
/// node is.
fn dispose_of_key(config: &Config, state: &StateFolder) -> Result<(), EnrolError> {
    match config.after_enrolment {
        AfterEnrolment::Keep => {
            if let Some(key) = api_key(config, state)? {
                state.write_api_key(&key)?;
            }
        }
        AfterEnrolment::Forget => {
            state.remove_api_key()?;
            if let KeySource::File(path) = &config.api_key {
                forget_key_file(path);
            }
        }
    }
    Ok(())
}

fn forget_key_file(path: &PathBuf) {
    match std::fs::remove_file(path) {
        Ok(()) => tracing::info!(path = %path.display(), "provisioning key forgotten"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "key file stays: it cannot be removed");
        }
    }
}

fn read_key_file(path: &Path) -> Result<Option<Secret<String>>, EnrolError> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result,
    };
    let mut text = String::new();
    file.and_then(|file| file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text))
        .map_err(|source| StateError::Disk {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
    let key = text.trim();
    Ok((!key.is_empty()).then(|| Secret::new(key.to_owned())))
}

/// Keeps the time that TLS vouched for: the floor of the next boot.
fn note_time(state: &StateFolder, api: &ApiClient) {
    if let Some(seen) = api.trusted_time()
        && let Err(error) = state.note_seen(seen)
    {
        tracing::debug!(%error, "keep the time for the next boot");
    }
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}
