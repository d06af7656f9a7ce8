//! Runs the assembled parts, and ends them in order.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Assembled, ServeError, Shared, supervise};
use crate::config::Config;
use crate::expiry::Expiry;
use crate::registry::model::Timestamp;
use crate::{lapse, presence, retention};

/// How long the parts have beyond the grace of their own to end.
const STOP_MARGIN: Duration = Duration::from_secs(10);

pub(super) async fn run(
    assembled: Assembled,
    config: &Config,
    stop: CancellationToken,
    ports_stop: CancellationToken,
) -> Result<(), ServeError> {
    let registry = assembled.shared.registry.clone();
    let ports = assembled.shared.ports.clone();
    let names = assembled.names.as_ref().map(|served| served.names.clone());
    let mut parts = started(assembled, &stop)?;
    // Every part runs until it is told to stop.
    let first = parts.join_next().await;
    let told = stop.is_cancelled();
    if let Some(Err(error)) = &first {
        error!(%error, "a part of the server failed");
    }
    stop.cancel();
    supervise::stopping();
    let ended = async { while parts.join_next().await.is_some() {} };
    if timeout(config.shutdown_grace + STOP_MARGIN, ended)
        .await
        .is_err()
    {
        warn!("parts of the server left at the end");
    }
    ports_stop.cancel();
    let drained = async {
        ports.drained().await;
        if let Some(names) = names {
            names.drained().await;
        }
    };
    if timeout(config.shutdown_grace, drained).await.is_err() {
        warn!("streams left at the end");
    }
    // The last streams ended just now.
    presence::record_traffic(&registry, ports.traffic(), Timestamp::now().month_start()).await;
    if told {
        Ok(())
    } else {
        Err(ServeError::PartEnded)
    }
}

/// Every part, running until `stop`.
fn started(assembled: Assembled, stop: &CancellationToken) -> Result<JoinSet<()>, ServeError> {
    let Shared {
        registry,
        tunnels,
        ports,
        live,
        recordings,
        ..
    } = assembled.shared;
    let signals = supervise::Signals::install().map_err(ServeError::Signals)?;
    let traffic = ports.traffic().clone();
    let mut parts = JoinSet::new();
    parts.spawn(signals.run(stop.clone()));
    parts.spawn(supervise::watchdog(registry.clone(), stop.clone()));
    parts.spawn(Expiry::new(registry.clone()).run(stop.clone()));
    let lapse = lapse::run(registry.clone(), tunnels.clone(), ports, stop.clone());
    parts.spawn(lapse);
    let presence = presence::run(registry.clone(), tunnels, traffic, stop.clone());
    parts.spawn(presence);
    parts.spawn(live.run(registry.clone(), stop.clone()));
    parts.spawn(retention::run(registry, recordings, stop.clone()));
    parts.spawn(assembled.hosts.run(stop.clone()));
    parts.spawn(assembled.http.run(assembled.listeners, stop.clone()));
    parts.spawn(assembled.gateway.run(stop.clone()));
    parts.spawn(assembled.sockets.run(stop.clone()));
    if let Some(names) = assembled.names {
        let listeners = names.plain.into_iter().chain(names.secure).collect();
        parts.spawn(names.http.run(listeners, stop.clone()));
    }
    Ok(parts)
}
