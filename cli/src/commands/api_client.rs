//! `moorline api-client`.

use moorline_protocol::apiclients::{ApiClientObject, ApiKeyObject, Page};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::output::{Mark, Table};
use crate::session::Session;

mod attributes;

use attributes::{Creation, KeyArguments, Update};

const EXAMPLES: &str = "Examples:
  moorline api-client create --friendly-name factory --prefix cam --uses 1000
  moorline api-client list --tags factory
  moorline api-client key show factory
  moorline api-client key regenerate factory --yes
  moorline api-client rm factory --yes";

/// API clients: holders of keys, such as factories that enrol devices
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show all API clients, oldest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show everything known of an API client but its secret
    Show {
        /// Name or id
        client: String,
    },
    /// Make an API client and show its key
    Create(Creation),
    /// Change an API client; what is not named stays
    Update(Update),
    /// Remove API clients with their keys; devices made with them stay
    Rm {
        /// Names or ids
        #[arg(required = true, value_name = "CLIENT")]
        clients: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// The key of an API client
    #[command(subcommand)]
    Key(KeyCommand),
}

/// The key of an API client
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the key with its secret
    Show {
        /// Name or id of the API client
        client: String,
    },
    /// Make id and secret of the key anew; the old ones are refused at once
    Regenerate {
        /// Name or id of the API client
        client: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Change what the key may do; its id and secret stay
    Set {
        /// Name or id of the API client
        client: String,
        #[command(flatten)]
        key: KeyArguments,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// By tags, with commas between: t must be there, -t must not, of all t^ at least one
    #[arg(long, allow_hyphen_values = true)]
    tags: Option<String>,
    /// With exactly this friendly name
    #[arg(long, value_name = "TEXT")]
    friendly_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    api_clients: Vec<ApiClientObject>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    api_client: ApiClientObject,
    api_key: ApiKeyObject,
}

#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

const CLIENTS: [&str; 3] = ["v1", "admin", "api-clients"];
/// Longest page that the server gives.
const PAGE_SIZE: u64 = 200;
/// Pages that are fetched at most: more are no answer of a sound server.
const MAX_PAGES: u64 = 10_000;

/// Runs `moorline api-client`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(session, &arguments).await,
        Command::Show { client } => show(session, &client).await,
        Command::Create(arguments) => create(session, arguments).await,
        Command::Update(arguments) => update(session, arguments).await,
        Command::Rm { clients, yes } => remove(session, clients, yes).await,
        Command::Key(KeyCommand::Show { client }) => show_key(session, &client).await,
        Command::Key(KeyCommand::Regenerate { client, yes }) => {
            regenerate(session, &client, yes).await
        }
        Command::Key(KeyCommand::Set { client, key }) => set_key(session, &client, key).await,
    }
}

async fn list(session: &Session, arguments: &ListArguments) -> anyhow::Result<()> {
    let mut api_clients: Vec<ApiClientObject> = Vec::new();
    for number in 1..=MAX_PAGES {
        let mut query = vec![
            ("pageSize", PAGE_SIZE.to_string()),
            ("pageNo", number.to_string()),
        ];
        let filters = [
            ("tags", &arguments.tags),
            ("friendlyName", &arguments.friendly_name),
        ];
        for (name, value) in filters {
            query.extend(value.clone().map(|value| (name, value)));
        }
        let page: Page<ApiClientObject> = session
            .api
            .get("list API clients", &CLIENTS, &query)
            .await?;
        let is_last = page.results.is_empty() || number >= page.num_of_pages;
        api_clients.extend(page.results);
        if is_last {
            break;
        }
    }
    let answer = Listed { api_clients };
    session.output.data(&answer, |output| {
        if answer.api_clients.is_empty() {
            output.say("no API clients");
            return Ok(());
        }
        let columns = ["NAME", "ID", "LOCKED", "TAGS", "FRIENDLY NAME", "CHANGED"];
        let mut table = Table::new(&columns).cut();
        for client in &answer.api_clients {
            let tags = client.tags.as_deref().unwrap_or_default().join(",");
            table.row([
                (client.name.as_str(), Mark::Plain),
                (&client.id, Mark::Plain),
                (if client.locked { "locked" } else { "" }, Mark::Good),
                (&tags, Mark::Plain),
                (&client.friendly_name, Mark::Plain),
                (&client.date_modified, Mark::Dim),
            ]);
        }
        output.table(table)
    })
}

async fn show(session: &Session, client: &str) -> anyhow::Result<()> {
    let attempt = format!("show API client {client}");
    let answer: ApiClientObject = session.api.get(&attempt, &one(client), &[]).await?;
    session
        .output
        .data(&answer, |output| output.table(sheet(&answer)))
}

async fn create(session: &Session, arguments: Creation) -> anyhow::Result<()> {
    let body = arguments.into_body()?;
    let api_client: ApiClientObject = session
        .api
        .submit("make API client", Method::POST, &CLIENTS, &body)
        .await?;
    let attempt = format!("show key of API client {}", api_client.name);
    let path = key_of(&api_client.id);
    let api_key: ApiKeyObject = session.api.get(&attempt, &path, &[]).await?;
    let answer = Made {
        api_client,
        api_key,
    };
    session.output.data(&answer, |output| {
        let mut table = sheet(&answer.api_client);
        add_key(&mut table, &answer.api_key);
        output.table(table)
    })
}

async fn update(session: &Session, arguments: Update) -> anyhow::Result<()> {
    let attempt = format!("change API client {}", arguments.client);
    let (client, body) = arguments.into_body()?;
    let answer: ApiClientObject = session
        .api
        .submit(&attempt, Method::PUT, &one(&client), &body)
        .await?;
    session
        .output
        .data(&answer, |output| output.table(sheet(&answer)))
}

async fn remove(session: &Session, clients: Vec<String>, yes: bool) -> anyhow::Result<()> {
    let question = format!("remove {} and refuse their keys?", clients.join(", "));
    if !yes && !session.output.confirm(&question)? {
        session.output.say("nothing removed");
        return Ok(());
    }
    let mut removed = Vec::new();
    let mut latest_error = None;
    for client in clients {
        let attempt = format!("remove API client {client}");
        match session.api.delete(&attempt, &one(&client)).await {
            Ok(()) => removed.push(client),
            Err(error) => {
                if let Some(before) = latest_error.replace(error) {
                    session.output.error(&before);
                }
            }
        }
    }
    let answer = Removed { removed };
    session.output.data(&answer, |output| {
        for client in &answer.removed {
            output.say(&format!("{client} is removed"));
        }
        Ok(())
    })?;
    latest_error.map_or(Ok(()), Err)
}

async fn show_key(session: &Session, client: &str) -> anyhow::Result<()> {
    let attempt = format!("show key of API client {client}");
    let answer: ApiKeyObject = session.api.get(&attempt, &key_of(client), &[]).await?;
    print_key(session, &answer)
}

async fn regenerate(session: &Session, client: &str, yes: bool) -> anyhow::Result<()> {
    let question = format!("refuse the present key of {client} from now on?");
    if !yes && !session.output.confirm(&question)? {
        session.output.say("nothing changed");
        return Ok(());
    }
    let attempt = format!("regenerate key of API client {client}");
    let nothing: Map<String, Value> = Map::new();
    let answer: ApiKeyObject = session
        .api
        .submit(&attempt, Method::POST, &key_of(client), &nothing)
        .await?;
    print_key(session, &answer)
}

async fn set_key(session: &Session, client: &str, key: KeyArguments) -> anyhow::Result<()> {
    let attempt = format!("change key of API client {client}");
    let path = key_of(client);
    let present = match key.keeps_limits() {
        true => Some(session.api.get(&attempt, &path, &[]).await?),
        false => None,
    };
    let mut body = Map::new();
    key.write(&mut body, present.and_then(|key: ApiKeyObject| key.limits))?;
    let answer: ApiKeyObject = session
        .api
        .submit(&attempt, Method::PUT, &path, &body)
        .await?;
    print_key(session, &answer)
}

fn print_key(session: &Session, key: &ApiKeyObject) -> anyhow::Result<()> {
    session.output.data(key, |output| {
        let mut table = Table::bare();
        table.pair("API client", &key.owner_id);
        add_key(&mut table, key);
        output.table(table)
    })
}

fn one(client: &str) -> [&str; 4] {
    let [version, admin, clients] = CLIENTS;
    [version, admin, clients, client]
}

fn key_of(client: &str) -> [&str; 5] {
    let [version, admin, clients] = CLIENTS;
    [version, admin, clients, client, "apikey"]
}

/// Everything known of an API client, one thing a line.
fn sheet(client: &ApiClientObject) -> Table {
    let mut table = Table::bare();
    table.pair("name", &client.name);
    table.pair("id", &client.id);
    table.pair("friendly name", &client.friendly_name);
    table.pair(
        "description",
        client.description.as_deref().unwrap_or_default(),
    );
    let tags = client.tags.as_deref().unwrap_or_default();
    table.pair("tags", &tags.join(","));
    table.pair("locked", if client.locked { "yes" } else { "no" });
    table.pair("made", &client.date_created);
    table.pair("changed", &client.date_modified);
    table
}

fn add_key(table: &mut Table, key: &ApiKeyObject) {
    table.pair("key id", &key.id);
    table.pair("secret", &key.secret);
    table.pair("scope", &key.scope.join(","));
    let context = match key.context.kind.as_str() {
        "account" => "the whole account".to_owned(),
        kind => format!("{kind} {}", key.context.ids.join(", ")),
    };
    table.pair("reaches", &context);
    let rate = match key.rate_limit {
        -1 => "without limit".to_owned(),
        rate => format!("{rate} a minute"),
    };
    table.pair("calls", &rate);
    if let Some(limits) = &key.limits {
        table.pair("prefix", limits.prefix.as_deref().unwrap_or_default());
        table.pair("region", limits.region.as_deref().unwrap_or_default());
        let uses = limits.uses.map(|uses| uses.to_string());
        table.pair("uses left", &uses.unwrap_or_default());
        table.pair("expires", limits.expires_at.as_deref().unwrap_or_default());
    }
}
