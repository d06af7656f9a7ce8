//! Forward tunnels: from a machine of the account to a public port of another of its devices (openport contract
//! section 6). Nothing is kept of them; the gateway judges again when a stream is asked for.

use super::answer::{Granted, Refusal};
use super::wish::RequestPort;
use crate::api::Api;
use crate::registry::model::{Device, Forward, Node};

impl Api {
    /// Tells `caller` where to log in for the port that it wants to reach.
    pub(super) async fn forward_tunnel(
        &self,
        caller: &Device,
        wish: &RequestPort,
    ) -> Result<Granted, Refusal> {
        let port = wish.port.unwrap_or(0);
        let (forward, node) = self.reachable(caller, wish, port).await?;
        let message = format!(
            "You are now connected. You can access the remote pc's port {} on localhost:{}",
            forward.device_port, wish.local_port
        );
        Ok(Granted {
            session_token: self.registry().forward_tunnel_token(caller.id),
            server_port: forward.public_port,
            session_id: forward.id.0,
            ..self.granted_on(&node, caller, message)
        })
    }

    /// The session on `port` that `caller` may reach, on the node it asked for if it did.
    async fn reachable(
        &self,
        caller: &Device,
        wish: &RequestPort,
        port: u16,
    ) -> Result<(Forward, Node), Refusal> {
        let nodes = self.registry().nodes().await?;
        let asked = |node: &Node| {
            wish.server.as_ref().is_none_or(|server| {
                server.eq_ignore_ascii_case(&node.public_host)
                    || server.eq_ignore_ascii_case(&node.name)
            })
        };
        let sessions = self.registry().sessions_on(port).await?;
        let mut found: Vec<(Forward, Node)> = sessions
            .into_iter()
            .filter(|(device, _)| device.reached_by(caller))
            .filter_map(|(_, forward)| {
                let node = nodes.iter().find(|node| node.name == forward.node)?;
                asked(node).then(|| (forward, node.clone()))
            })
            .collect();
        // Without a word on which, the one on the caller's own node comes first.
        found.sort_by_key(|(_, node)| node.name != caller.region);
        let first = found.into_iter().next();
        first.ok_or(Refusal::NoSession(port))
    }
}
