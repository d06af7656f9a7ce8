//! `moorline forward`: the ports of devices that can be reached now.

use moorline_protocol::operator::{SessionInfo, SessionList};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Mark, Table};
use crate::session::Session;

/// Forwards asked for in one call.
const PAGE: u64 = 500;
/// Most forwards listed by one command, so that a server cannot fill the memory here.
const MAX_FORWARDS: usize = 1_000_000;
const EXAMPLES: &str = "Examples:
  moorline forward list
  moorline forward list --json
  moorline expose cam000001 8080 --http";

/// Forwards: public ports and HTTP names that lead to a device now
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show all that are open, oldest first
    #[command(visible_alias = "ls")]
    List,
}

/// The calls know an open forward as a session of the Openport protocol.
#[derive(Serialize)]
struct Forwards {
    forwards: Vec<SessionInfo>,
    total: u64,
}

/// Runs `moorline forward`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(session).await,
    }
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let forwards = all(session).await?;
    let answer = Forwards {
        total: forwards.len() as u64,
        forwards,
    };
    session.output.data(&answer, |output| {
        if answer.forwards.is_empty() {
            output.say("no forwards");
            return Ok(());
        }
        let mut table = Table::new(&["DEVICE", "LOCAL", "PUBLIC", "NODE", "LINK", "BYTES"]).cut();
        for forward in &answer.forwards {
            add(&mut table, forward);
        }
        output.table(table)
    })
}

async fn all(session: &Session) -> anyhow::Result<Vec<SessionInfo>> {
    let mut sessions: Vec<SessionInfo> = Vec::new();
    loop {
        let query = [
            ("limit", PAGE.to_string()),
            ("offset", sessions.len().to_string()),
        ];
        let path = ["v1", "admin", "sessions"];
        let page: SessionList = session.api.get("list forwards", &path, &query).await?;
        let is_last = page.sessions.is_empty();
        sessions.extend(page.sessions);
        if is_last || sessions.len() as u64 >= page.total {
            return Ok(sessions);
        }
        if sessions.len() > MAX_FORWARDS {
            let message = format!("list forwards: more than {MAX_FORWARDS}");
            return Err(Failure::new(Exit::Failed, message).into());
        }
    }
}

fn add(table: &mut Table, session: &SessionInfo) {
    let local = match session.device_port {
        0 => String::new(),
        port => port.to_string(),
    };
    let public = match &session.http_name {
        Some(name) => name.clone(),
        None => format!("{}:{}", session.server, session.public_port),
    };
    let (link, link_mark) = if session.protected {
        ("needed", Mark::Plain)
    } else {
        ("off", Mark::Dim)
    };
    table.row([
        (session.device.as_str(), Mark::Plain),
        (&local, Mark::Plain),
        (&public, Mark::Plain),
        (&session.node, Mark::Plain),
        (link, link_mark),
        (&session.bytes.to_string(), Mark::Plain),
    ]);
}
