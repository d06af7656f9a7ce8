//! The end of a device's connection: the goodbye, and what is written down of it.

use std::sync::Arc;
use std::time::Duration;

use moorline_protocol::operator::DeviceState;
use russh::Disconnect;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::DeviceLink;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;
use crate::tunnels::Cut;

/// How long a goodbye may take to leave before the connection is ended anyway.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

impl DeviceLink {
    /// Looks once more whether the device may bring its tunnel: it may have been changed while it was logging in, when
    /// there was nothing to cut yet.
    pub(in crate::gateway) async fn look_again(&self) -> Result<(), Cut> {
        let found = self.shared.registry.device(self.device).await;
        let Ok(found) = found.inspect_err(|error| warn!(%error, "look up device once more")) else {
            return Ok(());
        };
        let device = found.ok_or(Cut::Deleted)?;
        if !self.is_by_key_of(&device) {
            return Err(Cut::Rekeyed);
        }
        match device.state {
            DeviceState::Active => Ok(()),
            DeviceState::Blocked => Err(Cut::Blocked),
            DeviceState::Inactive => Err(Cut::Inactive),
        }
    }

    pub(super) fn end(self: Arc<Self>, cut: Cut) {
        self.state().end.get_or_insert(cut.reason());
        let tasks = self.shared.tasks.clone();
        tasks.spawn(async move {
            // What was said before reaches the agent before the goodbye.
            if self.state().control.take().is_some()
                && timeout(GOODBYE_TIMEOUT, self.spoken.cancelled())
                    .await
                    .is_err()
            {
                debug!(device = %self.name, "agent does not read its control channel");
            }
            let goodbye = self.handle.disconnect(
                Disconnect::ByApplication,
                cut.reason().to_owned(),
                String::new(),
            );
            if timeout(GOODBYE_TIMEOUT, goodbye).await.is_ok() {
                // It was handed to the session; give it the time to reach the socket.
                let gone = timeout(GOODBYE_TIMEOUT, self.ended.cancelled()).await;
                if gone.is_ok() {
                    return;
                }
            }
            self.life.kill();
        });
    }

    /// Takes the tunnel out of service; called once, when the connection is gone.
    pub(in crate::gateway) async fn gone(&self) {
        self.ended.cancel();
        let generation = self.generation();
        self.close_ports();
        let newest = self.shared.tunnels.unregister(self.device, generation);
        let reason = self.state().end.unwrap_or("connection lost");
        info!(device = %self.name, generation, reason, "device disconnected");
        if newest && let Err(error) = self.record_end(reason).await {
            warn!(device = %self.name, %error, "record end of tunnel");
        }
    }

    async fn record_end(&self, reason: &str) -> Result<(), RegistryError> {
        let now = Timestamp::now();
        let silent = i64::try_from(self.life.silent_for().as_micros()).unwrap_or(i64::MAX);
        let last_sign = Timestamp(now.0.saturating_sub(silent));
        self.shared
            .registry
            .record_seen(vec![(self.device, last_sign)])
            .await?;
        self.shared
            .registry
            .record_end(self.device, reason, now)
            .await
    }
}
