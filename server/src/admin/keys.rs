//! `admin key create|list|regenerate|revoke`.

use std::time::Duration;

use clap::{Args, Subcommand};
use moorline_protocol::Secret;
use moorline_protocol::operator::{ApiKeyInfo, ApiKeyList};
use moorline_protocol::scope::Scope;
use serde::Serialize;

use super::table::table;
use super::{AccountChoice, AdminError, json, note};
use crate::api::apiclients::rules;
use crate::registry::Registry;
use crate::registry::error::{ApiClientError, ChangeClientError};
use crate::registry::model::{ApiKey, Grant, KeyContext, KeyLimits, NewApiClient, Timestamp};

/// Calls per minute of a key that was given no limit.
const DEFAULT_RATE_LIMIT: i64 = 600;

/// Verbs of `admin key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an API key and print its secret, this once
    Create(CreateKey),
    /// List the keys, without their secrets
    List {
        #[command(flatten)]
        #[doc(hidden)]
        account: AccountArg,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the id and the secret of a key anew and print them; the old ones are refused at once
    Regenerate {
        /// Id or name of the API client, such as root
        #[arg(value_name = "ID|NAME")]
        client: String,
        #[command(flatten)]
        #[doc(hidden)]
        account: AccountArg,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key out of use, at once and for good, locked or not
    Revoke {
        /// Id of the key, or name it was made with
        #[arg(value_name = "ID|NAME")]
        key: String,
        #[command(flatten)]
        #[doc(hidden)]
        account: AccountArg,
    },
}

/// See [`AccountChoice`].
#[derive(Args, Debug)]
pub struct AccountArg {
    #[command(flatten)]
    choice: AccountChoice,
}

/// Arguments of `admin key create`.
#[derive(Args, Debug)]
pub struct CreateKey {
    /// Name of the key: 1 to 64 of A-Z a-z 0-9 . _ -, first a letter
    #[arg(long)]
    name: String,
    /// What it may do, with commas between; without it device:create,device:read
    #[arg(long, value_delimiter = ',', value_parser = scope)]
    scope: Option<Vec<String>>,
    /// Bind it to device names with this prefix
    #[arg(long, value_parser = prefix)]
    prefix: Option<String>,
    /// Bind it to this region
    #[arg(long)]
    region: Option<String>,
    /// How many devices may be made with it
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    uses: Option<i64>,
    /// When it ends: a time such as 2027-01-31T12:00:00Z, or a duration such as 30d
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Timestamp>,
    /// Calls per minute, 1 to 1000000, or -1 without limit
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RATE_LIMIT, allow_negative_numbers = true, value_parser = rate_limit)]
    rate_limit: i64,
    #[command(flatten)]
    account: AccountChoice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A key just made.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    key: ApiKeyInfo,
    /// Shown this once.
    secret: String,
    account: String,
}

pub(super) async fn run(command: KeyCommand, registry: &Registry) -> Result<String, AdminError> {
    match command {
        KeyCommand::Create(args) => create(args, registry).await,
        KeyCommand::List { account, json } => list(&account.choice, json, registry).await,
        KeyCommand::Regenerate {
            client,
            account,
            json,
        } => regenerate(&client, &account.choice, json, registry).await,
        KeyCommand::Revoke { key, account } => revoke(&key, &account.choice, registry).await,
    }
}

async fn create(args: CreateKey, registry: &Registry) -> Result<String, AdminError> {
    let attempt = format!("make API key `{}`", args.name);
    if !rules::is_client_name(&args.name) {
        let cause = "a name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter";
        return Err(AdminError::new(attempt, cause));
    }
    let account = args.account.find(registry).await?;
    let scope = args.scope.unwrap_or_else(rules::default_scopes);
    let new = NewApiClient {
        name: Some(args.name),
        context: KeyContext::Account,
        scope,
        rate_limit: args.rate_limit,
        limits: KeyLimits {
            prefix: args.prefix,
            region: args.region,
            uses: args.uses,
            expires_at: args.expires,
        },
    };
    let made = registry.create_api_client(account.id, new).await;
    let (key, secret) = made.map_err(|error| {
        let failed = AdminError::new(&attempt, &error);
        match error {
            ApiClientError::NameTaken => {
                failed.hint("choose another name, or revoke that one first")
            }
            ApiClientError::Registry(_) => failed,
        }
    })?;
    let message = format!("API key {} made", key.owner_name);
    note(registry, &account, None, "api_key.created", message).await;
    shown(key, secret, account.name, args.json)
}

/// A key just made or made anew, with its secret.
fn shown(
    key: ApiKey,
    secret: Secret<String>,
    account: String,
    as_json: bool,
) -> Result<String, AdminError> {
    let made = Made {
        key: key.into(),
        secret: secret.into_exposed(),
        account,
    };
    if as_json {
        return json(&made);
    }
    Ok(format!(
        "id      {}\nsecret  {}\n",
        made.key.id, made.secret
    ))
}

async fn list(
    account: &AccountChoice,
    as_json: bool,
    registry: &Registry,
) -> Result<String, AdminError> {
    let account = account.find(registry).await?;
    let keys = registry
        .api_keys(account.id)
        .await
        .map_err(|error| AdminError::new("list API keys", error))?;
    let api_keys: Vec<ApiKeyInfo> = keys.into_iter().map(ApiKeyInfo::from).collect();
    if as_json {
        return json(&ApiKeyList { api_keys });
    }
    let rows: Vec<_> = api_keys
        .into_iter()
        .map(|key| {
            [
                key.name,
                key.id,
                key.scope.join(","),
                key.prefix.unwrap_or_default(),
                key.region.unwrap_or_default(),
                key.uses.map(|uses| uses.to_string()).unwrap_or_default(),
                key.expires_at.unwrap_or_default(),
            ]
        })
        .collect();
    let heading = ["NAME", "ID", "SCOPE", "PREFIX", "REGION", "USES", "EXPIRES"];
    Ok(table(heading, &rows))
}

async fn regenerate(
    client: &str,
    account: &AccountChoice,
    as_json: bool,
    registry: &Registry,
) -> Result<String, AdminError> {
    let account = account.find(registry).await?;
    let attempt = format!("regenerate key of API client `{client}`");
    // Whoever holds the data folder may give everything.
    let grant = Grant::Everything;
    let made = registry.regenerate_api_key(account.id, client, &grant);
    let (key, secret) = made.await.map_err(|error| match error {
        ChangeClientError::Unknown => {
            let cause = format!("account `{}` has none of this id or name", account.name);
            let hint = "`moorline-server admin key list` shows what there is, `admin key create` makes one";
            AdminError::new(&attempt, cause).hint(hint)
        }
        error => AdminError::new(&attempt, error),
    })?;
    let message = format!("API key of {} regenerated", key.owner_name);
    note(registry, &account, None, "api_key.regenerated", message).await;
    shown(key, secret, account.name, as_json)
}

async fn revoke(
    key: &str,
    account: &AccountChoice,
    registry: &Registry,
) -> Result<String, AdminError> {
    let account = account.find(registry).await?;
    let attempt = format!("revoke API key `{key}`");
    let revoked = registry
        .revoke_api_key(account.id, key)
        .await
        .map_err(|error| AdminError::new(&attempt, error))?;
    if !revoked {
        let cause = format!("account `{}` has none of this id or name", account.name);
        return Err(AdminError::new(attempt, cause)
            .hint("`moorline-server admin key list` shows what there is"));
    }
    let message = format!("API key {key} revoked");
    note(registry, &account, None, "api_key.revoked", message).await;
    Ok(String::new())
}

fn scope(text: &str) -> Result<String, String> {
    Scope::check(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = rules::is_prefix(text);
    fits.then(|| text.to_owned()).ok_or_else(|| {
        "a prefix has at most 32 of A-Z a-z 0-9 . _ - and begins with a letter or digit".into()
    })
}

fn rate_limit(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|limit| rules::is_rate_limit(*limit))
        .ok_or_else(|| "a number from 1 to 1000000, or -1 for no limit".into())
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let at = match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => return Err("it would be over at once".into()),
        Ok(duration) => now.after(duration),
        Err(_) => Timestamp::from_rfc3339(text).map_err(|_| {
            "neither a time such as 2027-01-31T12:00:00Z nor a duration such as 30d".to_owned()
        })?,
    };
    if at <= now {
        return Err("it is in the past".into());
    }
    Ok(at)
}
