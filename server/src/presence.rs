//! Writes down, in batches, which devices gave a sign of life.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::registry::Registry;
use crate::tunnels::Tunnels;

/// Time between two batches. What the table of live tunnels knows better is asked there.
const INTERVAL: Duration = Duration::from_secs(20);

/// Runs until `stop`, and once more then, so that nothing is lost by a restart.
pub async fn run(registry: Registry, tunnels: Tunnels, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = tokio::select! {
            _ = ticks.tick() => false,
            () = stop.cancelled() => true,
        };
        let seen = tunnels.signs_of_life();
        if !seen.is_empty()
            && let Err(error) = registry.record_seen(seen).await
        {
            warn!(%error, "record signs of life");
        }
        if stopped {
            return;
        }
    }
}
