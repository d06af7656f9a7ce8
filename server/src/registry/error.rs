//! What can go wrong, one enum per family of operations.

use std::time::Duration;

use sea_orm::{DbErr, SqlErr};
use thiserror::Error;

/// The database, or what stands in it, cannot be used.
#[derive(Clone, Debug, Error)]
pub enum RegistryError {
    /// The address of the database cannot be used.
    #[error("read database address: {reason}")]
    Address {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file of the database cannot be made or opened.
    #[error("open database file {path}: {kind}")]
    DatabaseFile {
        /// Which file.
        path: String,
        /// What the file system said.
        kind: std::io::ErrorKind,
    },
    /// The schema is not what this program knows.
    #[error(
        "database schema has migration {found}, this program knows {known}: it was written by a newer version"
    )]
    TooNew {
        /// Highest number in the database.
        found: i32,
        /// Highest number that is built in.
        known: i32,
    },
    /// A restore was cut off in the middle.
    #[error(
        "open database: a restore did not finish, the data from before it is in schema {schema}: run \
         `moorline-server restore` again"
    )]
    RestoreUnfinished {
        /// Where the tables from before are.
        schema: String,
    },
    /// What stands in the database was sealed under another key.
    #[error(
        "check master key: this is not the key of the database, put the right master.key in its place (a rotation \
         keeps former ones as master.key.old-<time>)"
    )]
    OtherMasterKey,
    /// A statement or a connection failed.
    #[error("{attempt}: {source}")]
    Database {
        /// What was attempted.
        attempt: &'static str,
        /// What the database said.
        source: DbErr,
    },
    /// The queue of the writer stayed full, or its answer stayed away.
    #[error("create device: the writer did not answer within {0:?}")]
    Busy(Duration),
    /// The writer has ended.
    #[error("create device: the writer has ended")]
    Closed,
    /// A value in the database is none that is ever written.
    #[error("read {column}: stored value is not valid")]
    Damaged {
        /// Table and column.
        column: &'static str,
    },
    /// A secret could not be sealed or opened with the master key.
    #[error("{attempt}: master key does not fit or the value is damaged")]
    Seal {
        /// What was attempted.
        attempt: &'static str,
    },
}

/// Why an account was not made.
#[derive(Clone, Debug, Error)]
pub enum AccountError {
    /// Names of accounts are unique without regard to case.
    #[error("an account of this name exists already")]
    NameTaken,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a user was not made.
#[derive(Clone, Debug, Error)]
pub enum UserError {
    /// Usernames are unique in the installation.
    #[error("username already exists")]
    UsernameTaken,
    /// Short ids are unique in the installation.
    #[error("short id already exists")]
    ShortIdTaken,
    /// The account has as many as one may have.
    #[error("too many users")]
    TooMany,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a user stays as they are (control contract section 4).
#[derive(Clone, Debug, Error)]
pub enum ChangeUserError {
    /// The account has no such user.
    #[error("user not found")]
    UnknownUser,
    /// No other active administrator would be left.
    #[error("user is the last active administrator of the account")]
    LastAdmin,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a user's key was not added.
#[derive(Clone, Debug, Error)]
pub enum UserKeyError {
    /// The user has it already.
    #[error("ssh key already exists")]
    Exists,
    /// The user has as many as one may have.
    #[error("too many ssh keys")]
    TooMany,
    /// No such user.
    #[error("user not found")]
    UnknownUser,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a host was not made (control contract section 8).
#[derive(Clone, Debug, Error)]
pub enum HostError {
    /// The account has no such user.
    #[error("user not found")]
    UnknownUser,
    /// The account has no such device.
    #[error("device not found")]
    UnknownDevice,
    /// The account has as many as one may have.
    #[error("too many hosts")]
    TooMany,
    /// The user has a container in this slot.
    #[error("user already has an active host")]
    SlotTaken,
    /// The device is another host already.
    #[error("device is already assigned to a host")]
    DeviceAssigned,
    /// Short ids are unique over users and hosts.
    #[error("short id already exists")]
    ShortIdTaken,
    /// The account has no such egress IP.
    #[error("egress ip not found")]
    UnknownEgressIp,
    /// The egress IP may not be bound.
    #[error("egress IP is disabled")]
    EgressIpDisabled,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a host stays (control contract section 8).
#[derive(Clone, Debug, Error)]
pub enum DeleteHostError {
    /// The account has no such host.
    #[error("host not found")]
    Unknown,
    /// It has to be stopped first.
    #[error("host is running")]
    Running,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a task was not queued (control contract section 9).
#[derive(Clone, Debug, Error)]
pub enum QueueTaskError {
    /// No such host.
    #[error("host not found")]
    UnknownHost,
    /// Too many tasks of this host wait already.
    #[error("too many tasks wait for the host")]
    Full,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why an egress IP is not as asked for (control contract section 6).
#[derive(Clone, Debug, Error)]
pub enum EgressError {
    /// The account has no such egress IP.
    #[error("egress ip not found")]
    Unknown,
    /// Exit addresses are unique in the account.
    #[error("ip address already exists")]
    AddressTaken,
    /// A host is bound to it.
    #[error("egress IP is bound to a host")]
    Bound,
    /// The account has as many as one may have.
    #[error("too many egress IPs")]
    TooMany,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a binding was not made or removed (control contract section 8).
#[derive(Clone, Debug, Error)]
pub enum BindError {
    /// The account has no such binding.
    #[error("binding not found")]
    Unknown,
    /// The account has no such host.
    #[error("host not found")]
    UnknownHost,
    /// The account has no such egress IP.
    #[error("egress ip not found")]
    UnknownEgressIp,
    /// A device has a way out of its own.
    #[error("egress IPs apply to container hosts only")]
    DeviceHost,
    /// The network of a running host does not change.
    #[error("host is running")]
    HostRuns,
    /// The two are bound already.
    #[error("egress IP is already bound to this host")]
    Exists,
    /// It may not be bound.
    #[error("egress IP is disabled")]
    Disabled,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why an API client was not made.
#[derive(Clone, Debug, Error)]
pub enum ApiClientError {
    /// Names are unique in the account without regard to case.
    #[error("an API client of this name exists already")]
    NameTaken,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why an API client or its key stays as it is (API client contract section 4).
#[derive(Clone, Debug, Error)]
pub enum ChangeClientError {
    /// The account has no such API client.
    #[error("API client not found")]
    Unknown,
    /// It is locked.
    #[error("API client is locked")]
    Locked,
    /// Names are unique in the account without regard to case.
    #[error("an API client of this name exists already")]
    NameTaken,
    /// The caller would give or see a scope that is not theirs.
    #[error("scope {0} is not the caller's own")]
    Beyond(String),
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why no device was made (provisioning contract section 4.1).
#[derive(Clone, Debug, Error)]
pub enum CreateDeviceError {
    /// The API key was revoked or ran out meanwhile, may not make devices, or is used up where it would make one: code 32.
    #[error("API key cannot make a device")]
    KeyRefused,
    /// Code 24.
    #[error("account is suspended")]
    AccountSuspended,
    /// Code 31.
    #[error("name is already in use")]
    NameTaken,
    /// The key of a device in another account: code 31.
    #[error("public_key is already in use")]
    PublicKeyElsewhere,
    /// The device of this key is blocked: code 23.
    #[error("device is blocked")]
    Blocked,
    /// The device of this key is inactive: code 24.
    #[error("device is inactive")]
    Inactive,
    /// Unknown, not allowed for the key, or none could be chosen: code 41.
    #[error("region cannot be used")]
    UnknownRegion,
    /// Down, draining, or without a free port: code 40.
    #[error("node takes no device")]
    NodeUnavailable,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a key made no device (openport contract section 3).
#[derive(Clone, Debug, Error)]
pub enum RegisterKeyError {
    /// A device has it already, in whatever account.
    #[error("public_key is already in use")]
    KeyTaken,
    /// Another device of the account has the name.
    #[error("name is already in use")]
    NameTaken,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a device has no first forward.
#[derive(Clone, Debug, Error)]
pub enum ForwardError {
    /// No such device.
    #[error("device not found")]
    UnknownDevice,
    /// Code 41.
    #[error("region cannot be used")]
    UnknownRegion,
    /// Down, draining, or without a free port: code 40.
    #[error("node takes no device")]
    NodeUnavailable,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a client gets no session (openport contract section 5).
#[derive(Clone, Debug, Error)]
pub enum SessionError {
    /// No such device.
    #[error("device not found")]
    UnknownDevice,
    /// It was killed, and its client restarts by itself.
    #[error("session is killed")]
    Killed,
    /// No node is active, or none has a free port.
    #[error("no node takes the session")]
    NoServer,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a key was not registered, or a client's device not made (openport contract sections 4 and 7).
#[derive(Clone, Debug, Error)]
pub enum ClientError {
    /// No node is active.
    #[error("no node takes the device")]
    NoServer,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a device gets no further forward.
#[derive(Clone, Debug, Error)]
pub enum AddForwardError {
    /// No such device.
    #[error("device not found")]
    UnknownDevice,
    /// It has [`MAX_FORWARDS`](super::MAX_FORWARDS).
    #[error("device has as many forwards as it may have")]
    TooMany,
    /// Down, draining, unknown, or without a free port.
    #[error("node has no port for the device")]
    NodeUnavailable,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a device keeps its name.
#[derive(Clone, Debug, Error)]
pub enum RenameError {
    /// Another device of the account has it.
    #[error("name is already in use")]
    NameTaken,
    /// No such device.
    #[error("device not found")]
    UnknownDevice,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why a device keeps its key.
#[derive(Clone, Debug, Error)]
pub enum SetKeyError {
    /// Another device has it, in whatever account.
    #[error("public_key is already in use")]
    InUse,
    /// No such device.
    #[error("device not found")]
    UnknownDevice,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Says of a database error what was attempted.
pub(super) trait Attempt<T> {
    /// Names the attempt.
    fn attempt(self, attempt: &'static str) -> Result<T, RegistryError>;
}

impl<T> Attempt<T> for Result<T, DbErr> {
    fn attempt(self, attempt: &'static str) -> Result<T, RegistryError> {
        self.map_err(|source| RegistryError::Database { attempt, source })
    }
}

impl RegistryError {
    /// Whether a row was refused for what another process wrote meanwhile: then another try may do.
    pub(super) fn is_about_rows(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.sql_err().is_some())
    }

    /// Whether a unique index refused a row; then the columns are in the text.
    pub(super) fn unique_violation(&self) -> Option<String> {
        match self {
            Self::Database { source, .. } => match source.sql_err() {
                Some(SqlErr::UniqueConstraintViolation(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}
