//! `admin user create|list|set-password`.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use moorline_protocol::Secret;
use serde_json::json;

use super::table::table;
use super::{AccountChoice, AdminError, note};
use crate::passwords::{self, Passwords};
use crate::registry::Registry;
use crate::registry::error::UserError;
use crate::registry::model::{Account, NewUser, Role, Timestamp, User};

const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=50;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// More than the longest password can take, in bytes.
const PASSWORD_SOURCE_BYTES: u64 = 4096;

/// Verbs of `admin user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user
    Create(CreateUser),
    /// List the users of all accounts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a user another password; whoever is logged in as them has to log in again
    SetPassword(SetPassword),
}

/// Arguments of `admin user create`.
#[derive(Args, Debug)]
pub struct CreateUser {
    /// 3 to 50 characters
    #[arg(long)]
    username: String,
    /// What they may do
    #[arg(long, value_enum, default_value_t = RoleArg::User)]
    role: RoleArg,
    #[command(flatten)]
    account: AccountChoice,
    #[command(flatten)]
    password: PasswordSource,
}

/// Arguments of `admin user set-password`.
#[derive(Args, Debug)]
pub struct SetPassword {
    /// Username or short id
    #[arg(long)]
    username: String,
    #[command(flatten)]
    password: PasswordSource,
}

/// Where the password comes from; without any it is made up and printed.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct PasswordSource {
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Everything in the account
    Admin,
    /// Their own hosts
    User,
}

pub(super) async fn run(command: UserCommand, registry: &Registry) -> Result<String, AdminError> {
    match command {
        UserCommand::Create(args) => create(args, registry).await,
        UserCommand::List { json } => list(json, registry).await,
        UserCommand::SetPassword(args) => set_password(args, registry).await,
    }
}

async fn create(args: CreateUser, registry: &Registry) -> Result<String, AdminError> {
    let username = args.username.trim();
    let attempt = format!("make user `{username}`");
    if !USERNAME_CHARS.contains(&username.chars().count()) {
        return Err(AdminError::new(attempt, "username must be 3-50 characters"));
    }
    let account = args.account.find(registry).await?;
    let password = args.password.read(&attempt)?;
    let new = NewUser {
        account: account.id,
        username: username.to_owned(),
        role: match args.role {
            RoleArg::Admin => Role::Admin,
            RoleArg::User => Role::User,
        },
        password_hash: hash(&attempt, password.value.clone()).await?,
        expires_at: None,
        short_id: None,
    };
    let user = registry.create_user(new).await.map_err(|error| {
        let failed = AdminError::new(&attempt, &error);
        match error {
            UserError::UsernameTaken => {
                failed.hint("`moorline-server admin user set-password` changes a password")
            }
            UserError::ShortIdTaken | UserError::TooMany | UserError::Registry(_) => failed,
        }
    })?;
    let message = format!("user {username} made");
    note(registry, &account, None, "user.created", message).await;
    Ok(format!(
        "username  {}\nshort id  {}\n{}",
        user.username,
        user.short_id,
        password.told()
    ))
}

async fn list(as_json: bool, registry: &Registry) -> Result<String, AdminError> {
    let failed = |error| AdminError::new("list users", error);
    let users = registry.users().await.map_err(failed)?;
    let accounts = registry.accounts().await.map_err(failed)?;
    let account = |user: &User| {
        let of_user = accounts.iter().find(|account| account.id == user.account);
        of_user.map_or_else(String::new, |account: &Account| account.name.clone())
    };
    if as_json {
        let users: Vec<_> = users
            .iter()
            .map(|user| {
                json!({
                    "id": user.id.to_string(),
                    "username": user.username,
                    "short_id": user.short_id,
                    "role": user.role.as_str(),
                    "status": user.status.as_str(),
                    "account": account(user),
                    "expires_at": user.expires_at.map(Timestamp::to_rfc3339),
                    "created_at": user.created_at.to_rfc3339(),
                })
            })
            .collect();
        return super::json(&json!({ "users": users }));
    }
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            [
                user.username.clone(),
                user.short_id.clone(),
                user.role.as_str().to_owned(),
                user.status.as_str().to_owned(),
                account(user),
            ]
        })
        .collect();
    Ok(table(
        ["USERNAME", "SHORT ID", "ROLE", "STATUS", "ACCOUNT"],
        &rows,
    ))
}

async fn set_password(args: SetPassword, registry: &Registry) -> Result<String, AdminError> {
    let attempt = format!("set password of user `{}`", args.username);
    let found = registry.user_by_login(&args.username).await;
    let user = found
        .map_err(|error| AdminError::new(&attempt, error))?
        .ok_or_else(|| {
            AdminError::new(&attempt, "there is no such user")
                .hint("`moorline-server admin user list` shows them")
        })?;
    let password = args.password.read(&attempt)?;
    let hash = hash(&attempt, password.value.clone()).await?;
    registry
        .set_password_hash(user.id, hash)
        .await
        .map_err(|error| AdminError::new(&attempt, error))?;
    let account = registry.account(user.account).await;
    if let Ok(Some(account)) = account {
        let message = format!("password of user {} set", user.username);
        note(registry, &account, None, "user.password_set", message).await;
    }
    Ok(password.told())
}

async fn hash(attempt: &str, password: Secret<String>) -> Result<Secret<String>, AdminError> {
    let hashed = async { Passwords::new().await?.hash(password).await };
    hashed
        .await
        .map_err(|error| AdminError::new(attempt, error))
}

struct Password {
    value: Secret<String>,
    generated: bool,
}

impl Password {
    /// A generated password is told, one that was given is not.
    fn told(&self) -> String {
        if self.generated {
            format!("password  {}\n", self.value.expose())
        } else {
            String::new()
        }
    }
}

impl PasswordSource {
    fn read(&self, attempt: &str) -> Result<Password, AdminError> {
        let mut text = String::new();
        let read = match &self.password_file {
            Some(path) => std::fs::File::open(path)
                .and_then(|file| file.take(PASSWORD_SOURCE_BYTES).read_to_string(&mut text)),
            None if self.password_stdin => std::io::stdin()
                .lock()
                .take(PASSWORD_SOURCE_BYTES)
                .read_to_string(&mut text),
            None => {
                return Ok(Password {
                    value: passwords::generate(),
                    generated: true,
                });
            }
        };
        read.map_err(|error| AdminError::new(format!("{attempt}: read password"), error))?;
        // The line break that echo or an editor puts behind it is not part of it.
        let password = text.trim_end_matches(['\r', '\n']);
        if !PASSWORD_CHARS.contains(&password.chars().count()) {
            let cause = "a password has 8 to 128 characters";
            return Err(AdminError::new(attempt, cause));
        }
        Ok(Password {
            value: Secret::new(password.to_owned()),
            generated: false,
        })
    }
}
