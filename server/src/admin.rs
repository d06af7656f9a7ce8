//! `moorline-server admin …`: what whoever holds the data folder may do, also while the server runs.
//!
//! | module | holds |
//! |---|---|
//! | `keys` | API keys, such as the one that goes into an image |
//! | `users` | people and their passwords |
//! | `accounts`, `devices` | the same for those |
//! | `master_key` | another key for all that is sealed |
//! | `table` | columns for people |
//!
//! Each command gives the text for stdout. *Invariant:* no secret is taken from the argument list.

mod accounts;
mod devices;
mod keys;
mod master_key;
mod table;
mod users;

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use moorline_protocol::Secret;
use serde::Serialize;

use crate::master_key::files::KeyFiles;
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::{Account, DeviceId, NewEvent};

/// What to work on: taken from the configuration of the server.
#[derive(Clone, Debug)]
pub struct DataPlace {
    /// `sqlite:///…?mode=rwc` or `postgres://…`.
    pub database_url: Secret<String>,
    /// Data folder of the server.
    pub data_dir: PathBuf,
    /// File of the master key; made if there is none.
    pub master_key: PathBuf,
}

/// Arguments behind `admin`.
#[derive(Args, Debug)]
pub struct AdminArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// Nouns of `admin`.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// API keys, which devices enrol with
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// People who log in
    #[command(subcommand)]
    User(users::UserCommand),
    /// Accounts, to which everything belongs
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Devices
    #[command(subcommand)]
    Device(devices::DeviceCommand),
    /// The master key, under which secrets are sealed; the server has to be stopped
    #[command(subcommand)]
    MasterKey(master_key::MasterKeyCommand),
}

/// Which account a command is about.
#[derive(Args, Clone, Debug)]
struct AccountChoice {
    /// Name of the account; without it the first one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// Why a command was not done: what was attempted on what, why not, and what to do about it.
#[derive(Debug)]
pub struct AdminError {
    attempt: String,
    cause: String,
    hint: Option<String>,
}

impl AdminError {
    fn new(attempt: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self {
            attempt: attempt.into(),
            cause: cause.to_string(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.attempt, self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AdminError {}

/// Does what `args` say and gives what belongs on stdout, which ends in a line break unless it is empty.
///
/// # Errors
/// [`AdminError`], whose text is for stderr.
pub async fn run(args: AdminArgs, place: &DataPlace) -> Result<String, AdminError> {
    match args.command {
        AdminCommand::Key(command) => keys::run(command, &open(place).await?).await,
        AdminCommand::User(command) => users::run(command, &open(place).await?).await,
        AdminCommand::Account(command) => accounts::run(command, &open(place).await?).await,
        AdminCommand::Device(command) => devices::run(command, &open(place).await?).await,
        AdminCommand::MasterKey(command) => master_key::run(command, place).await,
    }
}

async fn open(place: &DataPlace) -> Result<Registry, AdminError> {
    const HINT: &str =
        "check --data-dir or --config, and that you run this as the user the server runs as";
    // A rotation that was cut off is ended by who holds the lock of the folder: the server, or `master-key rotate`.
    let keys = KeyFiles::read_or_create(&place.master_key)
        .map_err(|error| AdminError::new("open data folder", error).hint(HINT))?;
    let url = place.database_url.expose();
    let opened = async {
        let registry = Registry::open(url, keys.candidates().clone()).await?;
        // Before the server's first start too, the first account is `main` and not what is made here.
        registry.first_account().await?;
        Ok::<_, RegistryError>(registry)
    };
    opened
        .await
        .map_err(|error| AdminError::new("open database", error).hint(HINT))
}

impl AccountChoice {
    async fn find(&self, registry: &Registry) -> Result<Account, AdminError> {
        let Some(name) = &self.account else {
            return registry
                .first_account()
                .await
                .map_err(|error| AdminError::new("find first account", error));
        };
        account_named(registry, name).await
    }
}

async fn account_named(registry: &Registry, name: &str) -> Result<Account, AdminError> {
    let attempt = format!("find account `{name}`");
    registry
        .account_by_name(name)
        .await
        .map_err(|error| AdminError::new(&attempt, error))?
        .ok_or_else(|| {
            AdminError::new(&attempt, "there is none")
                .hint("`moorline-server admin account list` shows them")
        })
}

/// Notes in the audit what was done here. What was done stays done when that fails.
async fn note(
    registry: &Registry,
    account: &Account,
    device: Option<DeviceId>,
    kind: &'static str,
    message: String,
) {
    let event = NewEvent {
        account: Some(account.id),
        device,
        user: None,
        host: None,
        task: None,
        level: "info",
        kind,
        message,
        metadata: serde_json::json!({"by": "admin command"}),
    };
    if let Err(error) = registry.record_event(event).await {
        tracing::warn!(kind, %error, "record event");
    }
}

fn json(value: &impl Serialize) -> Result<String, AdminError> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| AdminError::new("write JSON", error))
}

#[cfg(test)]
mod tests;
