use super::Peer;
use crate::service::Service;

/// Straight to the service over loopback: what the machine itself can do.
#[derive(Debug)]
pub(super) struct Direct {
    port: u16,
}

impl Direct {
    pub(super) const fn new(service: &Service) -> Self {
        Self {
            port: service.port(),
        }
    }
}

impl Peer for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn port(&self) -> u16 {
        self.port
    }
}
