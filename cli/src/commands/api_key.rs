//! `moorline api-key`.

use std::time::SystemTime;

use moorline_protocol::operator::{ApiKeyEnvelope, ApiKeyInfo, ApiKeyList, NewApiKey};
use reqwest::Method;
use serde::Serialize;

use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

/// API keys: what factories enrol devices with
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key; its secret is shown this once
    Create(CreateArguments),
    /// Show all keys, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// Refuse a key from now on
    Revoke {
        /// Id or name
        key: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArguments {
    /// Name, unique in the account
    #[arg(long)]
    name: String,
    /// What it may do, such as device:create,device:read
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    scope: Option<Vec<String>>,
    /// Names of devices it makes begin so
    #[arg(long)]
    prefix: Option<String>,
    /// It makes devices in this region only
    #[arg(long)]
    region: Option<String>,
    /// How many devices it may make
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    uses: Option<i64>,
    /// Until when: 2027-01-31T12:00:00Z, or a time from now such as 30d
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Calls per minute, -1 without limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate_limit: Option<i64>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    revoked: &'a str,
}

const KEYS: [&str; 3] = ["v1", "admin", "api-keys"];

/// Runs `moorline api-key`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => create(session, arguments).await,
        Command::List => list(session).await,
        Command::Revoke { key } => revoke(session, &key).await,
    }
}

async fn create(session: &Session, arguments: CreateArguments) -> anyhow::Result<()> {
    let expires_at = arguments
        .expires
        .map(|when| instant::parse_when(&when, SystemTime::now()))
        .transpose()?;
    let attempt = format!("make API key {}", arguments.name);
    let wanted = NewApiKey {
        name: arguments.name,
        scope: arguments.scope,
        rate_limit: arguments.rate_limit,
        prefix: arguments.prefix,
        region: arguments.region,
        uses: arguments.uses,
        expires_at,
    };
    let answer: ApiKeyEnvelope = session
        .api
        .submit(&attempt, Method::POST, &KEYS, &wanted)
        .await?;
    session.output.data(&answer, |output| {
        let mut table = Table::bare();
        table.pair("name", &answer.api_key.name);
        table.pair("id", &answer.api_key.id);
        table.pair("secret", &answer.secret);
        output.table(table)?;
        output.say("the secret is not shown again");
        Ok(())
    })
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let answer: ApiKeyList = session.api.get("list API keys", &KEYS, &[]).await?;
    session.output.data(&answer, |output| {
        if answer.api_keys.is_empty() {
            output.say("no API keys");
            return Ok(());
        }
        let mut table = Table::new(&["NAME", "ID", "SCOPE", "PREFIX", "REGION", "USES", "EXPIRES"]);
        for key in &answer.api_keys {
            add_key(&mut table, key);
        }
        output.table(table)
    })
}

fn add_key(table: &mut Table, key: &ApiKeyInfo) {
    let uses = key
        .uses
        .map_or_else(|| "any".to_owned(), |uses| uses.to_string());
    let uses_mark = if key.uses == Some(0) {
        Mark::Bad
    } else {
        Mark::Plain
    };
    table.row([
        (key.name.as_str(), Mark::Plain),
        (&key.id, Mark::Plain),
        (&key.scope.join(" "), Mark::Plain),
        (key.prefix.as_deref().unwrap_or_default(), Mark::Plain),
        (key.region.as_deref().unwrap_or_default(), Mark::Plain),
        (&uses, uses_mark),
        (key.expires_at.as_deref().unwrap_or("never"), Mark::Plain),
    ]);
}

async fn revoke(session: &Session, key: &str) -> anyhow::Result<()> {
    let attempt = format!("revoke API key {key}");
    let path = ["v1", "admin", "api-keys", key];
    session.api.delete(&attempt, &path).await?;
    session.output.data(&Revoked { revoked: key }, |output| {
        output.say(&format!("{key} is revoked"));
        Ok(())
    })
}
