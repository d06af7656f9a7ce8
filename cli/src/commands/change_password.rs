//! `moorline change-password`.

use std::time::SystemTime;

use moorline_protocol::Secret;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{Login, LoginAnswer};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::instant;
use crate::profile::Token;
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  moorline change-password
  printf '%s\\n' \"$OLD\" \"$NEW\" | moorline change-password --password-stdin";

/// Change your own password; whoever else is logged in as you has to log in again
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, visible_alias = "passwd")]
pub(crate) struct Arguments {
    /// Read the present password from the first line of stdin, the new one from the second
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Serialize)]
struct Changed<'a> {
    username: &'a str,
    login_until: &'a str,
}

/// Changes the password, and logs in with it: the server refuses logins from before.
pub(crate) async fn run(session: &Session, arguments: &Arguments) -> anyhow::Result<()> {
    let username = session.profile.username.as_str();
    let (old, new) = passwords(session, arguments)?;
    let wanted = json!({ "old_password": old.expose(), "new_password": new.expose() });
    let attempt = format!("change the password of {username}");
    let path = ["v1", "user", "change-password"];
    let _: Value = session
        .api
        .submit(&attempt, Method::POST, &path, &wanted)
        .await?;
    let login = Login {
        username,
        password: new.expose(),
    };
    let path = ["v1", "auth", "login"];
    let answer: LoginAnswer = session
        .api
        .submit("log in with the new password", Method::POST, &path, &login)
        .await?;
    let life = std::time::Duration::from_secs(answer.expires_in);
    let token = Token {
        expires_at: instant::after(SystemTime::now(), life).unwrap_or_default(),
        token: answer.token,
    };
    session.store.save_token(&session.name, &token)?;
    let done = Changed {
        username,
        login_until: &token.expires_at,
    };
    session.output.data(&done, |output| {
        output.say(&format!("{username} has the new password"));
        Ok(())
    })
}

/// The present password and the new one, which is asked for twice.
fn passwords(
    session: &Session,
    arguments: &Arguments,
) -> anyhow::Result<(Secret<String>, Secret<String>)> {
    let output = &session.output;
    if arguments.password_stdin {
        return Ok((output.password_from_stdin()?, output.password_from_stdin()?));
    }
    let old = output.ask_password("present password")?;
    let new = output.ask_password("new password")?;
    let again = output.ask_password("new password again")?;
    if new.expose() != again.expose() {
        let failure = Failure::new(Exit::Usage, "read new password: the two are not the same");
        return Err(failure.into());
    }
    Ok((old, new))
}
