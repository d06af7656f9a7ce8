use anyhow::Result;

use super::{Door, Peer};
use crate::service::Service;
use crate::web::Web;

/// Straight to the service over loopback: what the machine itself can do.
#[derive(Debug)]
pub(super) struct Direct {
    port: u16,
    web: Web,
}

impl Direct {
    pub(super) fn start(service: &Service) -> Result<Self> {
        Ok(Self {
            port: service.port(),
            web: Web::start()?,
        })
    }
}

impl Peer for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn door(&self) -> Option<Door> {
        Some(Door {
            port: self.web.port(),
            host: "localhost".into(),
        })
    }
}
