//! What systemd hears: that the agent runs, what it is doing, that it lives and that it stops.
//!
//! *Invariant:* being ready says nothing about the tunnel. A device without network is as ready as it can be, and a boot
//! that waited for the tunnel would keep everything behind it waiting too.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::status::{Activity, Status, StatusBoard};

/// Signs of life in one period of the watchdog: two may be late.
const SIGNS_PER_PERIOD: u32 = 3;
/// Shortest pause between two signs of life.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Reports until stopped what `board` shows. Says `READY` with the first thing that the agent does: from then on its
/// configuration can be used and no other agent holds its state folder.
pub(crate) async fn report(board: StatusBoard, stop: CancellationToken) {
    let pause =
        sd_notify::watchdog_enabled().map(|period| (period / SIGNS_PER_PERIOD).max(SHORTEST_PAUSE));
    let mut last = Activity::Starting;
    loop {
        let sign_of_life = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return tell(&[NotifyState::Stopping]),
            () = board.changed() => {
                // Lets the status socket open first: who waits for us may ask it.
                tokio::task::yield_now().await;
                let status = board.read();
                if last == Activity::Starting {
                    tell(&[NotifyState::Ready]);
                }
                last = status.activity;
                tell(&[NotifyState::Status(&words(&status)), NotifyState::Watchdog]);
            }
            () = sign_of_life => tell(&[NotifyState::Watchdog]),
        }
    }
}

/// One line for `systemctl status`.
fn words(status: &Status) -> String {
    let name = status.name.as_deref().unwrap_or("this device");
    let reason = status.reason.as_deref().unwrap_or("unknown reason");
    let text = match status.activity {
        Activity::Starting => "starting".into(),
        Activity::Enrolling => "enrolling".into(),
        Activity::Connecting => format!("{name} is connecting"),
        Activity::Connected => format!("{name} is connected"),
        Activity::Waiting => format!("not connected, will try again: {reason}"),
        Activity::Refused => format!("refused, someone must act: {reason}"),
    };
    // A line break would begin another message.
    text.replace(char::is_control, " ")
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_end_said_stays_in_one_line() {
        let status = Status {
            activity: Activity::Refused,
            reason: Some("no\nREADY=1".into()),
            ..Status::default()
        };
        assert_eq!(words(&status), "refused, someone must act: no READY=1");
    }
}
