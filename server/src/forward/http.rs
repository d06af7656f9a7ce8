//! HTTP names: requests to `<label>.u.<domain>` go through the tunnel of the device that has the label (openport
//! contract section 12).
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | whom a request is for |
//! | [`headers`] | what the device is told of where it comes from |
//! | [`exchange`] | a request on its way, its answer, an upgraded connection |
//! | [`device`] | connections to the device |
//! | [`page`] | what the node itself answers |
//!
//! *Invariant:* every request is looked up, so that a device that is blocked, or a name that is gone, is so at once.
//! *Invariant:* a connection to a device serves one visitor's connection only: what a device's server confuses stays
//! with the visitor who confused it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::api::{Peer, Transport};
use crate::proxy::turns::{Limits, Turns};
use crate::registry::Registry;
use crate::registry::model::{ForwardId, HttpName, Standing};
use crate::tunnels::Tunnels;

use super::Traffic;

mod device;
mod exchange;
mod headers;
pub mod host;
mod page;

use device::Idle;
use host::{Label, Place};
use page::Trouble;

/// Requests and upgraded connections that one forward carries at once, as many as it may have visitors on a public
/// port; what comes beyond is answered 503. All together are bounded by the connections of visitors.
const LIMITS: Limits = Limits {
    each: 1024,
    all: usize::MAX,
};

/// What serving names needs.
pub struct NameParts {
    /// The names are `<label>.u.<domain>`; lower case.
    pub domain: String,
    /// Region: only forwards of this node are served.
    pub node: String,
    /// Everything that is kept.
    pub registry: Registry,
    /// The live tunnels.
    pub tunnels: Tunnels,
    /// Counts bytes.
    pub traffic: Traffic,
    /// Ends what is under way.
    pub stop: CancellationToken,
}

/// The HTTP names of this node. Cheap to clone.
#[derive(Clone)]
pub struct Names(Arc<Shared>);

struct Shared {
    parts: NameParts,
    turns: Turns<ForwardId>,
    tasks: TaskTracker,
}

impl Names {
    /// Without any request under way.
    #[must_use]
    pub fn new(parts: NameParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            turns: Turns::new(LIMITS),
            tasks: TaskTracker::new(),
        }))
    }

    /// Whom a request is for.
    #[must_use]
    pub fn place_of(&self, request: &axum::http::request::Parts) -> Place {
        host::place_of(request, &self.0.parts.domain)
    }

    /// For the requests of one visitor's connection.
    #[must_use]
    pub fn visit(&self, peer: Peer, transport: Transport) -> Visit {
        Visit {
            names: self.clone(),
            peer,
            transport,
            idle: Idle::default(),
        }
    }

    /// Waits until nothing is under way; call it after `stop`.
    pub async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// One visitor's connection, as far as names are concerned.
pub struct Visit {
    names: Names,
    peer: Peer,
    transport: Transport,
    idle: Idle,
}

impl Visit {
    /// Answers a request for `place`; the node's own requests are not for here and get the page of an unknown name.
    pub async fn answer(&self, place: Place, request: Request<Incoming>) -> Response<Body> {
        let answer = match place {
            Place::Name(label) => self.pass_on(&label, request).await,
            Place::Unclear => Err(Trouble::Malformed),
            Place::NoName | Place::Node => Err(Trouble::NoSuchName),
        };
        answer.unwrap_or_else(|trouble| {
            debug!(peer = %self.peer.0, ?trouble, "HTTP name not served");
            trouble.page()
        })
    }

    async fn pass_on(
        &self,
        label: &Label,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Trouble> {
        if request.method() == Method::CONNECT {
            return Err(Trouble::Method);
        }
        let name = self.look_up(label).await?;
        if name.standing != Standing::Open {
            return Err(Trouble::Down);
        }
        let turn = self.names.0.turns.take(name.forward).ok_or(Trouble::Full)?;
        self.exchange(name, turn, request).await
    }

    async fn look_up(&self, label: &Label) -> Result<HttpName, Trouble> {
        let parts = &self.names.0.parts;
        let found = parts.registry.forward_by_label(&parts.node, label.as_str());
        let found = found.await.map_err(|error| {
            warn!(%error, "look up HTTP name");
            Trouble::Internal
        })?;
        found.ok_or(Trouble::NoSuchName)
    }
}
