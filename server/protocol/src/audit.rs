//! JSON of the log of operators' sessions. All calls carry the JWT of an administrator.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/admin/sessions-log?user=&device=&host_id=&since=&open=&limit=&offset=` | [`SessionList`], newest first; `limit` 50, at most 200 |
//! | `GET /v1/admin/sessions-log/{session}` | [`SessionInfo`] |
//! | `GET /v1/admin/sessions-log/{session}/recording` | the recording, asciicast v2 |
//!
//! `user` and `device` are names or UUIDs, `user_id` a UUID, `open=true` leaves those that go on. Times are RFC 3339 in
//! UTC.

use serde::{Deserialize, Serialize};

/// A session on a device or host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// UUID.
    pub id: String,
    /// UUID of the operator, or of the owner of the host.
    pub user_id: String,
    /// What they were called then.
    pub username: String,
    /// UUID of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// UUID of the host that it was reached as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// What the device was called then.
    pub target: String,
    /// `gateway` (by the name of a device), `jump` (`ssh -J`), `direct-tcpip` (a port) or `proxy` (by the short id of a
    /// host).
    pub way_in: String,
    /// Node it went through.
    pub node: String,
    /// Address it came from.
    pub peer: String,
    /// When it began.
    pub began_at: String,
    /// When it ended; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Bytes from the operator, counted at the end.
    pub received_bytes: u64,
    /// Bytes to the operator, counted at the end.
    pub sent_bytes: u64,
    /// `closed`, or why it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// Whether it is, or was, recorded.
    pub recorded: bool,
}

/// A page of sessions, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The page.
    pub sessions: Vec<SessionInfo>,
    /// How many there are in all.
    pub total: u64,
    /// How many were asked for.
    pub limit: u64,
    /// How many were left out first.
    pub offset: u64,
}
