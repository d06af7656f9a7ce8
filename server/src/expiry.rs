//! [`Expiry`]: what happens when time is over (control contract section 15).

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(60);

/// Makes users expired when their time is over. Every node may run one: they do not get in each other's way.
#[derive(Clone, Debug)]
pub struct Expiry {
    registry: Registry,
}

impl Expiry {
    /// Looks into `registry`.
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Looks at once and every 60 s until `stop`. What fails is tried again the next time.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.look(Timestamp::now()).await {
                tracing::warn!(%error, "expire users");
            }
        }
    }

    /// One look, as of `now`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn look(&self, now: Timestamp) -> Result<(), RegistryError> {
        loop {
            let expired = self.registry.expire_users(now).await?;
            for user in &expired {
                tracing::info!(user = %user.id, "user expired");
            }
            if expired.is_empty() {
                break;
            }
        }
        self.registry.forget_login_failures(now).await?;
        Ok(())
    }
}
