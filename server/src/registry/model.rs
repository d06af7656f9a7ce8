//! The domain as the registry hands it out. Parsed once, so that nobody checks again.

use std::fmt;

use moorline_protocol::Secret;
use moorline_protocol::operator::{ApiKeyInfo, DeviceState};
use uuid::Uuid;

mod egress;
mod events;
mod hosts;
mod people;

pub use egress::{
    Binding, BindingId, EgressIp, EgressIpId, EgressSettings, EgressStatus, EgressTunnel, WireGuard,
};
pub use events::{Event, EventFilter, EventPage, NewEvent};
pub use hosts::{
    AccessPolicy, Host, HostId, HostKind, HostLimits, HostOrder, HostStatus, HostView, HostWanted,
    NewHost, OperatorSession, PolicyChange, Removal, SessionEnd, SessionFilter, Task, TaskEnd,
    TaskId, TaskKind, TaskStatus,
};
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

mod api_client;

pub use api_client::{
    ApiClient, ApiClientFilter, ClientChange, ClientDetails, Grant, KeyChange, Setting, TagFilter,
};

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

/// What an API key reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyContext {
    /// Everything of its account.
    Account,
    /// These devices only; it cannot make any.
    Devices(Vec<DeviceId>),
    /// Accepted and kept; reaches no device.
    Apps(Vec<String>),
}

/// Narrows a key that is put into images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Stands for the prefix of serial names when none is given; another prefix is refused.
    pub prefix: Option<String>,
    /// Region of devices it makes.
    pub region: Option<String>,
    /// Devices that may still be made.
    pub uses: Option<i64>,
    /// Refused everywhere from then on.
    pub expires_at: Option<Timestamp>,
}

/// An API client's key, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// `_key_` and 18 digits.
    pub id: String,
    /// `_api_` and 18 digits.
    pub owner_id: String,
    /// Name of the API client.
    pub owner_name: String,
    /// Whose.
    pub account: AccountId,
    /// What it reaches.
    pub context: KeyContext,
    /// Scope texts in the order given.
    pub scope: Vec<String>,
    /// Calls per minute over all surfaces, -1 without limit.
    pub rate_limit: i64,
    /// What narrows it.
    pub limits: KeyLimits,
    /// When made, or made anew.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

impl From<ApiKey> for ApiKeyInfo {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.owner_name,
            scope: key.scope,
            rate_limit: key.rate_limit,
            prefix: key.limits.prefix,
            region: key.limits.region,
            uses: key.limits.uses,
            expires_at: key.limits.expires_at.map(Timestamp::to_rfc3339),
            created_at: key.created_at.to_rfc3339(),
        }
    }
}

/// What a new API client and its key shall be.
#[derive(Clone, Debug)]
pub struct NewApiClient {
    /// Unique in the account without regard to case; `None` is made up.
    pub name: Option<String>,
    /// What the key reaches.
    pub context: KeyContext,
    /// Checked scope texts.
    pub scope: Vec<String>,
    /// Calls per minute, -1 without limit.
    pub rate_limit: i64,
    /// What narrows it.
    pub limits: KeyLimits,
}

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

/// What a device's tunnel may do now, by its state, its account and the operator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Open,
    /// Stay in touch, without forwards.
    Closed,
    /// Nothing: refused for safety.
    Blocked,
    /// Nothing: out of service, or its account is suspended.
    Inactive,
}

/// Whether an operator wants the tunnel of a device open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Yes; the state of a new device.
    Open,
    /// No: forwards are refused.
    Closed,
}

/// A device.
#[derive(Clone, Debug)]
pub struct Device {
    /// The number.
    pub number: i64,
    /// The UUID.
    pub id: DeviceId,
    /// Whose.
    pub account: AccountId,
    /// Unique in the account without regard to case.
    pub name: String,
    /// Active, blocked, inactive.
    pub state: DeviceState,
    /// Tunnel wanted open or closed.
    pub wanted: Wanted,
    /// Keep the tunnel of a device that stopped answering (`set_allow_clientless`).
    pub allow_clientless: bool,
    /// Its key, if it has one.
    pub public_key: Option<PublicKey>,
    /// 20 random characters.
    pub dbid: Secret<String>,
    /// Login name on the device.
    pub username: Option<String>,
    /// What it calls itself.
    pub hostname: Option<String>,
    /// JSON object as text.
    pub hardware: Option<String>,
    /// Its node.
    pub region: String,
    /// Host key of its sshd as first seen or as its agent told, `type base64`.
    pub sshd_host_keys: Vec<String>,
    /// Closed to visitors that did not click the link.
    pub ip_link_protection: bool,
    /// New connections per minute and visitor, 0 without limit.
    pub max_connections_per_minute: u32,
    /// When made.
    pub created_at: Timestamp,
    /// Last sign of life.
    pub last_seen_at: Option<Timestamp>,
    /// Why its last tunnel ended; `None` when it never had one.
    pub last_end: Option<String>,
    /// When its tunnel last came up.
    pub last_up_at: Option<Timestamp>,
    /// Payload bytes that were written down in the month of `bytes_since`, both directions; see [`Self::bytes_in`].
    pub bytes: u64,
    /// Begin of that month; `None` when nothing was ever written down.
    pub bytes_since: Option<Timestamp>,
    /// Part of its redirect addresses: 8 letters and digits, fixed for life.
    pub redirect_token: String,
    /// What may be done with its sessions.
    pub policy: AccessPolicy,
    /// Its forwards, the first one first.
    pub forwards: Vec<Forward>,
}

impl Device {
    /// Whether `caller` may reach the public ports of this device by a forward tunnel (openport contract section 6):
    /// those of its own account. Keys that nobody registered share an account without knowing each other, and reach
    /// only themselves.
    #[must_use]
    pub fn reached_by(&self, caller: &Self) -> bool {
        let registered = self.account.0 != 0;
        self.account == caller.account && (registered || self.id == caller.id)
    }

    /// Whether visitors of `forward`, which is one of its own, have to click the link first (openport contract
    /// section 8): as the forward says, else as the device's setting says.
    #[must_use]
    pub fn protects(&self, forward: &Forward) -> bool {
        forward.link_protection.unwrap_or(self.ip_link_protection)
    }

    /// Payload bytes written down in the month that began at `month`; 0 when the count is of an earlier one.
    #[must_use]
    pub fn bytes_in(&self, month: Timestamp) -> u64 {
        if self.bytes_since.is_some_and(|since| since >= month) {
            self.bytes
        } else {
            0
        }
    }
}

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
}

impl Forward {
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

/// How the name of a new device is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Prefix and the next number of its series.
    Serial {
        /// May be empty.
        prefix: String,
    },
    /// 20 random characters.
    Random,
    /// Chosen by the caller.
    Given(String),
}

/// What `create_new_client` asks for.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// The key that makes it: its account, limits and uses are checked in the same transaction.
    pub api_key_id: String,
    /// Its account.
    pub account: AccountId,
    /// How it is named.
    pub naming: Naming,
    /// Region as asked for (the key's own if it is bound and none was given).
    pub region: Option<String>,
    /// Device port of the first forward.
    pub device_port: u16,
    /// Login name on the device.
    pub username: Option<String>,
    /// Device key; makes the call idempotent.
    pub public_key: Option<PublicKey>,
    /// What the device calls itself.
    pub hostname: Option<String>,
    /// JSON object as text.
    pub hardware: Option<String>,
}

/// A device that is known by its key alone, without a forward (openport contract section 3).
#[derive(Clone, Debug)]
pub struct NewKeyedDevice {
    /// Its account.
    pub account: AccountId,
    /// Its key.
    pub public_key: PublicKey,
    /// How it is named.
    pub naming: KeyNaming,
    /// Closed to visitors that did not click the link.
    pub ip_link_protection: bool,
    /// Noted with the event `device.created`: a JSON object, never a secret.
    pub metadata: serde_json::Value,
}

/// How a device that is made from its key is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyNaming {
    /// So, or not at all.
    Given(String),
    /// So if that is free, else `key<number>`.
    Preferred(String),
    /// `key<number>`.
    Number,
}

/// Part of a list: so many after leaving out some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// How many at most.
    pub limit: u64,
    /// How many to leave out first.
    pub offset: u64,
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
    pub source_ip: std::net::IpAddr,
    /// Name of the device at that time.
    pub key_name: String,
}

/// What became of a [`NewDevice`].
#[derive(Clone, Debug)]
pub struct CreatedDevice {
    /// The device.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// Its first forward.
    pub forward: Forward,
    /// Region.
    pub region: String,
    /// Public DNS name of the node.
    pub public_host: String,
    /// False when an existing device was returned.
    pub created: bool,
}

/// Which devices to list; everything for the default.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Names that begin so, case counts.
    pub prefix: Option<String>,
    /// These devices only.
    pub ids: Option<Vec<DeviceId>>,
    /// How many at most.
    pub limit: Option<u64>,
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

texts!(NodeStatus { Active = "active", Draining = "draining", Down = "down" });
texts!(Wanted { Open = "open", Closed = "closed" });
