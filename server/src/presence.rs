//! Writes down, in batches, which devices gave a sign of life, when their tunnels came up and what they carried, and
//! cuts the tunnels of devices that another process has blocked, closed or deleted: the `admin` commands work on the
//! same database. Whether recordings are demanded of a device is learned here too, and who was turned away by that.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::forward::Traffic;
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::{DeviceId, NewEvent, Standing, Timestamp};
use crate::tunnels::{Cut, Refusals, Tunnels};

/// Time between two looks at how the connected devices stand.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Every so many looks the signs of life, the times of coming up and the traffic are written: one statement each for
/// hundreds of devices, so that many that return at once cost no more than a few. What the table of live tunnels and
/// the counters know better is asked there.
const LOOKS_PER_RECORD: u32 = 4;

/// Every so many looks old events go: once a day.
const LOOKS_PER_SWEEP: u32 = 24 * 3600 / 5;
/// How long events are kept, in microseconds: 400 days, so that a year can be looked back on.
const EVENTS_KEPT_MICROS: i64 = 400 * 24 * 3600 * 1_000_000;

/// Runs until `stop`, and once more then, so that nothing is lost by a restart.
pub async fn run(registry: Registry, tunnels: Tunnels, traffic: Traffic, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    let mut month = Timestamp::now().month_start();
    loop {
        let stopped = tokio::select! {
            _ = ticks.tick() => false,
            () = stop.cancelled() => true,
        };
        let this_month = Timestamp::now().month_start();
        let to_record = stopped || looks.is_multiple_of(LOOKS_PER_RECORD);
        if to_record && let Err(error) = record(&registry, &tunnels).await {
            warn!(%error, "record signs of life");
        }
        if to_record || this_month != month {
            // What was carried before the turn of the month counts for the month before.
            record_traffic(&registry, &traffic, month).await;
            month = this_month;
        }
        if stopped {
            return;
        }
        if let Err(error) = cut_refused(&registry, &tunnels).await {
            warn!(%error, "look how the connected devices stand");
        }
        for refusals in tunnels.take_refusals() {
            if let Err(error) = tell_refusals(&registry, refusals).await {
                warn!(%error, "record refused ways");
            }
        }
        if looks.is_multiple_of(LOOKS_PER_SWEEP) {
            let before = Timestamp(Timestamp::now().0 - EVENTS_KEPT_MICROS);
            if let Err(error) = registry.forget_events(before).await {
                warn!(%error, "let old events go");
            }
        }
        looks = looks.wrapping_add(1);
    }
}

/// Writes down what devices carried since the last time, as carried in the month that began at `month`. What cannot
/// be written is kept for the next time.
pub async fn record_traffic(registry: &Registry, traffic: &Traffic, month: Timestamp) {
    let carried = traffic.take();
    if carried.is_empty() {
        return;
    }
    if let Err(error) = registry.record_traffic(&carried, month).await {
        warn!(%error, "record traffic");
        traffic.give_back(carried);
    }
}

async fn record(registry: &Registry, tunnels: &Tunnels) -> Result<(), RegistryError> {
    let ups = tunnels.take_ups();
    if let Err(error) = registry.record_up(&ups).await {
        tunnels.give_back_ups(ups);
        return Err(error);
    }
    let seen = tunnels.signs_of_life();
    if seen.is_empty() {
        Ok(())
    } else {
        registry.record_seen(seen).await
    }
}

async fn cut_refused(registry: &Registry, tunnels: &Tunnels) -> Result<(), RegistryError> {
    let connected: Vec<_> = tunnels
        .signs_of_life()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    learn_recordings(registry, tunnels, &connected).await?;
    let standings = registry.standings(&connected).await?;
    let cuts = connected
        .into_iter()
        .filter_map(|id| Some((id, cut_for(id, &standings, tunnels)?)));
    join_all(cuts.map(|(id, cut)| tunnels.cut(id, cut))).await;
    Ok(())
}

/// Looks up of which of `devices` recordings are demanded, for the ways to them. The tunnels of a node follow a change
/// that was made there at once, and one that was made elsewhere within [`LOOK_INTERVAL`].
///
/// # Errors
/// [`RegistryError`]; then everything stays as it was.
pub async fn learn_recordings(
    registry: &Registry,
    tunnels: &Tunnels,
    devices: &[DeviceId],
) -> Result<(), RegistryError> {
    let look = tunnels.begin_look();
    let demanded = registry.recordings_demanded(devices).await?;
    tunnels.learn_recordings(look, devices, &demanded);
    Ok(())
}

/// The same for one device, which has just connected or changed. While the registry does not answer, a device that
/// was not connected before is reached by recorded sessions only.
pub async fn learn_recording(registry: &Registry, tunnels: &Tunnels, device: DeviceId) {
    if let Err(error) = learn_recordings(registry, tunnels, &[device]).await {
        warn!(%device, %error, "look up whether recordings are demanded");
    }
}

async fn tell_refusals(registry: &Registry, refusals: Refusals) -> Result<(), RegistryError> {
    let Refusals { device, way, times } = refusals;
    let Some(device) = registry.device(device).await? else {
        return Ok(());
    };
    let way = way.as_str();
    info!(device = %device.name, way, times, "way refused: recording is demanded");
    let event = NewEvent {
        account: Some(device.account),
        device: Some(device.id),
        user: None,
        host: None,
        task: None,
        level: "warn",
        kind: "device.way.refused",
        message: format!("{}: {way} refused, recording is required", device.name),
        metadata: serde_json::json!({ "name": device.name, "way": way, "times": times }),
    };
    registry.record_event(event).await
}

fn cut_for(
    id: DeviceId,
    standings: &HashMap<DeviceId, Standing>,
    tunnels: &Tunnels,
) -> Option<Cut> {
    let open = || tunnels.status(id).is_some_and(|tunnel| tunnel.open);
    match standings.get(&id) {
        Some(Standing::Open) => None,
        // Without forwards it may stay in touch.
        Some(Standing::Closed) => open().then_some(Cut::Closed),
        Some(Standing::Blocked) => Some(Cut::Blocked),
        Some(Standing::Inactive) => Some(Cut::Inactive),
        None => Some(Cut::Deleted),
    }
}
