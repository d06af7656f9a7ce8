//! HTTP: the router and what all its surfaces share.
//!
//! | module | holds |
//! |---|---|
//! | [`provisioning`] | `/init/api/<call>` (`contract/provisioning.md`) |
//! | [`apiclients`] | `/v3/apiclients`, `/v3/accounts/…/apiclients` (`contract/apiclients.md`) |
//! | [`device_changes`] | changing and removing devices, as every surface does it |
//! | [`keys`], [`key_cache`] | API keys as every surface meets them: found, judged, counted |
//! | [`body`] | bodies whose sender gets to read the answer |
//! | [`control`] | `/v1/…`, `/healthz` (`contract/control.md`) |
//! | [`openport`] | `/api/v1/…`, `/linkKey`, `/l/…`, `/r/…` (`contract/openport.md`) |
//! | [`openapi`] | `/openapi.json` |
//!
//! *Invariant:* handlers see the registry and the tunnels, never SQL and never SSH.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use self::key_cache::KeyCache;
use self::openport::NodeAddresses;
use crate::config::proxies::TrustedProxies;
use crate::forward::PublicPorts;
use crate::hosts::Hosts;
use crate::login_limits::LoginLimits;
use crate::passwords::Passwords;
use crate::rate_limit::RateLimiter;
use crate::recording::Recordings;
use crate::registry::Registry;
use crate::registry::model::DeviceId;
use crate::ssh_identity::KeyMaker;
use crate::tunnels::Tunnels;

pub mod apiclients;
mod body;
pub mod control;
mod device_changes;
mod key_cache;
mod keys;
pub mod log_line;
pub mod openapi;
pub mod openport;
pub mod provisioning;
mod visitor;

pub use control::token::Tokens;

/// Everything the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// What an [`Api`] is made of.
pub struct Parts {
    /// Everything that is kept.
    pub registry: Registry,
    /// The live tunnels.
    pub tunnels: Tunnels,
    /// The open public ports.
    pub ports: PublicPorts,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Failed passwords, counted with the gateway's.
    pub logins: LoginLimits,
    /// Makes and reads the tokens of `/v1`.
    pub tokens: Tokens,
    /// The work on users' hosts.
    pub hosts: Hosts,
    /// Recorded sessions.
    pub recordings: Recordings,
    /// What the server says of itself.
    pub identity: Identity,
    /// What clients of the Openport protocol may do and are told.
    pub clients: Clients,
    /// Renders `/metrics`, where a recorder is installed.
    pub metrics: Option<PrometheusHandle>,
}

/// What the server says of itself in scripts and answers.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Base URL of the HTTP API, no trailing slash.
    pub api_url: String,
    /// The same, when it was configured and not made up; answers that lead back to the server prefer where the
    /// request went otherwise.
    pub public_url: Option<String>,
    /// `sha256/…` of the server's TLS key when its certificate is self-signed.
    pub api_pin: Option<String>,
    /// Public name of this node.
    pub public_host: String,
    /// SSH port for operators.
    pub ssh_port: u16,
    /// Host key of the gateway, `type base64`.
    pub host_key: String,
    /// The key the gateway logs in to devices with, `type base64`.
    pub gateway_key: Option<String>,
    /// Calls a minute of an API key that is made without a number of its own.
    pub default_rate_limit: i64,
    /// Base URL of the pages that explain error codes, no trailing slash; empty is [`Self::api_url`].
    pub docs_url: String,
    /// Whether `/v3` refuses plain HTTP.
    pub require_https: bool,
}

/// What clients of the Openport protocol may do and are told, and whose word on visitors counts.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Whether keys that nobody registered are served.
    pub allow_anonymous_keys: bool,
    /// Host of the second SSH address of this node, when it is not the public one.
    pub fallback_host: Option<String>,
    /// Its port.
    pub fallback_port: u16,
    /// Proxies in front of the server.
    pub trusted_proxies: TrustedProxies,
}

/// How long a peer may take to send the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

struct Shared {
    parts: Parts,
    /// API keys looked up a moment ago, for `create_new_client`.
    recent_keys: KeyCache,
    /// Addresses of nodes, for the Openport surface.
    node_addresses: NodeAddresses,
    /// Calls by the owner of an API key, over all surfaces.
    key_calls: RateLimiter<String>,
    /// Calls with a quadruple, by device.
    device_calls: RateLimiter<DeviceId>,
    /// Calls with wrong credentials, by source address.
    refused_calls: RateLimiter<IpAddr>,
    /// Makes the SSH keys that people ask for.
    key_maker: KeyMaker,
    /// Calls and clicks of the Openport client protocol.
    client_limits: openport::v1::Limits,
    /// Connections to desktops of hosts.
    desktops: control::Desktops,
}

/// Where a request came from; put into its extensions by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Whether a request came over TLS; put into its extensions by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls,
}

impl Api {
    /// With empty budgets.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            parts,
            recent_keys: KeyCache::default(),
            node_addresses: NodeAddresses::default(),
            key_calls: RateLimiter::new(),
            device_calls: RateLimiter::new(),
            refused_calls: RateLimiter::new(),
            key_maker: KeyMaker::default(),
            client_limits: openport::v1::Limits::default(),
            desktops: control::Desktops::default(),
        }))
    }

    fn registry(&self) -> &Registry {
        &self.0.parts.registry
    }

    fn tunnels(&self) -> &Tunnels {
        &self.0.parts.tunnels
    }

    fn identity(&self) -> &Identity {
        &self.0.parts.identity
    }

    fn ports(&self) -> &PublicPorts {
        &self.0.parts.ports
    }

    /// Every route of the server.
    pub fn router(self) -> Router {
        Router::new()
            .merge(provisioning::routes())
            .merge(control::routes(&self))
            .merge(apiclients::routes())
            .merge(openport::routes())
            .route("/metrics", get(metrics))
            .route("/openapi.json", get(openapi::document))
            .merge(openapi::pages())
            .fallback(not_found)
            .layer(middleware::from_fn_with_state(
                self.clone(),
                visitor::behind_proxies,
            ))
            .with_state(self)
    }
}

/// Any path under none of the roots.
async fn not_found() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, kind, "404 page not found\n")
}

/// Prometheus text.
async fn metrics(
    axum::extract::State(api): axum::extract::State<Api>,
) -> Result<impl IntoResponse, StatusCode> {
    let handle = api.0.parts.metrics.as_ref().ok_or(StatusCode::NOT_FOUND)?;
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("moorline_tunnels").set(api.tunnels().count() as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("moorline_logins").set(api.0.parts.hosts.sessions().count() as f64);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((kind, handle.render()))
}

/// Memory of this process that is in RAM.
fn resident_bytes() -> Option<u64> {
    let own = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_processes_specifics(
        sysinfo::ProcessesToUpdate::Some(&[own]),
        true,
        sysinfo::ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(own).map(sysinfo::Process::memory)
}
