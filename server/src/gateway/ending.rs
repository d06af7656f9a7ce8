//! [`Ending`]: in which order the end of a session is passed on.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long the end of a program's output waits for its exit status.
const END_OF_OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// Keeps the end of output back until the exit status is there. A client that has seen the end of output and has sent
/// its own closes the channel, and what comes after that is lost.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) has_status: bool,
    held_since: Option<Instant>,
    passed: bool,
}

impl Ending {
    /// Whether the end of output may be passed on now.
    pub(super) fn may_pass(&self) -> bool {
        self.has_status || self.held_since.is_some()
    }

    /// Keeps it back from now on.
    pub(super) fn hold(&mut self) {
        self.held_since = Some(Instant::now());
    }

    /// A program may close its output and go on: then the end of output is passed on without a status.
    pub(super) async fn held_long_enough(&mut self) {
        match self.held_since {
            Some(since) if !self.passed => sleep_until(since + END_OF_OUTPUT_PATIENCE).await,
            _ => std::future::pending().await,
        }
        self.passed = true;
    }

    /// Whether it is still kept back.
    pub(super) const fn is_held(&self) -> bool {
        self.held_since.is_some() && !self.passed
    }
}
