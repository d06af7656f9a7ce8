//! Links and HTTP names of sessions (openport contract sections 5, 8 and 12).

use crate::api::Api;
use crate::registry::model::{Device, Forward, ForwardKind, Node};

impl Api {
    /// The link that opens the public port of `forward` for whoever clicks it.
    pub(in crate::api) fn link(&self, forward: &Forward) -> Option<String> {
        let token = forward.link_token.as_ref()?.expose();
        let base = &self.identity().api_url;
        Some(format!("{base}/l/{}/{token}", forward.public_port))
    }

    /// The HTTP name of `forward`, without scheme; `None` when it is no HTTP forward.
    pub(in crate::api) fn http_name(&self, node: &Node, forward: &Forward) -> Option<String> {
        let label = forward.http_label.as_ref()?;
        (forward.kind == ForwardKind::Http).then(|| format!("{label}.u.{}", self.http_domain(node)))
    }

    /// The domain under which a node answers for HTTP names.
    pub(in crate::api) fn http_domain<'a>(&self, node: &'a Node) -> &'a str {
        &node.public_host
    }
}

/// Whether visitors have to click the link of `forward` first: as its client said, else as the device's setting says.
pub(in crate::api) fn is_protected(device: &Device, forward: &Forward) -> bool {
    forward.link_protection.unwrap_or(device.ip_link_protection)
}
