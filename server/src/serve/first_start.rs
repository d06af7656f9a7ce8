//! What a new server needs to be of use: an account, an administrator, a key that may do everything, one that enrols
//! devices.

use moorline_protocol::Secret;
use moorline_protocol::scope::Scope;

use super::ServeError;
use crate::api::apiclients::rules;
use crate::config::Config;
use crate::passwords::Passwords;
use crate::random;
use crate::registry::Registry;
use crate::registry::error::ApiClientError;
use crate::registry::model::{AccountId, KeyContext, KeyLimits, NewApiClient, NewUser, Role};

/// Name of the API client whose key enrols the first devices.
const ENROLMENT_CLIENT: &str = "first-devices";
/// Name of the API client that may do everything in the first account (API client contract section 1).
const ROOT_CLIENT: &str = "root";

/// What was made at this start; printed once and kept nowhere in clear.
#[derive(Default)]
pub(super) struct Welcome {
    /// The first administrator.
    pub(super) admin: Option<NewAdmin>,
    /// The key of the API client `root`.
    pub(super) root_key: Option<NewKey>,
    /// Secret of a key that enrols devices.
    pub(super) enrolment_key: Option<Secret<String>>,
}

/// A key just made.
pub(super) struct NewKey {
    /// `_key_` and 18 digits.
    pub(super) id: String,
    /// Shown this once.
    pub(super) secret: Secret<String>,
}

/// The first administrator.
pub(super) struct NewAdmin {
    /// Their name.
    pub(super) username: String,
    /// Their password, if it was made here.
    pub(super) generated: Option<Secret<String>>,
}

/// Makes what is missing.
pub(super) async fn prepare(
    config: &Config,
    registry: &Registry,
    passwords: &Passwords,
) -> Result<Welcome, ServeError> {
    let account = registry.first_account().await?.id;
    let first_time = !registry.any_admin().await?;
    if !first_time {
        return Ok(Welcome::default());
    }
    // The keys first: an administrator is the sign that the first start was complete.
    let every = Scope::ALL.map(|scope| scope.as_str().to_owned()).to_vec();
    let root_key = new_key(config, registry, account, ROOT_CLIENT, every).await?;
    let default = rules::default_scopes();
    let enrolment_key = new_key(config, registry, account, ENROLMENT_CLIENT, default).await?;
    let admin = first_admin(registry, passwords, account).await?;
    Ok(Welcome {
        admin: Some(admin),
        root_key,
        enrolment_key: enrolment_key.map(|key| key.secret),
    })
}

/// Makes the API client `name` with its key; `None` when another node of the same database was faster.
async fn new_key(
    config: &Config,
    registry: &Registry,
    account: AccountId,
    name: &str,
    scope: Vec<String>,
) -> Result<Option<NewKey>, ServeError> {
    // Left by a first start that did not get to its end, and never shown.
    registry.revoke_api_key(account, name).await?;
    let client = NewApiClient {
        name: Some(name.to_owned()),
        context: KeyContext::Account,
        scope,
        rate_limit: config.default_rate_limit.into(),
        limits: KeyLimits::default(),
    };
    match registry.create_api_client(account, client).await {
        Ok((key, secret)) => Ok(Some(NewKey { id: key.id, secret })),
        Err(ApiClientError::NameTaken) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn first_admin(
    registry: &Registry,
    passwords: &Passwords,
    account: AccountId,
) -> Result<NewAdmin, ServeError> {
    let from_env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let username = from_env("ADMIN_USERNAME")
        .map_or_else(|| "admin".to_owned(), |name| name.trim().to_owned());
    if !(3..=50).contains(&username.chars().count()) {
        return Err(ServeError::AdminUsername);
    }
    let given = from_env("ADMIN_PASSWORD").map(Secret::new);
    if given
        .as_ref()
        .is_some_and(|given| !(8..=128).contains(&given.expose().chars().count()))
    {
        return Err(ServeError::AdminPassword);
    }
    let generated = given.is_none().then(|| Secret::new(random::password()));
    let password = given
        .or_else(|| generated.clone())
        .ok_or(ServeError::AdminPassword)?;
    let user = NewUser {
        account,
        username: username.clone(),
        role: Role::Admin,
        password_hash: passwords.hash(password).await?,
        expires_at: None,
        short_id: Some(username.clone()),
    };
    registry.create_user(user).await?;
    Ok(NewAdmin {
        username,
        generated,
    })
}
