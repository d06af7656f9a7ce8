//! Signals, and what systemd wants to hear.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to watch for them.
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` when one comes.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM, stopping"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT, stopping"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    }
}

/// Tells systemd that everything listens.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the server ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd's watchdog, where there is one, that the server lives: that tasks run and the database answers.
pub(super) async fn watchdog(registry: Registry, stop: CancellationToken) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return stop.cancelled().await;
    };
    let interval = (interval / 3).max(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
        match tokio::time::timeout(interval, registry.ping()).await {
            Ok(Ok(())) => notify(&[NotifyState::Watchdog]),
            Ok(Err(error)) => tracing::error!(%error, "database does not answer"),
            Err(_) => tracing::error!("database does not answer in time"),
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "notify systemd");
    }
}
