//! `GET /api/v2/nodes/` (openport contract section 3).

use std::net::IpAddr;
use std::time::Duration;

use axum::response::Response;
use serde::Serialize;
use tokio::net::lookup_host;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::answer::Failure;
use super::{Call, page};
use crate::api::Api;
use crate::registry::model::Node;

/// How long the address of a node may be looked for.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openport::Node)]
pub(in crate::api) struct NodeItem {
    /// Region.
    name: String,
    /// Address of the public name; empty when it cannot be looked up now.
    public_ip: String,
    /// `active`, `draining` or `down`.
    status: &'static str,
    public_dns_name: String,
}

/// Nodes by name. Needs no token.
pub(super) async fn list(api: &Api, call: &Call) -> Result<Response, Failure> {
    let slice = page::slice(&call.query);
    let nodes = api.registry().nodes().await?;
    let count = nodes.len() as u64;
    let from = usize::try_from(slice.offset).unwrap_or(usize::MAX);
    let most = usize::try_from(slice.limit).unwrap_or(usize::MAX);
    let part = nodes.into_iter().skip(from).take(most);
    let items = futures::future::join_all(part.map(|node| item(api, node))).await;
    Ok(page::page(call, slice, count, items))
}

async fn item(api: &Api, node: Node) -> NodeItem {
    NodeItem {
        public_ip: api
            .address_of(&node.public_host)
            .await
            .map_or_else(String::new, |address| address.to_string()),
        name: node.name,
        status: node.status.as_str(),
        public_dns_name: node.public_host,
    }
}

impl Api {
    /// The address behind the public name of a node, IPv4 first; may be a minute old.
    async fn address_of(&self, host: &str) -> Option<IpAddr> {
        if let Ok(address) = host.parse() {
            return Some(address);
        }
        if let Some(known) = self.0.node_addresses.get(host) {
            return known;
        }
        let found = timeout(LOOKUP_TIMEOUT, lookup_host((host, 0))).await;
        let mut addresses: Vec<IpAddr> = match found {
            Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        addresses.sort_by_key(IpAddr::is_ipv6);
        let address = addresses.first().copied();
        self.0.node_addresses.put(host, address);
        address
    }
}
