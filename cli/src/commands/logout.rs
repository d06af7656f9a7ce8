//! `moorline logout`.

use serde::Serialize;

use crate::session::Context;

/// Forget the login of a profile
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct LoggedOut<'a> {
    profile: &'a str,
    was_logged_in: bool,
}

/// Removes the token of the profile.
pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    let (name, profile) = context.profile()?;
    let was_logged_in = context.store.remove_token(&name)?;
    let answer = LoggedOut {
        profile: name.as_str(),
        was_logged_in,
    };
    context.output.data(&answer, |output| {
        if was_logged_in {
            output.say(&format!("logged out of {}", profile.url));
        } else {
            output.say(&format!("was not logged in to {}", profile.url));
        }
        Ok(())
    })
}
