//! Devices: what they are, how new ones are made and named, and which of them to list.

use moorline_protocol::Secret;
use moorline_protocol::operator::DeviceState;

use super::{AccessPolicy, AccountId, DeviceId, Forward, PublicKey, Timestamp};

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

super::texts!(Wanted { Open = "open", Closed = "closed" });
