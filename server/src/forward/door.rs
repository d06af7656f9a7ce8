//! Which visitors a public port lets in (openport contract sections 8 and 9).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tracing::warn;

use super::PublicForward;
use crate::recent::Recent;
use crate::registry::Registry;
use crate::registry::model::Timestamp;

/// The door of one public port.
pub(super) struct Door {
    rules: Arc<Mutex<PublicForward>>,
    registry: Registry,
    visitors: Mutex<Recent<IpAddr>>,
}

impl Door {
    pub(super) fn new(rules: Arc<Mutex<PublicForward>>, registry: Registry) -> Self {
        Self {
            rules,
            registry,
            visitors: Mutex::default(),
        }
    }

    /// The rules as they are now.
    pub(super) fn rules(&self) -> PublicForward {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// What `visitor` may connect to, if it may now. Tries before its click do not count against its limit.
    pub(super) async fn admit(&self, visitor: IpAddr) -> Option<PublicForward> {
        let visitor = visitor.to_canonical();
        let forward = self.rules();
        if forward.is_protected() && !self.has_clicked(&forward, visitor).await {
            return None;
        }
        let limit = forward.max_connections_per_minute;
        let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        visitors
            .admit(visitor, limit, Instant::now())
            .then_some(forward)
    }

    async fn has_clicked(&self, forward: &PublicForward, visitor: IpAddr) -> bool {
        let clicked = self
            .registry
            .has_clicked(forward.forward, visitor, Timestamp::now());
        clicked.await.unwrap_or_else(|error| {
            warn!(port = forward.port, %error, "look for click of visitor");
            false
        })
    }
}
