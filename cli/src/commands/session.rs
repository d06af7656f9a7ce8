//! `moorline session`: who reached which device over SSH, and what was recorded of it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use moorline_protocol::audit::{SessionInfo, SessionList};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::instant;
use crate::output::{Mark, Table};
use crate::private_file;
use crate::session::Session;

mod replay;

/// Largest recording that is fetched, in bytes; the server makes none that is larger.
const MAX_RECORDING: usize = 80 * 1024 * 1024;
/// Letters of a UUID that are shown in lists.
const SHORT: usize = 8;
/// Sessions among which one is found by how its UUID begins.
const LATEST: u64 = 200;
const SESSIONS: [&str; 3] = ["v1", "admin", "sessions-log"];
const EXAMPLES: &str = "Examples:
  moorline session list --device cam000001 --since 24h
  moorline session list --open
  moorline session replay 0f8fad5b-d9cb-469f-a165-70867728950e --speed 4
  moorline session download 0f8fad5b-d9cb-469f-a165-70867728950e --to cam1.cast";

/// Sessions: who reached which device over SSH, and what was recorded of it
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show sessions, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show everything known of a session
    Show {
        /// UUID of the session, or how it begins
        session: String,
    },
    /// Play a recorded session on this terminal; Ctrl-C stops
    Replay(replay::Arguments),
    /// Fetch the recording of a session, asciicast v2
    Download {
        /// UUID of the session, or how it begins
        session: String,
        /// File to write, `-` for standard output; else SESSION.cast
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// On this device only, by name or UUID
    #[arg(long)]
    device: Option<String>,
    /// Of this user only, by name or UUID
    #[arg(long)]
    user: Option<String>,
    /// On this host only: short id, name or UUID
    #[arg(long)]
    host: Option<String>,
    /// Begun since then: 2027-01-31T12:00:00Z, or so long ago: 24h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Those that go on now only
    #[arg(long)]
    open: bool,
    /// How many at most, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=200))]
    limit: u64,
    /// How many to leave out first
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

/// Runs `moorline session`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(session, arguments).await,
        Command::Show { session: id } => show(session, &whole_id(session, &id).await?).await,
        Command::Replay(arguments) => replay::run(session, &arguments).await,
        Command::Download { session: id, to } => {
            download(session, &whole_id(session, &id).await?, to).await
        }
    }
}

/// The UUID that `asked` is, or that begins so among the latest sessions.
async fn whole_id(session: &Session, asked: &str) -> anyhow::Result<String> {
    if finding::is_uuid(asked) {
        return Ok(asked.to_owned());
    }
    let query = [("limit", LATEST.to_string())];
    let latest: SessionList = session.api.get("list sessions", &SESSIONS, &query).await?;
    let like = |info: &SessionInfo| !asked.is_empty() && info.id.starts_with(asked);
    let mut found: Vec<SessionInfo> = latest.sessions.into_iter().filter(like).collect();
    match (found.pop(), found.len()) {
        (Some(info), 0) => Ok(info.id),
        (None, _) => {
            let message = format!("find session {asked}: session not found");
            Err(Failure::new(Exit::NotFound, message)
                .hint("`moorline session list --json` shows whole ids")
                .into())
        }
        (Some(_), others) => {
            let message = format!("find session {asked}: {} begin so", others + 1);
            Err(Failure::new(Exit::Usage, message)
                .hint("give more of it")
                .into())
        }
    }
}

async fn list(session: &Session, arguments: ListArguments) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let since = arguments.since.map(|text| instant::parse_since(&text, now));
    let host = match &arguments.host {
        // A session outlives its host.
        Some(host) if finding::is_uuid(host) => Some(host.clone()),
        Some(host) => Some(finding::host(session, host).await?.id),
        None => None,
    };
    let mut query = vec![
        ("limit", arguments.limit.to_string()),
        ("offset", arguments.offset.to_string()),
    ];
    for (name, value) in [
        ("device", arguments.device),
        ("user", arguments.user),
        ("host_id", host),
        ("since", since.transpose()?),
        ("open", arguments.open.then(|| "true".to_owned())),
    ] {
        if let Some(value) = value {
            query.push((name, value));
        }
    }
    let answer: SessionList = session.api.get("list sessions", &SESSIONS, &query).await?;
    session.output.data(&answer, |output| {
        if answer.sessions.is_empty() {
            output.say("no sessions");
            return Ok(());
        }
        output.table(session_table(&answer.sessions, now))?;
        let shown = answer.sessions.len() as u64;
        if shown < answer.total {
            output.say(&format!("{shown} of {} sessions", answer.total));
        }
        Ok(())
    })
}

fn session_table(sessions: &[SessionInfo], now: SystemTime) -> Table {
    let columns = [
        "SESSION", "BEGAN", "WHO", "DEVICE", "WAY", "FROM", "END", "RECORDED",
    ];
    let mut table = Table::new(&columns).cut();
    for session in sessions {
        let (end, mark) = ending(session);
        let short: String = session.id.chars().take(SHORT).collect();
        table.row([
            (short.as_str(), Mark::Plain),
            (&instant::ago(&session.began_at, now), Mark::Plain),
            (&session.username, Mark::Plain),
            (&session.target, Mark::Plain),
            (&session.way_in, Mark::Plain),
            (&session.peer, Mark::Plain),
            (end, mark),
            (if session.recorded { "yes" } else { "" }, Mark::Plain),
        ]);
    }
    table
}

fn ending(session: &SessionInfo) -> (&str, Mark) {
    match &session.ending {
        Some(ending) => (ending, Mark::Dim),
        None => ("goes on", Mark::Good),
    }
}

async fn show(session: &Session, id: &str) -> anyhow::Result<()> {
    let path = [&SESSIONS[..], &[id]].concat();
    let attempt = format!("show session {id}");
    let info: SessionInfo = session.api.get(&attempt, &path, &[]).await?;
    session
        .output
        .data(&info, |output| output.table(sheet(&info)))
}

fn sheet(info: &SessionInfo) -> Table {
    let mut table = Table::bare();
    let (end, _) = ending(info);
    let ended = info.ended_at.as_deref().map(instant::shown);
    let ended = ended.unwrap_or_default();
    let bytes = format!(
        "{} from, {} to the user",
        info.received_bytes, info.sent_bytes
    );
    for (name, value) in [
        ("session", info.id.as_str()),
        ("user", &info.username),
        ("user id", &info.user_id),
        ("device", &info.target),
        ("device id", info.device_id.as_deref().unwrap_or_default()),
        ("host id", info.host_id.as_deref().unwrap_or_default()),
        ("way", &info.way_in),
        ("from", &info.peer),
        ("node", &info.node),
        ("began", &instant::shown(&info.began_at)),
        ("ended", &ended),
        ("end", end),
        ("bytes", &bytes),
        ("recorded", if info.recorded { "yes" } else { "no" }),
    ] {
        if !value.is_empty() {
            table.pair(name, value);
        }
    }
    table
}

/// The recording of a session, as the server keeps it.
async fn fetch(session: &Session, attempt: &str, id: &str) -> anyhow::Result<Vec<u8>> {
    let path = [&SESSIONS[..], &[id, "recording"]].concat();
    session.api.download(attempt, &path, MAX_RECORDING).await
}

async fn download(session: &Session, id: &str, to: Option<PathBuf>) -> anyhow::Result<()> {
    let attempt = format!("download session {id}");
    let cast = fetch(session, &attempt, id).await?;
    let to = to.unwrap_or_else(|| PathBuf::from(format!("{id}.cast")));
    if to == Path::new("-") {
        let broken = |_| Failure::new(Exit::Failed, format!("{attempt}: it is damaged"));
        return Ok(session
            .output
            .raw(&String::from_utf8(cast).map_err(broken)?)?);
    }
    // A bare name is one in the folder where we are.
    let file = Path::new(".").join(&to);
    private_file::write(&file, &cast, private_file::PRIVATE)?;
    let done = serde_json::json!({ "session": id, "file": to, "bytes": cast.len() });
    session.output.data(&done, |output| {
        output.say(&format!("wrote {}, {} bytes", to.display(), cast.len()));
        Ok(())
    })
}
