//! The Openport surface (`contract/openport.md`).
//!
//! | module | holds |
//! |---|---|
//! | [`v2`] | `/api/v2/…`: keys, sessions, nodes and clicks for scripts |
//! | [`names`] | names that keys may have |
//! | [`node_addresses`] | addresses of nodes, looked up a moment ago |
//! | [`urls`] | addresses that answers lead to |

use axum::Router;

use super::Api;

mod names;
mod node_addresses;
pub(super) mod urls;
pub(super) mod v2;

pub(super) use node_addresses::NodeAddresses;

/// The routes of this surface.
pub(super) fn routes() -> Router<Api> {
    Router::new().merge(v2::routes())
}
