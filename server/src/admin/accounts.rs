//! `admin account create|list|suspend|resume|binding-token`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::table;
use super::{AccountChoice, AdminError, account_named, note};
use crate::registry::Registry;
use crate::registry::model::Account;

/// Longest name of an account, in characters.
const NAME_CHARS: usize = 64;

/// Verbs of `admin account`.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account
    Create {
        /// Name, unique without regard to case
        name: String,
    },
    /// List the accounts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse an account everywhere until it is resumed
    Suspend {
        /// Name of the account
        name: String,
    },
    /// Serve a suspended account again
    Resume {
        /// Name of the account
        name: String,
    },
    /// Show the token by which clients register their keys to an account
    BindingToken(BindingTokenArgs),
}

/// Arguments of `admin account binding-token`.
#[derive(Args, Debug)]
pub struct BindingTokenArgs {
    #[command(flatten)]
    account: AccountChoice,
    /// Replace it; the old one is refused from then on
    #[arg(long)]
    renew: bool,
}

pub(super) async fn run(
    command: AccountCommand,
    registry: &Registry,
) -> Result<String, AdminError> {
    match command {
        AccountCommand::Create { name } => create(name.trim(), registry).await,
        AccountCommand::List { json } => list(json, registry).await,
        AccountCommand::Suspend { name } => suspend(&name, Service::Suspended, registry).await,
        AccountCommand::Resume { name } => suspend(&name, Service::Served, registry).await,
        AccountCommand::BindingToken(args) => {
            let account = args.account.find(registry).await?;
            binding_token(&account, args.renew, registry).await
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Suspended,
    Served,
}

async fn create(name: &str, registry: &Registry) -> Result<String, AdminError> {
    let attempt = format!("make account `{name}`");
    let printable = name.chars().all(|c| !c.is_control());
    if !printable || !(1..=NAME_CHARS).contains(&name.chars().count()) {
        let cause = "a name has 1 to 64 printable characters";
        return Err(AdminError::new(attempt, cause));
    }
    let account = registry
        .create_account(name)
        .await
        .map_err(|error| AdminError::new(attempt, error))?;
    let message = format!("account {name} made");
    note(registry, &account, None, "account.created", message).await;
    Ok(format!("id      {}\nnumber  {}\n", account.uid, account.id))
}

async fn binding_token(
    account: &Account,
    renew: bool,
    registry: &Registry,
) -> Result<String, AdminError> {
    let attempt = format!("show key binding token of account `{}`", account.name);
    let token = if renew {
        registry.renew_binding_token(account.id).await
    } else {
        registry.binding_token(account.id).await
    };
    let token = token
        .map_err(|error| AdminError::new(&attempt, error))?
        .ok_or_else(|| AdminError::new(&attempt, "there is none"))?;
    if renew {
        let message = format!("key binding token of {} renewed", account.name);
        note(
            registry,
            account,
            None,
            "account.key_binding.renewed",
            message,
        )
        .await;
    }
    Ok(format!("{}\n", token.expose()))
}

async fn list(as_json: bool, registry: &Registry) -> Result<String, AdminError> {
    let accounts = registry
        .accounts()
        .await
        .map_err(|error| AdminError::new("list accounts", error))?;
    if as_json {
        let accounts: Vec<_> = accounts
            .into_iter()
            .map(|account| {
                json!({
                    "number": account.id.0,
                    "id": account.uid,
                    "name": account.name,
                    "suspended": account.suspended,
                    "default_region": account.default_region,
                })
            })
            .collect();
        return super::json(&json!({ "accounts": accounts }));
    }
    let rows: Vec<_> = accounts
        .into_iter()
        .map(|account| {
            let state = if account.suspended {
                "suspended"
            } else {
                "active"
            };
            [
                account.id.to_string(),
                account.name,
                account.uid,
                state.to_owned(),
            ]
        })
        .collect();
    Ok(table(["NUMBER", "NAME", "ID", "STATE"], &rows))
}

async fn suspend(name: &str, to: Service, registry: &Registry) -> Result<String, AdminError> {
    let account = account_named(registry, name).await?;
    let suspended = to == Service::Suspended;
    registry
        .suspend_account(account.id, suspended)
        .await
        .map_err(|error| AdminError::new(format!("change account `{name}`"), error))?;
    let (kind, done) = match to {
        Service::Suspended => ("account.suspended", "suspended"),
        Service::Served => ("account.resumed", "resumed"),
    };
    note(
        registry,
        &account,
        None,
        kind,
        format!("account {name} {done}"),
    )
    .await;
    Ok(String::new())
}
