//! Egress IPs and their bindings to hosts (control contract sections 6 and 8).

use std::fmt;
use std::net::IpAddr;

use moorline_protocol::Secret;
use uuid::Uuid;

use super::{AccountId, HostId, Timestamp};

/// UUID of an egress IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressIpId(pub Uuid);

/// UUID of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub Uuid);

/// Whether an egress IP may be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressStatus {
    /// Yes.
    Available,
    /// No.
    Disabled,
}

/// The tunnel to an egress IP.
#[derive(Clone, Debug)]
pub enum EgressTunnel {
    /// WireGuard.
    WireGuard(WireGuard),
    /// A sing-box outbound, secrets included.
    Proxy(Secret<serde_json::Map<String, serde_json::Value>>),
}

/// A WireGuard tunnel; what is empty was not given.
#[derive(Clone, Debug, Default)]
pub struct WireGuard {
    /// `host:port` of the provider.
    pub endpoint: Option<String>,
    /// The provider's key.
    pub public_key: Option<String>,
    /// What goes through the tunnel.
    pub allowed_ips: String,
    /// Resolver behind the tunnel.
    pub dns_server: Option<String>,
    /// Our address inside the tunnel.
    pub peer_address: Option<String>,
    /// Public half of our key.
    pub client_public_key: Option<String>,
    /// Our key, base64.
    pub private_key: Option<Secret<String>>,
    /// Shared with the provider, base64.
    pub preshared_key: Option<Secret<String>>,
}

/// A tunnel whose exit address is declared.
#[derive(Clone, Debug)]
pub struct EgressIp {
    /// UUID.
    pub id: EgressIpId,
    /// Whose.
    pub account: AccountId,
    /// A word for it.
    pub label: String,
    /// The exit address, unique in the account.
    pub ip_address: IpAddr,
    /// Who it comes from.
    pub provider: String,
    /// Whether it may be bound.
    pub status: EgressStatus,
    /// How it is reached.
    pub tunnel: EgressTunnel,
    /// When made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What an egress IP is made of or shall become.
#[derive(Clone, Debug)]
pub struct EgressSettings {
    /// A word for it.
    pub label: String,
    /// The exit address.
    pub ip_address: IpAddr,
    /// Who it comes from.
    pub provider: String,
    /// Whether it may be bound.
    pub status: EgressStatus,
    /// How it is reached.
    pub tunnel: EgressTunnel,
}

/// A host and the egress IP that its traffic leaves by. The oldest of a host is the one in use.
#[derive(Clone, Debug)]
pub struct Binding {
    /// UUID.
    pub id: BindingId,
    /// Which host.
    pub host: HostId,
    /// Which egress IP.
    pub egress_ip: EgressIpId,
    /// When made.
    pub created_at: Timestamp,
}

impl fmt::Display for EgressIpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

super::texts!(EgressStatus { Available = "available", Disabled = "disabled" });
