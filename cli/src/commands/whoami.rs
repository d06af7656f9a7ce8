//! `moorline whoami`.

use serde::Serialize;

use crate::instant;
use crate::output::Table;
use crate::profile::{Profile, ProfileName};
use crate::session::Session;

/// Show who is logged in where, and whether the server agrees
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Whose login a profile has.
#[derive(Serialize)]
pub(crate) struct WhoAmI<'a> {
    profile: &'a str,
    pub(crate) url: &'a str,
    pub(crate) username: &'a str,
    role: &'a str,
    short_id: &'a str,
    pub(crate) expires_at: &'a str,
}

impl<'a> WhoAmI<'a> {
    /// That of `profile`, which has that name.
    pub(crate) fn of(name: &'a ProfileName, profile: &'a Profile, expires_at: &'a str) -> Self {
        Self {
            profile: name.as_str(),
            url: &profile.url,
            username: &profile.username,
            role: &profile.role,
            short_id: &profile.short_id,
            expires_at,
        }
    }
}

/// Asks the server for something small that needs the login, then prints whose login it is.
pub(crate) async fn run(session: Session) -> anyhow::Result<()> {
    let _: moorline_protocol::operator::GatewayInfo = session
        .api
        .get("check the login", &["v1", "gateway"], &[])
        .await?;
    let token = session.store.token(&session.name)?;
    let expires_at = token.map(|token| token.expires_at).unwrap_or_default();
    let answer = WhoAmI::of(&session.name, &session.profile, &expires_at);
    session.output.data(&answer, |output| {
        let mut table = Table::bare();
        table.pair("user", answer.username);
        table.pair("role", answer.role);
        table.pair("short id", answer.short_id);
        table.pair("server", answer.url);
        table.pair("profile", answer.profile);
        table.pair("login until", &instant::shown(answer.expires_at));
        output.table(table)
    })
}
