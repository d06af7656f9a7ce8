//! `moorline key-binding`.

use moorline_protocol::operator::KeyBinding;
use reqwest::Method;

use crate::output::{Mark, Table};
use crate::session::Session;

/// The token by which clients register their keys to the account
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the token
    Show,
    /// Replace the token; the old one is refused from then on
    Renew,
}

/// Runs `moorline key-binding`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    let shown = ["v1", "admin", "key-binding"];
    let renewed = ["v1", "admin", "key-binding", "renew"];
    let answer: KeyBinding = match command {
        Command::Show => {
            let attempt = "show key binding token";
            session.api.get(attempt, &shown, &[]).await?
        }
        Command::Renew => {
            let attempt = "renew key binding token";
            session
                .api
                .submit(attempt, Method::POST, &renewed, &())
                .await?
        }
    };
    session.output.data(&answer, |output| {
        let mut table = Table::bare();
        table.row([(answer.key_binding_token.as_str(), Mark::Plain)]);
        output.table(table)
    })
}
