//! What this server says of itself: its URL, hosts, ports and keys.

use std::net::{IpAddr, SocketAddr};

use super::ServeError;
use crate::api::Identity;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::hosts::Place;
use crate::http::Listener;
use crate::registry::model::{Node, NodeStatus};
use crate::tls::Https;

pub(super) fn identity(
    config: &Config,
    gateway: &Gateway,
    listeners: &[Listener],
    https: Option<&Https>,
) -> Result<Identity, ServeError> {
    // Where it has no address of its own, it shares one that is configured with its port.
    let shared = config.ssh.first().map_or(0, SocketAddr::port);
    let bound = gateway.addresses().first().map_or(shared, SocketAddr::port);
    Ok(Identity {
        api_url: match &config.public_url {
            Some(url) => url.clone(),
            None => api_url(config, listeners, https.is_some())?,
        },
        public_url: config.public_url.clone(),
        api_pin: https.and_then(|https| https.pin.clone()),
        public_host: config.public_host.clone(),
        ssh_port: config.ssh_public_port.unwrap_or(bound),
        host_key: gateway.host_key_line().to_owned(),
        gateway_key: Some(gateway.gateway_key_line().to_owned()),
        default_rate_limit: config.default_rate_limit.into(),
        docs_url: config.docs_url.clone().unwrap_or_default(),
        require_https: config.require_https,
    })
}

/// The base URL under the public host: that of HTTPS, if there is one.
fn api_url(config: &Config, listeners: &[Listener], https: bool) -> Result<String, ServeError> {
    let (scheme, standard) = if https { ("https", 443) } else { ("http", 80) };
    // The HTTPS addresses come last, so for either scheme it is the first listener that speaks it.
    let listener = listeners
        .iter()
        .find(|listener| listener.speaks_tls() == https);
    let address = match listener {
        Some(listener) => listener.address().map_err(|source| ServeError::Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            source,
        })?,
        None => SocketAddr::from(([0, 0, 0, 0], standard)),
    };
    let host = match config.public_host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => config.public_host.clone(),
    };
    Ok(if address.port() == standard {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{}", address.port())
    })
}

pub(super) fn place(config: &Config, identity: &Identity) -> Place {
    Place {
        node: config.region.clone(),
        ssh_host: identity.public_host.clone(),
        ssh_port: identity.ssh_port,
    }
}

pub(super) fn node(config: &Config, identity: &Identity) -> Node {
    Node {
        name: config.region.clone(),
        public_host: config.public_host.clone(),
        ssh_port: identity.ssh_port,
        host_key: identity.host_key.clone(),
        status: NodeStatus::Active,
        ports: config.ports,
        names_domain: config
            .names
            .as_ref()
            .map(|names| names.domain.clone())
            .filter(|domain| *domain != config.public_host),
    }
}
