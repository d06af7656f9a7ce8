//! The Openport surface (`contract/openport.md`).
//!
//! | module | holds |
//! |---|---|
//! | [`v1`] | what clients on devices speak, and the pages that links lead to |

use axum::Router;

use super::Api;

pub mod v1;

/// The routes of this surface.
pub(super) fn routes() -> Router<Api> {
    Router::new().merge(v1::routes())
}
