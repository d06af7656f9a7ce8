//! The Openport surface (`contract/openport.md`).
//!
//! | module | holds |
//! |---|---|
//! | [`v1`] | what clients on devices speak, and the pages that links lead to |
//! | [`v2`] | `/api/v2/…`: keys, sessions, nodes and clicks for scripts |
//! | [`names`] | names that keys may have |
//! | [`node_addresses`] | addresses of nodes, looked up a moment ago |
//! | [`urls`] | addresses that answers lead to |

use axum::Router;

use super::Api;

mod names;
mod node_addresses;
pub(super) mod urls;
pub mod v1;
pub(super) mod v2;

pub(super) use node_addresses::NodeAddresses;

/// The routes of this surface.
pub(super) fn routes() -> Router<Api> {
    Router::new().merge(v1::routes()).merge(v2::routes())
}
