//! `moorline user`.

use std::time::SystemTime;

use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use crate::api::{NewPassword, NewUser, UserEnvelope};
use crate::finding;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  moorline user create udo --expires 30d
  moorline user expire udo never
  moorline user disable udo
  moorline user rotate-password udo
  moorline user rm udo --yes";

/// Users: people of the account
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Make a user; a password that is made up is shown this once
    Create(CreateArguments),
    /// Show all users, newest first
    #[command(visible_alias = "ls")]
    List,
    /// Show everything known of a user
    Show {
        /// Name, short id or UUID
        user: String,
    },
    /// Refuse a user from now on; hosts go on running
    Disable {
        /// Name, short id or UUID
        user: String,
    },
    /// Let a disabled or expired user in again
    Enable {
        /// Name, short id or UUID
        user: String,
    },
    /// Give a user another password; whoever is logged in as them has to log in again
    RotatePassword {
        /// Name, short id or UUID
        user: String,
        /// Read the password from stdin; without it one is made up and shown this once
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set until when a user may log in
    Expire {
        /// Name, short id or UUID
        user: String,
        /// 2027-01-31T12:00:00Z, a time from now such as 30d, or never
        #[arg(value_name = "WHEN")]
        when: String,
    },
    /// Remove a user with their keys and hosts; devices stay
    Rm {
        /// Name, short id or UUID
        user: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArguments {
    /// 3 to 50 characters, unique in the installation
    username: String,
    /// Until when: 2027-01-31T12:00:00Z, or a time from now such as 30d
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Read the password from stdin; without it one is made up
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Serialize)]
struct Rotated<'a> {
    username: &'a str,
    new_password: &'a str,
}

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a str,
}

/// Stands for no end.
const NEVER: &str = "never";
const USERS: [&str; 3] = ["v1", "admin", "users"];

/// Runs `moorline user`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => create(session, arguments).await,
        Command::List => list(session).await,
        Command::Show { user } => show(session, &user).await,
        Command::Disable { user } => set_status(session, &user, "disabled").await,
        Command::Enable { user } => set_status(session, &user, "active").await,
        Command::RotatePassword {
            user,
            password_stdin,
        } => rotate(session, &user, password_stdin).await,
        Command::Expire { user, when } => expire(session, &user, &when).await,
        Command::Rm { user, yes } => remove(session, &user, yes).await,
    }
}

async fn create(session: &Session, arguments: CreateArguments) -> anyhow::Result<()> {
    let expires_at = arguments
        .expires
        .map(|when| instant::parse_when(&when, SystemTime::now()))
        .transpose()?;
    let password = match arguments.password_stdin {
        true => Some(session.output.password_from_stdin()?),
        false => None,
    };
    let attempt = format!("make user {}", arguments.username);
    let wanted = NewUser {
        username: &arguments.username,
        password: password.as_ref().map(|text| text.expose().as_str()),
        expires_at: expires_at.as_deref(),
    };
    let mut answer: UserEnvelope = session
        .api
        .submit(&attempt, Method::POST, &USERS, &wanted)
        .await?;
    if password.is_some() {
        // Whoever gave it knows it.
        answer.password = None;
    }
    session.output.data(&answer, |output| {
        let mut table = Table::bare();
        table.pair("name", &answer.user.username);
        table.pair("short id", &answer.user.short_id);
        table.pair("password", answer.password.as_deref().unwrap_or_default());
        table.pair(
            "expires",
            answer.user.expires_at.as_deref().unwrap_or(NEVER),
        );
        output.table(table)?;
        if answer.password.is_some() {
            output.say("the password is not shown again");
        }
        Ok(())
    })
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let answer = finding::users(session).await?;
    session.output.data(&answer, |output| {
        let now = SystemTime::now();
        let columns = ["NAME", "SHORT ID", "ROLE", "STATUS", "EXPIRES", "MADE"];
        let mut table = Table::new(&columns).cut();
        for user in &answer.users {
            table.row([
                (user.username.as_str(), Mark::Plain),
                (&user.short_id, Mark::Plain),
                (&user.role, Mark::Plain),
                (&user.status, mark(&user.status)),
                (&expiry(user.expires_at.as_deref(), now), Mark::Plain),
                (&instant::ago(&user.created_at, now), Mark::Dim),
            ]);
        }
        output.table(table)
    })
}

/// When somebody's time is over.
fn expiry(at: Option<&str>, now: SystemTime) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| instant::until(at, now))
}

fn mark(status: &str) -> Mark {
    match status {
        "active" => Mark::Good,
        "disabled" => Mark::Bad,
        _ => Mark::Dim,
    }
}

async fn show(session: &Session, name: &str) -> anyhow::Result<()> {
    let user = finding::user(session, name).await?;
    let path = ["v1", "admin", "users", user.id.as_str()];
    let attempt = format!("show user {name}");
    let answer: UserEnvelope = session.api.get(&attempt, &path, &[]).await?;
    session.output.data(&answer, |output| {
        let user = &answer.user;
        let mut table = Table::bare();
        table.pair("name", &user.username);
        table.pair("id", &user.id);
        table.pair("short id", &user.short_id);
        table.pair("role", &user.role);
        table.pair("status", &user.status);
        let expires = user.expires_at.as_deref().map(instant::shown);
        table.pair("expires", expires.as_deref().unwrap_or(NEVER));
        table.pair("made", &instant::shown(&user.created_at));
        table.pair("changed", &instant::shown(&user.updated_at));
        for host in answer.hosts.iter().flatten() {
            let text = |name: &str| host.get(name).and_then(|value| value.as_str());
            let part = |name| text(name).unwrap_or_default();
            let line = format!("{} {} {}", part("short_id"), part("kind"), part("status"));
            table.pair("host", &line);
        }
        output.table(table)
    })
}

async fn set_status(session: &Session, name: &str, status: &str) -> anyhow::Result<()> {
    let user = finding::user(session, name).await?;
    let attempt = format!("make user {} {status}", user.username);
    let path = ["v1", "admin", "users", user.id.as_str()];
    let wanted = json!({ "status": status });
    changed(session, &attempt, (Method::PATCH, &path), &wanted).await
}

async fn expire(session: &Session, name: &str, when: &str) -> anyhow::Result<()> {
    let expires_at = match when {
        NEVER => None,
        when => Some(instant::parse_when(when, SystemTime::now())?),
    };
    let user = finding::user(session, name).await?;
    let attempt = format!("set expiry of user {}", user.username);
    let path = ["v1", "admin", "users", user.id.as_str(), "expiry"];
    let wanted = json!({ "expires_at": expires_at });
    changed(session, &attempt, (Method::PUT, &path), &wanted).await
}

async fn changed(
    session: &Session,
    attempt: &str,
    (method, path): (Method, &[&str]),
    wanted: &serde_json::Value,
) -> anyhow::Result<()> {
    let answer: UserEnvelope = session.api.submit(attempt, method, path, wanted).await?;
    session.output.data(&answer, |output| {
        let user = &answer.user;
        let expires = user.expires_at.as_deref().unwrap_or(NEVER);
        output.say(&format!(
            "{} is {}, expires {expires}",
            user.username, user.status
        ));
        Ok(())
    })
}

async fn rotate(session: &Session, name: &str, from_stdin: bool) -> anyhow::Result<()> {
    let given = match from_stdin {
        true => Some(session.output.password_from_stdin()?),
        false => None,
    };
    let user = finding::user(session, name).await?;
    let attempt = format!("set password of user {}", user.username);
    let path = ["v1", "admin", "users", user.id.as_str(), "rotate-password"];
    let wanted = json!({ "new_password": given.as_ref().map(|text| text.expose()) });
    let answer: NewPassword = session
        .api
        .submit(&attempt, Method::POST, &path, &wanted)
        .await?;
    if given.is_some() {
        let done = json!({ "username": user.username });
        return session.output.data(&done, |output| {
            output.say(&format!("{} has the new password", user.username));
            Ok(())
        });
    }
    let rotated = Rotated {
        username: &user.username,
        new_password: answer.new_password.expose(),
    };
    session.output.data(&rotated, |output| {
        let mut table = Table::bare();
        table.pair("name", rotated.username);
        table.pair("password", rotated.new_password);
        output.table(table)?;
        output.say("the password is not shown again");
        Ok(())
    })
}

async fn remove(session: &Session, name: &str, yes: bool) -> anyhow::Result<()> {
    let user = finding::user(session, name).await?;
    let name = user.username.as_str();
    if !yes {
        let question = format!("remove {name} and their hosts for good?");
        if !session.output.confirm(&question)? {
            session.output.say("nothing removed");
            return Ok(());
        }
    }
    let path = ["v1", "admin", "users", user.id.as_str()];
    let attempt = format!("remove user {name}");
    session.api.delete(&attempt, &path).await?;
    session.output.data(&Removed { removed: name }, |output| {
        output.say(&format!("{name} is removed"));
        Ok(())
    })
}
