//! Signs of life of a device: how long it may be silent, and the watch over that.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::DeviceLink;
use crate::tunnels::{Carrier as _, Cut, Pulse};

/// What an agent's keepalive interval may be beside its own word, for answers on their way.
const KEEPALIVE_SLACK: Duration = Duration::from_secs(10);
/// Longest keepalive interval an agent may name.
const MAX_KEEPALIVE: Duration = Duration::from_secs(3600);
/// How often the watch looks at a connection.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

impl DeviceLink {
    /// Ends a connection that stopped answering.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut looks = interval(WATCH_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                _ = looks.tick() => {}
            }
            let Pulse {
                silent_for,
                keepalive,
                ..
            } = self.pulse();
            if silent_for > keepalive && !self.state().allow_clientless {
                info!(device = %self.name, ?silent_for, "device stopped answering");
                self.cut(Cut::TimedOut);
                return;
            }
        }
    }

    pub(super) fn pulse(&self) -> Pulse {
        let state = self.state();
        let keepalive = match &state.hello {
            Some(hello) => {
                let own = Duration::from_secs(hello.keepalive_secs.into());
                own.min(MAX_KEEPALIVE) + KEEPALIVE_SLACK
            }
            None => self.shared.config.keepalive_interval * 2,
        };
        Pulse {
            silent_for: self.life.silent_for(),
            keepalive,
            round_trip: state.round_trip,
        }
    }
}
