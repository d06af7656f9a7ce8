//! The client protocol: a device-side client gets a public port, registers its key and ends its sessions; visitors
//! open the links (openport contract sections 4 to 8).
//!
//! | module | holds |
//! |---|---|
//! | [`form`] | bodies of requests |
//! | [`wish`] | what a client asks for, checked |
//! | [`request_port`] | `POST /api/v1/request-port` |
//! | [`forward_tunnel`] | the same for a way to a port of another device |
//! | [`link_key`], [`kill_session`] | `POST /linkKey`, `POST /api/v1/kill-session` |
//! | [`pages`] | `/l/{port}/{token}` and `/r/{token}/{local_port}` |
//! | [`address`] | links and HTTP names of sessions |
//! | [`answer`] | objects on the wire |

use std::net::IpAddr;

use axum::Router;
use axum::routing::{get, post};

use super::super::Api;
use crate::rate_limit::RateLimiter;

pub(in crate::api) mod address;
mod answer;
pub mod form;
mod forward_tunnel;
mod kill_session;
mod link_key;
mod pages;
mod request_port;
pub mod wish;

/// Requests a minute of one key.
const KEY_REQUESTS_PER_MINUTE: u32 = 60;
/// Requests a minute from one address.
const ADDRESS_REQUESTS_PER_MINUTE: u32 = 600;
/// Wrong key binding tokens a minute from one address.
const BAD_BINDINGS_PER_MINUTE: u32 = 10;
/// Wrong links a minute from one address.
const WRONG_LINKS_PER_MINUTE: u32 = 10;
/// Right links a minute from one address; each is written down.
const CLICKS_PER_MINUTE: u32 = 60;

/// What this surface counts.
#[derive(Debug, Default)]
pub(in crate::api) struct Limits {
    keys: RateLimiter<String>,
    addresses: RateLimiter<IpAddr>,
    bad_bindings: RateLimiter<IpAddr>,
    wrong_links: RateLimiter<IpAddr>,
    clicks: RateLimiter<IpAddr>,
}

/// The routes; a slash at the end is tolerated.
pub(super) fn routes() -> Router<Api> {
    let mut routes = Router::new();
    for slash in ["", "/"] {
        let path = |path: &str| format!("{path}{slash}");
        routes = routes
            .route(
                &path("/api/v1/request-port"),
                post(request_port::request_port),
            )
            .route(
                &path("/api/v1/kill-session"),
                post(kill_session::kill_session),
            )
            .route(&path("/linkKey"), post(link_key::link_key))
            .route(&path("/l/{port}"), get(pages::no_token))
            .route(&path("/l/{port}/{token}"), get(pages::link))
            .route(&path("/r/{token}/{local_port}"), get(pages::redirect));
    }
    routes
}
