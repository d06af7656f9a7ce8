//! JSON between the CLI and the server, beside what `contract/control.md` fixes. All calls carry the JWT of
//! `POST /v1/auth/login` as `Authorization: Bearer`, errors are `{"error":"text"}`.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/admin/devices?prefix=&limit=&offset=` | [`DeviceList`] |
//! | `GET /v1/admin/devices/{name or UUID}` | [`DeviceEnvelope`] |
//! | `PATCH /v1/admin/devices/{name or UUID}` with [`DeviceChange`] | [`DeviceEnvelope`] |
//! | `DELETE /v1/admin/devices/{name or UUID}` | 204 |
//! | `GET /v1/admin/devices/{name or UUID}/forwards` | [`ForwardList`] |
//! | `POST /v1/admin/devices/{name or UUID}/forwards` with [`NewForward`] | [`ForwardEnvelope`], 201 when made, 200 when there |
//! | `DELETE /v1/admin/devices/{name or UUID}/forwards/{id}` | 204 |
//! | `GET /v1/admin/api-keys` | [`ApiKeyList`] |
//! | `POST /v1/admin/api-keys` with [`NewApiKey`] | 201 [`ApiKeyEnvelope`], the secret this once |
//! | `DELETE /v1/admin/api-keys/{id or name}` | 204 |
//! | `/v1/admin/api-clients`, `…/{id or name}`, `…/{id or name}/apikey` | as `/v3/apiclients`: [`crate::apiclients`] |
//! | `GET /v1/gateway` | [`GatewayInfo`] |
//! | `GET /v1/admin/devices/{name or UUID}/links` | [`LinkList`] |
//! | `GET /v1/admin/key-binding`, `POST /v1/admin/key-binding/renew` | [`KeyBinding`] |
//! | `GET /v1/admin/sessions?limit=&offset=` | [`SessionList`] |
//! | `GET /v1/admin/nodes` | [`NodeList`] |
//!
//! Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether a device may be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// In service.
    Active,
    /// Refused for safety.
    Blocked,
    /// Taken out of service.
    Inactive,
}

impl DeviceState {
    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Blocked => "blocked",
            Self::Inactive => "inactive",
        }
    }

    /// The state that `text` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Blocked, Self::Inactive]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A device as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// UUID.
    pub id: String,
    /// Number, the other identity that never changes.
    pub number: i64,
    /// Name, unique in the account without regard to case.
    pub name: String,
    /// Active, blocked or inactive.
    pub state: DeviceState,
    /// Whether the device answered within its last keepalive interval.
    pub online: bool,
    /// Why it is offline: `never seen`, `clean stop`, `timed out`, `displaced`, `blocked`, `node lost` ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_reason: Option<String>,
    /// Whether an operator wants its tunnel open.
    pub wanted_open: bool,
    /// The live tunnel, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelInfo>,
    /// Region of the device.
    pub node: String,
    /// Login name on the device, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What the device calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Inventory as the device sent it.
    #[serde(default)]
    pub hardware: BTreeMap<String, String>,
    /// `SHA256:…` of the device key, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Its forwards, the first one first.
    pub forwards: Vec<ForwardInfo>,
    /// New connections per minute and visitor to one public port, 0 to 10000; 0 is no limit.
    #[serde(default)]
    pub max_connections_per_minute: u32,
    /// Whether sessions on it are recorded; then the ways around the recording are closed.
    #[serde(default)]
    pub recording_required: bool,
    /// Whether operators may reach it end to end (`ssh -J`, `direct-tcpip`).
    #[serde(default)]
    pub direct_tcpip_allowed: bool,
    /// When it was made.
    pub created_at: String,
    /// Last sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<String>,
}

/// The live tunnel of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelInfo {
    /// Counts up with every tunnel of the device.
    pub generation: u64,
    /// Address the device connects from.
    pub peer: String,
    /// When it came up.
    pub connected_at: String,
    /// Time of the last echo there and back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_millis: Option<u64>,
    /// What holds the tunnel: our agent with its version, or the SSH version text of another client.
    pub client: String,
}

/// A forward: device port to public port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardInfo {
    /// `ports_id`.
    pub id: i64,
    /// Port on the device.
    pub device_port: u16,
    /// Public port on the node.
    pub public_port: u16,
    /// Public DNS name of the node.
    pub server: String,
    /// Payload bytes in both directions since the node started.
    #[serde(default)]
    pub bytes: u64,
    /// HTTP name, without scheme; then the public port is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_name: Option<String>,
    /// Whether a tunnel holds it now.
    #[serde(default)]
    pub open: bool,
}

/// The forwards of a device, the first one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardList {
    /// The forwards.
    pub forwards: Vec<ForwardInfo>,
}

/// One forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardEnvelope {
    /// The forward.
    pub forward: ForwardInfo,
}

/// Which port of a device shall be reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewForward {
    /// Port on the device, 1 to 65535.
    pub device_port: u16,
    /// By an HTTP name in place of a public port.
    #[serde(default)]
    pub http: bool,
}

/// A page of devices, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The page.
    pub devices: Vec<DeviceInfo>,
    /// How many there are in all.
    pub total: u64,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEnvelope {
    /// The device.
    pub device: DeviceInfo,
}

/// What may be changed of a device; absent members stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceChange {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New state; leaving `active` cuts the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeviceState>,
    /// New limit of [`DeviceInfo::max_connections_per_minute`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections_per_minute: Option<u32>,
    /// New value of [`DeviceInfo::recording_required`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_required: Option<bool>,
    /// New value of [`DeviceInfo::direct_tcpip_allowed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_tcpip_allowed: Option<bool>,
}

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyInfo {
    /// `_key_…`.
    pub id: String,
    /// Name of the API client that owns it.
    pub name: String,
    /// Scopes in the order given.
    pub scope: Vec<String>,
    /// Calls per minute, -1 without limit.
    pub rate_limit: i64,
    /// Bound to names with this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Bound to this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Devices that may still be made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<i64>,
    /// Refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was made.
    pub created_at: String,
}

/// The API keys of the account, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyList {
    /// The keys.
    pub api_keys: Vec<ApiKeyInfo>,
}

/// A key just made, with its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyEnvelope {
    /// The key.
    pub api_key: ApiKeyInfo,
    /// 32 hexadecimal digits; shown this once.
    pub secret: String,
}

/// What a new API key may do; absent members mean the default of `contract/apiclients.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApiKey {
    /// Name of the API client, unique in the account.
    pub name: String,
    /// Scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// Calls per minute, -1 without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<i64>,
    /// Binds names to this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Binds to this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many devices may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<i64>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// The links that open the public ports of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkList {
    /// That of the first forward first.
    pub links: Vec<LinkInfo>,
}

/// A link that opens a public port for whoever clicks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkInfo {
    /// Port on the device; 0 when its client did not tell.
    pub device_port: u16,
    /// Public port on the node.
    pub public_port: u16,
    /// Public DNS name of the node.
    pub server: String,
    /// Whether visitors have to click the link before they can connect.
    pub protected: bool,
    /// The whole link, `…/l/<public port>/<token>`.
    pub link: String,
}

/// What registers keys of clients to the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBinding {
    /// 32 letters and digits.
    pub key_binding_token: String,
}

/// Where operators reach the SSH gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayInfo {
    /// Public name of the node.
    pub host: String,
    /// SSH port for operators.
    pub port: u16,
    /// Host key, `type base64`.
    pub host_key: String,
}

/// A forward that is open now: what the Openport surface calls a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// `ports_id`.
    pub id: i64,
    /// Name of the device.
    pub device: String,
    /// UUID of the device.
    pub device_id: String,
    /// Node that has the public port.
    pub node: String,
    /// Public DNS name of the node.
    pub server: String,
    /// Public port on the node.
    pub public_port: u16,
    /// Port on the device, 0 when its client did not tell.
    pub device_port: u16,
    /// HTTP name, without scheme, of an HTTP forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_name: Option<String>,
    /// Whether visitors have to click a link first.
    pub protected: bool,
    /// Payload bytes in both directions since the node started.
    #[serde(default)]
    pub bytes: u64,
}

/// A page of sessions, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The page.
    pub sessions: Vec<SessionInfo>,
    /// How many there are in all.
    pub total: u64,
}

/// A node, which is a region that devices connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Region.
    pub name: String,
    /// `active`, `draining` or `down`.
    pub status: String,
    /// Public DNS name.
    pub host: String,
    /// SSH port for tunnels.
    pub ssh_port: u16,
    /// First public port it hands out.
    pub first_port: u16,
    /// Last public port it hands out.
    pub last_port: u16,
}

/// The nodes of the installation, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// The nodes.
    pub nodes: Vec<NodeInfo>,
}
