//! JSON of what administrators keep: users, egress IPs, bindings, events (control contract sections 4, 6, 8, 10).

use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UserInfo {
    /// UUID.
    pub(crate) id: String,
    /// Unique in the installation.
    pub(crate) username: String,
    /// `active`, `disabled`, `expired`.
    pub(crate) status: String,
    /// `admin` or `user`.
    pub(crate) role: String,
    /// Stands for the name at a login and in links.
    #[serde(default)]
    pub(crate) short_id: String,
    /// When their time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) created_at: String,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) updated_at: String,
}

/// The users of the account, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserList {
    /// The users.
    pub(crate) users: Vec<UserInfo>,
}

/// One user, with what else the answer says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserEnvelope {
    /// The user.
    pub(crate) user: UserInfo,
    /// Their hosts, where the answer has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<Vec<Map<String, Value>>>,
    /// Their password, where the answer shows it; then this once. It is there to be printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
}

/// `POST /v1/admin/users`. No `Debug`, for the password's sake.
#[derive(Serialize)]
pub(crate) struct NewUser<'a> {
    /// 3-50 characters.
    pub(crate) username: &'a str,
    /// Left out: the server makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<&'a str>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<&'a str>,
}

/// Answer to a rotation.
#[derive(Deserialize)]
pub(crate) struct NewPassword {
    /// The password.
    pub(crate) new_password: Secret<String>,
}

/// An egress IP, without its secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EgressIpInfo {
    /// UUID.
    pub(crate) id: String,
    /// A word for it.
    pub(crate) label: String,
    /// The exit address.
    pub(crate) ip_address: String,
    /// `available` or `disabled`.
    pub(crate) status: String,
    /// `wireguard` or `proxy`.
    pub(crate) tunnel_type: String,
    /// Everything else there is of it.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The egress IPs of the account, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EgressIpList {
    /// The egress IPs.
    pub(crate) egress_ips: Vec<EgressIpInfo>,
}

/// One egress IP.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EgressIpEnvelope {
    /// The egress IP.
    pub(crate) egress_ip: EgressIpInfo,
}

/// What a test of an egress IP found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EgressTest {
    /// `passed`, `partial`, `failed`, `error`.
    pub(crate) status: String,
    /// Why no tunnel was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) tested_at: String,
    /// By check.
    #[serde(default)]
    pub(crate) results: Map<String, Value>,
}

/// A host and the egress IP that it leaves by.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BindingEnvelope {
    /// The binding.
    pub(crate) binding: BindingInfo,
}

/// A host and the egress IP that it leaves by.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BindingInfo {
    /// UUID.
    pub(crate) binding_id: String,
    /// Of the host.
    pub(crate) host_id: String,
    /// Of the egress IP.
    pub(crate) egress_ip_id: String,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) created_at: String,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventInfo {
    /// UUID.
    pub(crate) id: String,
    /// `info`, `warn`, `error`.
    pub(crate) level: String,
    /// `auth.failed`, `device.created` ….
    pub(crate) r#type: String,
    /// For a person.
    #[serde(default)]
    pub(crate) message: String,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// Ids and metadata.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A page of events, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventList {
    /// The page.
    pub(crate) events: Vec<EventInfo>,
    /// How many there are in all.
    pub(crate) total: u64,
}
