//! Runs the assembled parts, and ends them in order.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Assembled, ServeError, supervise};
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
    let Assembled {
        registry,
        tunnels,
        ports,
        gateway,
        hosts,
        live,
        recordings,
        http,
        listeners,
        names,
        sockets,
    } = assembled;
    let signals = supervise::Signals::install().map_err(ServeError::Signals)?;
    let mut parts = JoinSet::new();
    parts.spawn(signals.run(stop.clone()));
    parts.spawn(supervise::watchdog(registry.clone(), stop.clone()));
    parts.spawn(Expiry::new(registry.clone()).run(stop.clone()));
    let ended = lapse::run(
        registry.clone(),
        tunnels.clone(),
        ports.clone(),
        stop.clone(),
    );
    parts.spawn(ended);
    let traffic = ports.traffic().clone();
    parts.spawn(presence::run(
        registry.clone(),
        tunnels,
        traffic.clone(),
        stop.clone(),
    ));
    parts.spawn(live.run(registry.clone(), stop.clone()));
    parts.spawn(retention::run(registry.clone(), recordings, stop.clone()));
    parts.spawn(hosts.run(stop.clone()));
    parts.spawn(http.run(listeners, stop.clone()));
    parts.spawn(gateway.run(stop.clone()));
    parts.spawn(sockets.run(stop.clone()));
    let names = names.map(|served| {
        let listeners = served.plain.into_iter().chain(served.secure).collect();
        parts.spawn(served.http.run(listeners, stop.clone()));
        served.names
    });
    // Every part runs until it is told to stop.
    let first = parts.join_next().await;
    let told = stop.is_cancelled();
    if let Some(Err(error)) = &first {
        error!(%error, "a part of the server failed");
    }
    stop.cancel();
    supervise::stopping();
    let ended = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(config.shutdown_grace + STOP_MARGIN, ended)
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
    if tokio::time::timeout(config.shutdown_grace, drained)
        .await
        .is_err()
    {
        warn!("streams left at the end");
    }
    // The last streams ended just now.
    presence::record_traffic(&registry, &traffic, Timestamp::now().month_start()).await;
    if told {
        Ok(())
    } else {
        Err(ServeError::PartEnded)
    }
}
