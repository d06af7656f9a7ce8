//! Lets what is older than a year go: the audit of operators' sessions with its recordings, and tasks that ended.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::recording::Recordings;
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long sessions, recordings and tasks are kept, in microseconds: 400 days, as events are.
const KEPT_MICROS: i64 = 400 * 24 * 3600 * 1_000_000;

/// Looks until `stop`.
pub async fn run(registry: Registry, recordings: Recordings, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = sweep(&registry, &recordings).await {
            warn!(%error, "let old sessions go");
        }
    }
}

async fn sweep(registry: &Registry, recordings: &Recordings) -> Result<(), RegistryError> {
    let before = Timestamp(Timestamp::now().0 - KEPT_MICROS);
    registry.forget_tasks(before).await?;
    loop {
        let names = registry.forget_sessions(before).await?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names.into_iter().flatten() {
            if let Err(error) = recordings.remove(&name).await {
                warn!(%error, name, "remove recording");
            }
        }
    }
}
