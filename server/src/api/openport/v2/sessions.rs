//! `GET /api/v2/sessions/` (openport contract section 3): the forwards that are open on this node now.

use std::collections::{HashMap, HashSet};

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Caller;
use super::answer::Failure;
use super::{Call, page};
use crate::api::Api;
use crate::api::openport::urls;
use crate::registry::model::{DeviceId, Node, Session};

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openport::Session)]
pub(in crate::api) struct SessionItem {
    /// URL of the key.
    key: String,
    /// Public port.
    port: u16,
    /// Port on the device, 0 when the client did not tell.
    local_port: u16,
    /// Public DNS name of the node.
    server: String,
    /// HTTP name, without scheme.
    #[schema(required)]
    http_forwarding_address: Option<String>,
    /// The link that opens the port for the address of whoever clicks it; null when protection is off.
    #[schema(required)]
    open_port_for_ip_link: Option<String>,
    /// Leads to this session, wherever it is.
    redirect_url: String,
}

/// Sessions, oldest first.
pub(super) async fn list(api: &Api, caller: &Caller, call: &Call) -> Result<Response, Failure> {
    let slice = page::slice(&call.query);
    let seen: Option<HashSet<DeviceId>> = caller
        .devices()
        .map(|devices| devices.iter().copied().collect());
    let open: Vec<_> = api
        .tunnels()
        .open_forwards()
        .into_iter()
        .filter(|(device, _)| seen.as_ref().is_none_or(|seen| seen.contains(device)))
        .map(|(_, forward)| forward)
        .collect();
    let registry = api.registry();
    let (count, sessions) = registry
        .open_sessions(caller.account(), &open, slice)
        .await?;
    let nodes = registry.nodes().await?;
    let nodes: HashMap<String, Node> = nodes
        .into_iter()
        .map(|node| (node.name.clone(), node))
        .collect();
    let items = sessions
        .iter()
        .map(|session| item(session, &nodes, &call.base));
    Ok(page::page(call, slice, count, items.collect()))
}

fn item(session: &Session, nodes: &HashMap<String, Node>, base: &str) -> SessionItem {
    let Session { device, forward } = session;
    let node = nodes.get(&forward.node);
    let link = forward.link_token.as_ref();
    let link = link.filter(|_| device.protects(forward));
    SessionItem {
        key: urls::key(base, device.number),
        port: forward.public_port,
        local_port: forward.device_port,
        http_forwarding_address: node.and_then(|node| node.http_name(forward)),
        server: node
            .map(|node| node.public_host.clone())
            .unwrap_or_default(),
        open_port_for_ip_link: link
            .map(|token| urls::ip_link(base, forward.public_port, token.expose())),
        redirect_url: urls::redirect(base, &device.redirect_token, forward.device_port),
    }
}
