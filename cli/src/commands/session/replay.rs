//! `moorline session replay`.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Longest pause of a replay, unless another is asked for.
const LONGEST_PAUSE_SECS: f64 = 2.0;
/// Back from whatever the recording left the terminal in: colours, a hidden cursor, the other screen, mouse reports,
/// marked pastes.
const SANE_AGAIN: &str =
    "\x1b[0m\x1b[?25h\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\r\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// UUID of the session, or how it begins
    session: String,
    /// So many times as fast
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    speed: f64,
    /// Longest pause in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = LONGEST_PAUSE_SECS)]
    idle_limit: f64,
    /// Print the recording as it is, asciicast v2, in place of playing it
    #[arg(long)]
    raw: bool,
}

/// What a session showed, and when, in seconds from its begin.
type Shown = (f64, String);

pub(super) async fn run(session: &Session, arguments: &Arguments) -> anyhow::Result<()> {
    let id = &arguments.session;
    let attempt = format!("replay session {id}");
    if !(arguments.speed > 0.0 && arguments.idle_limit >= 0.0) {
        let message = format!("{attempt}: speed has to be above 0, and the longest pause no less");
        return Err(Failure::new(Exit::Usage, message).into());
    }
    if !arguments.raw && !session.output.is_terminal() {
        // What devices show steers terminals; in a file or a pipe it only lies in wait for one.
        let message = format!("{attempt}: standard output is no terminal");
        return Err(Failure::new(Exit::Usage, message)
            .hint("--raw prints the recording, `moorline session download` keeps it in a file")
            .into());
    }
    let id = super::whole_id(session, id).await?;
    let cast = super::fetch(session, &attempt, &id).await?;
    let broken = || Failure::new(Exit::Failed, format!("{attempt}: the recording is damaged"));
    let cast = String::from_utf8(cast).map_err(|_| broken())?;
    if arguments.raw {
        return Ok(session.output.raw(&cast)?);
    }
    let shown = read(&cast).ok_or_else(broken)?;
    let stopped = play(session, &shown, arguments).await;
    session.output.raw(SANE_AGAIN)?;
    if stopped? {
        session.output.say("stopped");
    }
    Ok(())
}

/// What was shown; `None` when the recording is damaged. A last line that is cut off, as by a power cut, is none.
fn read(cast: &str) -> Option<Vec<Shown>> {
    let whole = cast
        .rfind('\n')
        .map_or("", |end| cast.get(..end).unwrap_or_default());
    // The first line tells of the whole recording.
    let mut shown = Vec::new();
    for line in whole.lines().skip(1) {
        let (at, kind, text): (f64, String, String) = serde_json::from_str(line).ok()?;
        if kind == "o" {
            shown.push((at, text));
        }
    }
    Some(shown)
}

/// Shows it, each piece in its time. True when it was stopped.
async fn play(session: &Session, shown: &[Shown], arguments: &Arguments) -> anyhow::Result<bool> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut last = 0.0;
    for (at, text) in shown {
        if is_stopped(&mut interrupts, pause(last, *at, arguments)).await {
            return Ok(true);
        }
        last = *at;
        session.output.raw(text)?;
    }
    Ok(false)
}

/// Waits; true when Ctrl-C was pressed meanwhile.
async fn is_stopped(interrupts: &mut Signal, pause: Duration) -> bool {
    timeout(pause, interrupts.recv()).await.is_ok()
}

fn pause(last: f64, at: f64, arguments: &Arguments) -> Duration {
    let secs = ((at - last) / arguments.speed).clamp(0.0, arguments.idle_limit);
    Duration::try_from_secs_f64(secs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_cut_and_sped_up() {
        let arguments = |speed, idle_limit| Arguments {
            session: String::new(),
            speed,
            idle_limit,
            raw: false,
        };
        let pause = |last, at, speed, idle| pause(last, at, &arguments(speed, idle)).as_millis();
        assert_eq!(pause(1.0, 1.5, 1.0, 2.0), 500);
        assert_eq!(pause(1.0, 1.5, 2.0, 2.0), 250);
        assert_eq!(pause(1.0, 100.0, 1.0, 2.0), 2000);
        assert_eq!(pause(2.0, 1.0, 1.0, 2.0), 0);
        assert_eq!(pause(0.0, f64::NAN, 1.0, 2.0), 0);
    }

    #[test]
    fn what_was_written_before_a_power_cut_is_shown() {
        let head = "{\"version\":2,\"width\":80,\"height\":24}\n";
        let lines = "[0.1,\"o\",\"one\"]\n[0.2,\"r\",\"100x40\"]\n[0.3,\"o\",\"two\"]\n";
        let both = [(0.1, "one".to_owned()), (0.3, "two".to_owned())];
        let cut = format!("{head}{lines}[0.4,\"o\",\"thr");
        assert_eq!(read(&cut).unwrap(), both);
        assert_eq!(read(&format!("{head}{lines}")).unwrap(), both);
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read(&format!("{head}what\n{lines}")), None);
    }
}
