//! `moorline whoami`.

use serde::Serialize;

use crate::instant;
use crate::output::Table;
use crate::session::Session;

/// Show who is logged in where, and whether the server agrees
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct WhoAmI<'a> {
    profile: &'a str,
    url: &'a str,
    username: &'a str,
    role: &'a str,
    short_id: &'a str,
    expires_at: &'a str,
}

/// Asks the server for something small that needs the login, then prints whose login it is.
pub(crate) async fn run(session: Session) -> anyhow::Result<()> {
    let _: moorline_protocol::operator::GatewayInfo = session
        .api
        .get("check the login", &["v1", "gateway"], &[])
        .await?;
    let token = session.store.token(&session.name)?;
    let expires_at = token.map(|token| token.expires_at).unwrap_or_default();
    let profile = &session.profile;
    let answer = WhoAmI {
        profile: session.name.as_str(),
        url: &profile.url,
        username: &profile.username,
        role: &profile.role,
        short_id: &profile.short_id,
        expires_at: &expires_at,
    };
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
