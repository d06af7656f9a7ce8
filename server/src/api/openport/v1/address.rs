//! Links of sessions (openport contract sections 5 and 8).

use crate::api::Api;
use crate::registry::model::Forward;

impl Api {
    /// The link that opens the public port of `forward` for whoever clicks it.
    pub(in crate::api) fn link(&self, forward: &Forward) -> Option<String> {
        let token = forward.link_token.as_ref()?.expose();
        let base = &self.identity().api_url;
        Some(format!("{base}/l/{}/{token}", forward.public_port))
    }
}
