//! Users' hosts, their tasks, and the sessions that reach them (control contract sections 8, 9 and 13).

use std::fmt;

use moorline_protocol::Secret;
use uuid::Uuid;

use super::{AccountId, DeviceId, EgressIpId, Timestamp, UserId, Wanted};

/// UUID of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub Uuid);

/// UUID of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub Uuid);

/// A device host whose status may have to follow its tunnel.
#[derive(Clone, Copy, Debug)]
pub struct HostToCheck {
    /// The host.
    pub id: HostId,
    /// The device that it is.
    pub device: DeviceId,
    /// How it stands in the books.
    pub status: HostStatus,
    /// Whether the tunnel is wanted open.
    pub wanted: Wanted,
}

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// A managed container on a node.
    Container,
    /// A device of the account.
    Device,
}

/// How a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStatus {
    /// Being made.
    Pending,
    /// May be logged in to.
    Running,
    /// Not in use.
    Stopped,
    /// Its last task failed.
    Failed,
}

/// How a host shall stand, by the last action asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostWanted {
    /// In use.
    Running,
    /// Not in use.
    Stopped,
}

/// What a container host may use; 0 in a device host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostLimits {
    /// Memory, in MiB.
    pub memory_mb: i64,
    /// Processors.
    pub cpus: f64,
    /// Disk, in GiB.
    pub disk_gb: i64,
}

/// What may be done with the sessions of a device or a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Sessions are recorded, and ways around the recording are refused.
    pub recording_required: bool,
    /// `direct-tcpip` is served.
    pub direct_tcpip_allowed: bool,
}

/// What of a policy shall change; what is not named stays, also when somebody else changes it at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// For [`AccessPolicy::recording_required`].
    pub recording_required: Option<bool>,
    /// For [`AccessPolicy::direct_tcpip_allowed`].
    pub direct_tcpip_allowed: Option<bool>,
}

/// A user's machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// UUID.
    pub id: HostId,
    /// Account of the user.
    pub account: AccountId,
    /// Whose.
    pub user: UserId,
    /// Container or device.
    pub kind: HostKind,
    /// The device of a device host.
    pub device: Option<DeviceId>,
    /// How it stands.
    pub status: HostStatus,
    /// How it shall stand.
    pub wanted: HostWanted,
    /// Unique over users and hosts.
    pub short_id: String,
    /// 1-32 of `a-z 0-9 -`, unique for the user; `device-<short_id>` of a device host.
    pub slot_key: String,
    /// Node that a container runs on.
    pub region: Option<String>,
    /// IANA name; empty in a device host.
    pub timezone: String,
    /// Name of a container; empty in a device host, which has the name of its device.
    pub hostname: String,
    /// What it may use.
    pub limits: HostLimits,
    /// Volume with the home of a container.
    pub home_volume_name: String,
    /// argon2id, PHC form.
    pub entry_password_hash: Secret<String>,
    /// What may be done with its sessions.
    pub policy: AccessPolicy,
    /// Which state of its owner's keys it has: behind [`super::User::keys_version`] it has to get them.
    pub keys_version: i64,
    /// When made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What a new host shall be.
#[derive(Clone, Debug)]
pub struct NewHost {
    /// Account of the user.
    pub account: AccountId,
    /// Whose.
    pub user: UserId,
    /// The device of a device host; a container without.
    pub device: Option<DeviceId>,
    /// Unique for the user; `None` makes `device-<short_id>`.
    pub slot_key: Option<String>,
    /// Node that a container runs on.
    pub region: Option<String>,
    /// IANA name.
    pub timezone: String,
    /// Name of a container.
    pub hostname: String,
    /// What it may use.
    pub limits: HostLimits,
    /// argon2id, PHC form.
    pub entry_password_hash: Secret<String>,
}

/// A host to be made, with what is to be done at once.
#[derive(Clone, Debug)]
pub struct HostOrder {
    /// The host.
    pub new: NewHost,
    /// Bound at once.
    pub egress_ip: Option<EgressIpId>,
    /// Who asks for it, as [`Task::requested_by`].
    pub requested_by: String,
}

/// Whether a host that runs may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// No.
    IfNotRunning,
    /// Yes.
    Forced,
}

/// A host with what belongs to it.
#[derive(Clone, Debug)]
pub struct HostView {
    /// The host.
    pub host: Host,
    /// Name of its user.
    pub username: String,
    /// Name of the device of a device host.
    pub device_name: Option<String>,
    /// Label of the egress IP in use.
    pub egress_label: Option<String>,
    /// Address of the egress IP in use.
    pub egress_address: Option<String>,
    /// `wireguard` or `proxy`.
    pub egress_tunnel: Option<String>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// Done; the host is so now.
    Done(HostStatus),
    /// Not done; the host has failed.
    Failed {
        /// One of the codes of the control contract section 9.
        code: &'static str,
        /// For a person; at most 1000 characters are kept.
        message: String,
    },
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Makes a host.
    CreateHost,
    /// Starts it.
    StartHost,
    /// Stops it.
    StopHost,
    /// Makes it anew with its home volume.
    RebuildHost,
    /// Gets a node ready for hosts.
    PrepareHost,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// Waits.
    Pending,
    /// A node works on it.
    Running,
    /// Done.
    Succeeded,
    /// Not done; the error says why.
    Failed,
    /// Its host was deleted before it began.
    Canceled,
}

/// Asynchronous work on a host.
#[derive(Clone, Debug)]
pub struct Task {
    /// Counts up: tasks of one host run in this order.
    pub number: i64,
    /// UUID.
    pub id: TaskId,
    /// Account of the host.
    pub account: AccountId,
    /// `None` once the host is gone.
    pub host: Option<HostId>,
    /// What it does.
    pub kind: TaskKind,
    /// How far it is.
    pub status: TaskStatus,
    /// `admin`, the user's UUID, `bootstrap:<username>` or `system:expiry`.
    pub requested_by: String,
    /// The node that works on it.
    pub node: Option<String>,
    /// Empty unless failed.
    pub error_code: String,
    /// Empty unless failed.
    pub error_message: String,
    /// When asked for.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A session of an operator on a device or host, for the audit.
#[derive(Clone, Debug)]
pub struct OperatorSession {
    /// UUID.
    pub id: Uuid,
    /// Account of the operator.
    pub account: AccountId,
    /// Who.
    pub user: UserId,
    /// What they were called then.
    pub username: String,
    /// On which device.
    pub device: Option<DeviceId>,
    /// On which host.
    pub host: Option<HostId>,
    /// What that was called then.
    pub target: String,
    /// How they came: `gateway`, `jump`, `proxy`, `terminal` ….
    pub way_in: String,
    /// Node it went through.
    pub node: String,
    /// Address they came from.
    pub peer: String,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; `None` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// Bytes from the operator.
    pub received_bytes: u64,
    /// Bytes to the operator.
    pub sent_bytes: u64,
    /// How it ended.
    pub ending: Option<String>,
    /// Name of the recording in the folder of recordings.
    pub recording_file: Option<String>,
}

/// How a session of an operator ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionEnd {
    /// `closed`, or why it was cut.
    pub ending: String,
    /// Bytes from the operator.
    pub received_bytes: u64,
    /// Bytes to the operator.
    pub sent_bytes: u64,
}

/// Which sessions of operators to list.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Of this user only.
    pub user: Option<UserId>,
    /// Of whoever was called that then.
    pub username: Option<String>,
    /// Begun at that time or later.
    pub since: Option<Timestamp>,
    /// Those that go on only.
    pub open_only: bool,
    /// On this device only.
    pub device: Option<DeviceId>,
    /// On this host only.
    pub host: Option<HostId>,
    /// How many at most.
    pub limit: u64,
    /// How many to leave out first.
    pub offset: u64,
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

super::texts!(HostKind { Container = "container", Device = "device" });
super::texts!(HostStatus {
    Pending = "pending",
    Running = "running",
    Stopped = "stopped",
    Failed = "failed"
});
super::texts!(HostWanted { Running = "running", Stopped = "stopped" });
super::texts!(TaskKind {
    CreateHost = "create_host",
    StartHost = "start_host",
    StopHost = "stop_host",
    RebuildHost = "rebuild_host",
    PrepareHost = "prepare_host"
});
super::texts!(TaskStatus {
    Pending = "pending",
    Running = "running",
    Succeeded = "succeeded",
    Failed = "failed",
    Canceled = "canceled"
});
