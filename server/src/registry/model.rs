//! The domain as the registry hands it out. Parsed once, so that nobody checks again.
//!
//! | module | holds |
//! |---|---|
//! | [`keys`] | API keys: what they reach, what narrows them |
//! | [`api_client`] | the holders of API keys |
//! | [`devices`] | devices, and how new ones are made and named |
//! | [`forwards`] | forwards of devices, their HTTP names and links |
//! | [`nodes`] | the server processes |
//! | [`people`] | users and their SSH keys |
//! | [`hosts`] | users' hosts, their tasks, the sessions that reach them |
//! | [`egress`] | egress IPs and their bindings to hosts |
//! | [`events`] | the audit |
//!
//! Here is what all of them build on: accounts, numbers and names of things, moments.

use std::fmt;

use uuid::Uuid;

mod api_client;
mod devices;
mod egress;
mod events;
mod forwards;
mod hosts;
mod keys;
mod nodes;
mod people;

pub use api_client::{
    ApiClient, ApiClientFilter, ClientChange, ClientDetails, Grant, KeyChange, Setting, TagFilter,
};
pub use devices::{
    CreatedDevice, Device, DeviceFilter, KeyNaming, Naming, NewDevice, NewKeyedDevice, Standing,
    Wanted,
};
pub use egress::{
    Binding, BindingId, EgressIp, EgressIpId, EgressSettings, EgressStatus, EgressTunnel, WireGuard,
};
pub use events::{Event, EventFilter, EventPage, NewEvent};
pub use forwards::{Forward, ForwardKind, HttpName, LinkClick, Session};
pub use hosts::{
    AccessPolicy, Host, HostId, HostKind, HostLimits, HostOrder, HostStatus, HostToCheck, HostView,
    HostWanted, NewHost, OperatorSession, PolicyChange, Removal, SessionEnd, SessionFilter, Task,
    TaskEnd, TaskId, TaskKind, TaskStatus,
};
pub use keys::{ApiKey, KeyContext, KeyLimits, NewApiClient};
pub use nodes::{Node, NodeStatus};
pub use people::{KeyPurpose, NewUser, NewUserKey, Role, User, UserKey, UserStatus};

/// Gives an enum its text in the database and on the wire.
macro_rules! texts {
    ($name:ident { $($variant:ident = $text:literal),+ }) => {
        impl $name {
            /// The text in the database and on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// What `text` names.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
use texts;

/// Microseconds since 1970 in UTC; the resolution that SQLite and PostgreSQL both keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Number of an account: `user_id` of the provisioning calls, `account_id` of Openport. 0 is the anonymous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// UUID of a device: `client_id`. Never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub Uuid);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a forward: `ports_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardId(pub i64);

/// UUID of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub Uuid);

/// An SSH public key, `type base64` with a comment; compared by type and data alone.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// `type base64` with single blank, the form that is compared and stored.
    pub canonical: String,
    /// What stood after the key data.
    pub comment: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// Who everything belongs to.
#[derive(Clone, Debug)]
pub struct Account {
    /// Number.
    pub id: AccountId,
    /// `_acc_` and 18 digits.
    pub uid: String,
    /// Name.
    pub name: String,
    /// Suspended accounts are refused everywhere.
    pub suspended: bool,
    /// Region of devices that name none.
    pub default_region: Option<String>,
}

/// Part of a list: so many after leaving out some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// How many at most.
    pub limit: u64,
    /// How many to leave out first.
    pub offset: u64,
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for PublicKey {}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ForwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
