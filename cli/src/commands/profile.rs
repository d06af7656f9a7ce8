//! `moorline profile`.

use serde::Serialize;

use crate::output::{Mark, Table};
use crate::profile::ProfileName;
use crate::session::{Context, unknown_profile};

/// The servers this program knows
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show all profiles
    #[command(visible_alias = "ls")]
    List,
    /// Make a profile the current one
    Use {
        /// Its name
        name: ProfileName,
    },
    /// Forget a profile: its login, host keys and ssh config
    Rm {
        /// Its name
        name: ProfileName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

const EXAMPLES: &str = "Examples:
  moorline profile list
  moorline profile use work
  moorline --profile work device list";

#[derive(Serialize)]
struct Row {
    name: String,
    url: String,
    username: String,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct Rows {
    profiles: Vec<Row>,
}

#[derive(Serialize)]
struct Named<'a> {
    profile: &'a str,
}

/// Runs `moorline profile`.
pub(crate) fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(context),
        Command::Use { name } => {
            require(context, &name)?;
            context.store.set_current(&name)?;
            done(context, &name, "now in use")
        }
        Command::Rm { name, yes } => {
            require(context, &name)?;
            if !yes && !context.output.confirm(&format!("forget profile {name}?"))? {
                context.output.say("nothing changed");
                return Ok(());
            }
            context.store.remove(&name)?;
            done(context, &name, "forgotten")
        }
    }
}

fn list(context: &Context) -> anyhow::Result<()> {
    let current = context.store.choose(context.asked.as_ref()).ok();
    let mut profiles = Vec::new();
    for name in context.store.names()? {
        let Some(profile) = context.store.profile(&name)? else {
            continue;
        };
        profiles.push(Row {
            current: Some(&name) == current.as_ref(),
            expires_at: context.store.token(&name)?.map(|token| token.expires_at),
            name: name.to_string(),
            url: profile.url,
            username: profile.username,
        });
    }
    let answer = Rows { profiles };
    context.output.data(&answer, |output| {
        if answer.profiles.is_empty() {
            output.say("no profiles; `moorline login URL` makes one");
            return Ok(());
        }
        let mut table = Table::new(&["", "NAME", "SERVER", "USER", "LOGIN UNTIL"]);
        for row in &answer.profiles {
            let (login, mark) = match &row.expires_at {
                Some(until) => (until.as_str(), Mark::Plain),
                None => ("logged out", Mark::Dim),
            };
            table.row([
                (if row.current { "*" } else { "" }, Mark::Good),
                (&row.name, Mark::Plain),
                (&row.url, Mark::Plain),
                (&row.username, Mark::Plain),
                (login, mark),
            ]);
        }
        output.table(table)
    })
}

fn require(context: &Context, name: &ProfileName) -> anyhow::Result<()> {
    match context.store.profile(name)? {
        Some(_) => Ok(()),
        None => Err(unknown_profile(name)),
    }
}

fn done(context: &Context, name: &ProfileName, what: &str) -> anyhow::Result<()> {
    let profile = name.as_str();
    context.output.data(&Named { profile }, |output| {
        output.say(&format!("profile {name} {what}"));
        Ok(())
    })
}
