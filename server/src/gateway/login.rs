//! Who wants to log in, and may they? Pure decisions; the connection looks things up and asks here.

use moorline_protocol::operator::DeviceState;

use crate::registry::model::{
    AccountId, Device, DeviceId, PublicKey, Role, Timestamp, User, UserStatus,
};

/// The account of keys that nobody registered.
const ANONYMOUS: AccountId = AccountId(0);
/// The user name of Openport clients.
const CLIENT_USER: &str = "open";

/// What an SSH user name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// A device that brings its tunnel: the name is a `client_id`.
    Device(DeviceId),
    /// A device that is known by its key alone: the name is `open` (openport contract section 10).
    Client,
    /// An operator.
    Operator {
        /// Who, where the name says so: `alice+cli000001`.
        username: Option<String>,
        /// The rest: a device to log in to, or the operator's own name when the connection only carries `-J`.
        name: String,
    },
}

impl Login {
    /// Reads an SSH user name.
    pub(super) fn parse(user: &str) -> Self {
        if let Ok(uuid) = user.parse() {
            return Self::Device(DeviceId(uuid));
        }
        if user == CLIENT_USER {
            return Self::Client;
        }
        match user.split_once('+') {
            Some((username, name)) => Self::Operator {
                username: Some(username.to_owned()),
                name: name.to_owned(),
            },
            None => Self::Operator {
                username: None,
                name: user.to_owned(),
            },
        }
    }
}

/// Why a login was refused; the text is for logs and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownDevice,
    UnknownKey,
    WrongKey,
    Blocked,
    Inactive,
    AccountSuspended,
    UserNotActive,
    NotPermitted,
    WrongCredentials,
    TooManyFailures,
    HostNotRunning,
}

impl Refusal {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::UnknownDevice => "unknown device",
            Self::UnknownKey => "unknown key",
            Self::WrongKey => "wrong key",
            Self::Blocked => "device is blocked",
            Self::Inactive => "device is inactive",
            Self::AccountSuspended => "account is suspended",
            Self::UserNotActive => "user is not active",
            Self::NotPermitted => "user may not reach the device",
            Self::WrongCredentials => "wrong credentials",
            Self::TooManyFailures => "too many failed passwords",
            Self::HostNotRunning => "host is not running",
        }
    }
}

/// May this device bring its tunnel with that key?
pub(super) fn judge_device(
    device: Option<&Device>,
    key: &PublicKey,
    account_suspended: bool,
) -> Result<(), Refusal> {
    let device = device.ok_or(Refusal::UnknownDevice)?;
    let own = device
        .public_key
        .as_ref()
        .is_some_and(|own| own.canonical == key.canonical);
    if !own {
        return Err(Refusal::WrongKey);
    }
    if account_suspended {
        return Err(Refusal::AccountSuspended);
    }
    judge_state(device.state)
}

/// May the holder of this device's key log in as `open`? Keys that nobody registered may while that is allowed.
pub(super) fn judge_client(
    device: Option<&Device>,
    anonymous: bool,
    account_suspended: bool,
) -> Result<(), Refusal> {
    let device = device
        .filter(|device| anonymous || device.account != ANONYMOUS)
        .ok_or(Refusal::UnknownKey)?;
    if account_suspended {
        return Err(Refusal::AccountSuspended);
    }
    judge_state(device.state)
}

/// May anybody reach a device in this state?
pub(super) const fn judge_state(state: DeviceState) -> Result<(), Refusal> {
    match state {
        DeviceState::Active => Ok(()),
        DeviceState::Blocked => Err(Refusal::Blocked),
        DeviceState::Inactive => Err(Refusal::Inactive),
    }
}

/// May this user log in at all?
pub(super) fn judge_user(
    user: &User,
    account_suspended: bool,
    now: Timestamp,
) -> Result<(), Refusal> {
    let expired = user.expires_at.is_some_and(|end| end <= now);
    if user.status != UserStatus::Active || expired {
        return Err(Refusal::UserNotActive);
    }
    if account_suspended {
        Err(Refusal::AccountSuspended)
    } else {
        Ok(())
    }
}

/// May this user reach this device?
pub(super) fn judge_reach(user: &User, device: Option<&Device>) -> Result<(), Refusal> {
    // A device of another account answers as one that does not exist.
    let device = device
        .filter(|device| device.account == user.account)
        .ok_or(Refusal::UnknownDevice)?;
    if user.role != Role::Admin {
        return Err(Refusal::NotPermitted);
    }
    judge_state(device.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_say_who_and_where_to() {
        let id = "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2";
        assert_eq!(
            Login::parse(id),
            Login::Device(DeviceId(id.parse().unwrap()))
        );
        assert_eq!(Login::parse("open"), Login::Client);
        assert_eq!(
            Login::parse("alice+cli000001"),
            Login::Operator {
                username: Some("alice".into()),
                name: "cli000001".into()
            }
        );
        assert_eq!(
            Login::parse("cli000001"),
            Login::Operator {
                username: None,
                name: "cli000001".into()
            }
        );
    }
}
