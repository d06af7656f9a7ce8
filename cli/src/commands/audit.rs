//! `moorline audit`: who reached which device over SSH, and what was recorded of it.

use std::time::{Duration, SystemTime};

use moorline_protocol::audit::{SessionInfo, SessionList};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

/// Largest recording that is fetched, in bytes; the server makes none that is larger.
const MAX_RECORDING: usize = 80 * 1024 * 1024;
/// Longest pause of a replay, unless another is asked for.
const LONGEST_PAUSE_SECS: f64 = 2.0;

/// The log of sessions on devices and hosts
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show sessions, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Play a recorded session on this terminal
    Replay(ReplayArguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// On this device only, by name or UUID
    #[arg(long)]
    device: Option<String>,
    /// Of the user with this UUID only
    #[arg(long, value_name = "UUID")]
    user: Option<String>,
    /// On the host with this UUID only
    #[arg(long, value_name = "UUID")]
    host: Option<String>,
    /// How many at most, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=200))]
    limit: u64,
    /// How many to leave out first
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArguments {
    /// UUID of the session
    session: String,
    /// So many times as fast
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    speed: f64,
    /// Longest pause in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = LONGEST_PAUSE_SECS)]
    idle: f64,
    /// Print the recording as it is, in the form of asciicast v2
    #[arg(long)]
    raw: bool,
}

/// Runs `moorline audit`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(session, arguments).await,
        Command::Replay(arguments) => replay(session, &arguments).await,
    }
}

async fn list(session: &Session, arguments: ListArguments) -> anyhow::Result<()> {
    let mut query = vec![
        ("limit", arguments.limit.to_string()),
        ("offset", arguments.offset.to_string()),
    ];
    for (name, value) in [
        ("device", arguments.device),
        ("user_id", arguments.user),
        ("host_id", arguments.host),
    ] {
        if let Some(value) = value {
            query.push((name, value));
        }
    }
    let path = ["v1", "admin", "sessions-log"];
    let answer: SessionList = session.api.get("list sessions", &path, &query).await?;
    session.output.data(&answer, |output| {
        if answer.sessions.is_empty() {
            output.say("no sessions");
            return Ok(());
        }
        output.table(session_table(&answer.sessions, SystemTime::now()))
    })
}

fn session_table(sessions: &[SessionInfo], now: SystemTime) -> Table {
    let columns = [
        "BEGAN", "WHO", "DEVICE", "WAY", "FROM", "END", "RECORDED", "SESSION",
    ];
    let mut table = Table::new(&columns).cut();
    for session in sessions {
        let (end, mark) = match &session.ending {
            Some(ending) => (ending.as_str(), Mark::Dim),
            None => ("goes on", Mark::Good),
        };
        table.row([
            (instant::ago(&session.began_at, now).as_str(), Mark::Plain),
            (&session.username, Mark::Plain),
            (&session.target, Mark::Plain),
            (&session.way_in, Mark::Plain),
            (&session.peer, Mark::Plain),
            (end, mark),
            (if session.recorded { "yes" } else { "" }, Mark::Plain),
            (&session.id, Mark::Dim),
        ]);
    }
    table
}

async fn replay(session: &Session, arguments: &ReplayArguments) -> anyhow::Result<()> {
    let id = &arguments.session;
    let attempt = format!("replay session {id}");
    if !(arguments.speed > 0.0 && arguments.idle >= 0.0) {
        let message = format!("{attempt}: speed and pause have to be numbers above 0");
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let path = ["v1", "admin", "sessions-log", id.as_str(), "recording"];
    let cast = session.api.download(&attempt, &path, MAX_RECORDING).await?;
    let broken = || {
        let message = format!("{attempt}: the recording is damaged");
        Failure::new(Exit::Failed, message)
    };
    let cast = String::from_utf8(cast).map_err(|_| broken())?;
    if arguments.raw {
        session.output.raw(&cast)?;
        return Ok(());
    }
    let mut last = 0.0;
    // The first line tells of the whole recording.
    for line in cast.lines().skip(1) {
        let (at, kind, text): (f64, String, String) =
            serde_json::from_str(line).map_err(|_| broken())?;
        if kind != "o" {
            continue;
        }
        let pause = pause(last, at, arguments);
        last = at;
        if session.output.is_terminal() {
            tokio::time::sleep(pause).await;
        }
        session.output.raw(&text)?;
    }
    Ok(())
}

fn pause(last: f64, at: f64, arguments: &ReplayArguments) -> Duration {
    let secs = ((at - last) / arguments.speed).clamp(0.0, arguments.idle);
    Duration::try_from_secs_f64(secs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_cut_and_sped_up() {
        let arguments = |speed, idle| ReplayArguments {
            session: String::new(),
            speed,
            idle,
            raw: false,
        };
        let pause = |last, at, speed, idle| pause(last, at, &arguments(speed, idle)).as_millis();
        assert_eq!(pause(1.0, 1.5, 1.0, 2.0), 500);
        assert_eq!(pause(1.0, 1.5, 2.0, 2.0), 250);
        assert_eq!(pause(1.0, 100.0, 1.0, 2.0), 2000);
        assert_eq!(pause(2.0, 1.0, 1.0, 2.0), 0);
        assert_eq!(pause(0.0, f64::NAN, 1.0, 2.0), 0);
    }
}
