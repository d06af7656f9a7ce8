//! What ends without a word: sessions that were killed or removed elsewhere, and what nobody has used for 30 days
//! (openport contract sections 4, 5 and 7).

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::forward::PublicPorts;
use crate::registry::error::RegistryError;
use crate::registry::model::{ForwardId, Timestamp};
use crate::registry::{Registry, SessionEnd};
use crate::tunnels::{Cut, Tunnels};

/// Time between two looks at the sessions whose tunnels are up; another node may have killed one.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Every so many looks it is written down which sessions are in use: every ten minutes.
const LOOKS_PER_TOUCH: u32 = 120;
/// Every so many looks what was unused for too long goes: every hour.
const LOOKS_PER_SWEEP: u32 = 720;
/// The first of these looks, ten minutes after the start: by then the devices have come back.
const FIRST_SWEEP: u32 = 120;
/// How long sessions and devices that nobody has registered are kept without use, in microseconds: 30 days.
const KEPT_MICROS: i64 = 30 * 24 * 3600 * 1_000_000;
/// How long clicks of links are kept, in microseconds: 400 days, as events are.
const CLICKS_KEPT_MICROS: i64 = 400 * 24 * 3600 * 1_000_000;

/// Runs until `stop`, and notes once more then which sessions are in use.
pub async fn run(
    registry: Registry,
    tunnels: Tunnels,
    ports: PublicPorts,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        let stopped = tokio::select! {
            _ = ticks.tick() => false,
            () = stop.cancelled() => true,
        };
        if (stopped || looks.is_multiple_of(LOOKS_PER_TOUCH))
            && let Err(error) = touch(&registry, &tunnels).await
        {
            warn!(%error, "note sessions in use");
        }
        if stopped {
            return;
        }
        if let Err(error) = cut_ended(&registry, &tunnels, &ports).await {
            warn!(%error, "look which sessions ended");
        }
        if looks % LOOKS_PER_SWEEP == FIRST_SWEEP {
            match sweep(&registry, &tunnels, Timestamp::now()).await {
                Ok((0, 0)) => {}
                Ok((sessions, devices)) => info!(sessions, devices, "unused for 30 days, let go"),
                Err(error) => warn!(%error, "let go of what is unused"),
            }
        }
        looks = looks.wrapping_add(1);
    }
}

async fn touch(registry: &Registry, tunnels: &Tunnels) -> Result<(), RegistryError> {
    let open: Vec<ForwardId> = tunnels
        .open_forwards()
        .into_iter()
        .map(|(_, forward)| forward)
        .collect();
    registry.touch_sessions(&open, Timestamp::now()).await
}

/// Lets go of what was not used for 30 days before `now`; tells how many sessions and devices.
async fn sweep(
    registry: &Registry,
    tunnels: &Tunnels,
    now: Timestamp,
) -> Result<(u64, u64), RegistryError> {
    touch(registry, tunnels).await?;
    let before = Timestamp(now.0.saturating_sub(KEPT_MICROS));
    let sessions = registry.release_sessions(before).await?;
    let devices = registry.forget_anonymous(before).await?;
    let before = Timestamp(now.0.saturating_sub(CLICKS_KEPT_MICROS));
    registry.forget_clicks(before).await?;
    Ok((sessions, devices))
}

async fn cut_ended(
    registry: &Registry,
    tunnels: &Tunnels,
    ports: &PublicPorts,
) -> Result<(), RegistryError> {
    let open = tunnels.open_forwards();
    if open.is_empty() {
        return Ok(());
    }
    let forwards: Vec<ForwardId> = open.iter().map(|(_, forward)| *forward).collect();
    let ended = registry.ended_sessions(&forwards).await?;
    for (device, forward) in open {
        let Some(end) = ended.get(&forward) else {
            continue;
        };
        ports.forget(forward);
        let cut = match end {
            SessionEnd::Killed => tunnels.cut_forward(device, forward, Cut::Killed).await,
            SessionEnd::Removed => tunnels.end_removed(device, forward, Cut::Killed).await,
        };
        if !cut {
            warn!(%device, "tunnel still there after its session ended");
        }
    }
    Ok(())
}
