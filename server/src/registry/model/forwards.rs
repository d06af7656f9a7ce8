//! Forwards of devices: their ports, their HTTP names, and the clicks on their links.

use std::net::IpAddr;

use moorline_protocol::Secret;

use super::{AccountId, Device, DeviceId, ForwardId, Standing, Timestamp};

/// Device port to public port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `ports_id`.
    pub id: ForwardId,
    /// Node that has the public port.
    pub node: String,
    /// Port on the device; 0 when the client did not tell.
    pub device_port: u16,
    /// Port on the node.
    pub public_port: u16,
    /// Whether it is the one that the device was made with; never let go while the device is there.
    pub first: bool,
    /// What travels on it.
    pub kind: ForwardKind,
    /// Keyed hash of the token that proves that a client of the Openport protocol had it before, see
    /// [`Registry::is_session_token`](crate::registry::Registry::is_session_token); `None` when no such client made it.
    pub session_token: Option<Secret<String>>,
    /// Part of the link that opens the port for a visitor.
    pub link_token: Option<Secret<String>>,
    /// `<label>` of its HTTP name, once it got one.
    pub http_label: Option<String>,
    /// Closed to visitors that did not click the link; `None` is as the device's setting says.
    pub link_protection: Option<bool>,
    /// Refused once when its client restarts by itself.
    pub killed: bool,
}

impl Forward {
    /// The first forward of a device as it is made, apart from the token of its link.
    #[must_use]
    pub const fn first(id: ForwardId, node: String, device_port: u16, public_port: u16) -> Self {
        Self {
            id,
            node,
            device_port,
            public_port,
            first: true,
            kind: ForwardKind::Tcp,
            session_token: None,
            link_token: None,
            http_label: None,
            link_protection: None,
            killed: false,
        }
    }

    /// Whether the device's agent holds it. What an Openport client made it holds itself, and a session that was
    /// killed is nobody's.
    #[must_use]
    pub const fn is_for_agent(&self) -> bool {
        self.session_token.is_none() && !self.killed && self.device_port != 0
    }
}

/// Where an HTTP name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpName {
    /// The device.
    pub device: DeviceId,
    /// Its forward.
    pub forward: ForwardId,
    /// Whether requests may pass now.
    pub standing: Standing,
}

/// What travels on a forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardKind {
    /// Any TCP connection, on its public port.
    #[default]
    Tcp,
    /// HTTP requests, by its HTTP name.
    Http,
}

/// A forward that is open, with its device.
#[derive(Clone, Debug)]
pub struct Session {
    /// The device.
    pub device: Device,
    /// One of its forwards.
    pub forward: Forward,
}

/// A visitor's click on the link of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkClick {
    /// When.
    pub at: Timestamp,
    /// Whose the device was.
    pub account: AccountId,
    /// The device; it may be gone by now.
    pub device: DeviceId,
    /// Its forward.
    pub forward: ForwardId,
    /// Public port that the link opened.
    pub port: u16,
    /// For this address.
    pub source_ip: IpAddr,
    /// Name of the device at that time.
    pub key_name: String,
}
