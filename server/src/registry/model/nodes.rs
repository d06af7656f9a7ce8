//! Nodes: the server processes that devices connect to.

use super::{Forward, ForwardKind};

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStatus {
    /// Takes devices.
    Active,
    /// Is emptied.
    Draining,
    /// Does not answer.
    Down,
}

/// One server process, named by its region.
#[derive(Clone, Debug)]
pub struct Node {
    /// Region.
    pub name: String,
    /// Public DNS name.
    pub public_host: String,
    /// SSH port for tunnels.
    pub ssh_port: u16,
    /// `type base64` of its host key.
    pub host_key: String,
    /// How it stands.
    pub status: NodeStatus,
    /// Public ports it hands out, both ends included.
    pub ports: (u16, u16),
    /// Domain of its HTTP names where that is not its public DNS name.
    pub names_domain: Option<String>,
}

impl Node {
    /// The HTTP name of `forward`, without scheme (openport contract section 12); `None` when it is no HTTP forward.
    #[must_use]
    pub fn http_name(&self, forward: &Forward) -> Option<String> {
        let label = forward.http_label.as_ref()?;
        let domain = self.names_domain.as_ref().unwrap_or(&self.public_host);
        (forward.kind == ForwardKind::Http).then(|| format!("{label}.u.{domain}"))
    }
}

super::texts!(NodeStatus { Active = "active", Draining = "draining", Down = "down" });
