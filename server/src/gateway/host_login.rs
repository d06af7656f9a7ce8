//! Logins to users' hosts by short id: the SSH proxy (control contract section 13).
//!
//! The user name is 6 of `a-z 0-9`, one of them a letter. Such a name is treated alike whether there is a host of that
//! short id or not: same methods, same number of tries, same lock. Where there is a host, it is what is meant; a
//! device or operator of that name is reached as `user+name`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moorline_protocol::Secret;
use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Shared;
use super::login::{self, Refusal};
use crate::live_sessions::Hold;
use crate::rate_limit::address_key;
use crate::recent::Recent;
use crate::registry::error::RegistryError;
use crate::registry::model::{Host, HostStatus, KeyPurpose, NewEvent, PublicKey, Timestamp, User};

/// Tries of one connection.
pub(super) const TRIES: u32 = 3;
/// Failures in a minute, per address or per host, after which further connections are closed.
const FAILURES: usize = 10;
/// For how long.
const CLOSED_FOR: Duration = Duration::from_secs(60);
/// Addresses and hosts that are closed at once; past it those whose time is over are looked for.
const MAX_CLOSED: usize = 10_000;
const SHORT_ID_CHARS: usize = 6;

/// Whether an SSH user name may be the short id of a host. Digits alone are a serial name.
pub(super) fn is_short_id(user: &str) -> bool {
    user.len() == SHORT_ID_CHARS
        && user
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && user.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Refuses; what may be tried after it is the same for every such name.
pub(super) fn reject() -> Auth {
    let methods: &[MethodKind] = &[MethodKind::PublicKey, MethodKind::Password];
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::from(methods)),
        partial_success: false,
    }
}

/// Refuses for good: no more passwords. OpenSSH takes an empty list for one that names everything.
pub(super) fn reject_for_good() -> Auth {
    let methods: &[MethodKind] = &[MethodKind::PublicKey];
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::from(methods)),
        partial_success: false,
    }
}

/// Somebody who is logged in to a host.
#[derive(Clone, Debug)]
pub(super) struct HostLogin {
    /// The host as it was then.
    pub(super) host: Host,
    /// Whose it is.
    pub(super) owner: User,
    /// Fingerprint of the key that opened it, where it was a key.
    pub(super) key: Option<String>,
}

impl HostLogin {
    /// What the login hangs on.
    pub(super) fn hold(&self) -> Hold {
        Hold::on_host(&self.host, &self.owner).by_key(self.key.clone())
    }
}

/// What failures are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Address(IpAddr),
    Host(String),
}

/// Counts failures and closes the door to those who had too many.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    failures: Recent<Subject>,
    closed_until: HashMap<Subject, Instant>,
}

impl Table {
    fn closed(&self, subject: &Subject, now: Instant) -> bool {
        let until = self.closed_until.get(subject);
        until.is_some_and(|until| now < *until)
    }
}

impl Doors {
    /// Whether further connections from that address, or to that host, are closed.
    pub(super) fn closed(&self, address: IpAddr, short_id: &str, now: Instant) -> bool {
        let table = self.table();
        let mut subjects = subjects(address, short_id).into_iter();
        subjects.any(|subject| table.closed(&subject, now))
    }

    /// A login failed. False when the door was closed meanwhile: it does not count, and must not be answered like one
    /// that was looked at, so that many guesses at once are no more than as many in turn.
    #[must_use]
    pub(super) fn failed(&self, address: IpAddr, short_id: &str, now: Instant) -> bool {
        let mut table = self.table();
        let subjects = subjects(address, short_id);
        if subjects.iter().any(|subject| table.closed(subject, now)) {
            return false;
        }
        for subject in subjects {
            table.failures.note(subject.clone(), now);
            if table.failures.count(&subject, now) < FAILURES {
                continue;
            }
            if table.closed_until.len() >= MAX_CLOSED {
                table.closed_until.retain(|_, until| now < *until);
            }
            if table.closed_until.len() < MAX_CLOSED {
                table.closed_until.insert(subject, now + CLOSED_FOR);
            }
        }
        true
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subjects(address: IpAddr, short_id: &str) -> [Subject; 2] {
    [
        Subject::Address(address_key(address)),
        Subject::Host(short_id.to_owned()),
    ]
}

impl Shared {
    /// The host of this short id with its owner.
    pub(super) async fn host_login(
        &self,
        short_id: &str,
    ) -> Result<Option<HostLogin>, RegistryError> {
        let Some(host) = self.registry.host_by_short_id(short_id).await? else {
            return Ok(None);
        };
        let owner = self.registry.user(host.user).await?;
        Ok(owner.map(|owner| HostLogin {
            host,
            owner,
            key: None,
        }))
    }

    /// May anybody log in to that host now?
    pub(super) async fn judge_host(&self, login: &HostLogin) -> Result<(), Refusal> {
        let account = self.registry.account(login.host.account).await;
        let account = account.map_err(|error| {
            warn!(%error, "look up account");
            Refusal::AccountSuspended
        })?;
        let suspended = account.is_none_or(|account| account.suspended);
        login::judge_user(&login.owner, suspended, Timestamp::now())?;
        if login.host.status == HostStatus::Running {
            Ok(())
        } else {
            Err(Refusal::HostNotRunning)
        }
    }

    /// Entry password or unused one-time password. Takes the same time whatever is wrong, but for an unused one-time
    /// password, which is good for this one login only.
    pub(super) async fn judge_host_password(
        &self,
        login: &HostLogin,
        password: &str,
    ) -> Result<(), Refusal> {
        let password = Secret::new(password.to_owned());
        let allowed = self.judge_host(login).await;
        if allowed.is_ok() {
            let taken = self
                .registry
                .take_one_time_password(login.host.id, &password)
                .await;
            match taken {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => warn!(%error, "look up one-time password"),
            }
        }
        let stored = login.host.entry_password_hash.clone();
        let right = self.passwords.verify(password, Some(stored)).await;
        if right.unwrap_or(false) {
            allowed
        } else {
            Err(Refusal::WrongCredentials)
        }
    }

    /// An inbound key of the owner.
    pub(super) async fn judge_host_key(
        &self,
        login: &HostLogin,
        key: &PublicKey,
    ) -> Result<(), Refusal> {
        let keys = self.registry.user_keys(login.owner.id).await;
        let keys = keys.map_err(|error| {
            warn!(%error, "look up keys of host's owner");
            Refusal::WrongKey
        })?;
        let known = keys
            .iter()
            .any(|own| own.purpose == KeyPurpose::Inbound && own.public_key == *key);
        if known {
            self.judge_host(login).await
        } else {
            Err(Refusal::WrongKey)
        }
    }

    /// Writes down a refused login to a host.
    pub(super) async fn host_refused(
        &self,
        peer: SocketAddr,
        short_id: &str,
        login: Option<&HostLogin>,
        refusal: Refusal,
    ) {
        let reason = refusal.reason();
        info!(%peer, user = short_id, reason, "SSH login refused");
        let recorded = {
            let address = peer.ip().to_canonical();
            let table = self.recorded_refusals.lock();
            let mut table = table.unwrap_or_else(PoisonError::into_inner);
            table.admit(address, super::MAX_RECORDED_REFUSALS, Instant::now())
        };
        if !recorded {
            return;
        }
        let event = NewEvent {
            account: login.map(|login| login.host.account),
            device: login.and_then(|login| login.host.device),
            user: login.map(|login| login.owner.id),
            host: login.map(|login| login.host.id),
            task: None,
            level: "warn",
            kind: "auth.failed",
            message: format!("SSH login refused: {reason}"),
            metadata: serde_json::json!({
                "operator": "proxy",
                "peer": peer.ip().to_canonical().to_string(),
                "reason": reason,
            }),
        };
        if let Err(error) = self.registry.record_event(event).await {
            warn!(%error, "record refused login");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_told_from_other_names() {
        for short_id in ["abc123", "zzzzzz", "00000a"] {
            assert!(is_short_id(short_id), "{short_id}");
        }
        for other in [
            "000001",
            "cam000001",
            "ABC123",
            "abc-12",
            "abc12",
            "a+b123",
            "",
        ] {
            assert!(!is_short_id(other), "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_failures_close_the_door_for_a_minute() {
        let doors = Doors::default();
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        for second in 0..9 {
            assert!(doors.failed(one, "abc123", at(second)));
        }
        assert!(!doors.closed(one, "abc123", at(9)));
        assert!(doors.failed(one, "abc123", at(9)));
        assert!(!doors.failed(one, "abc123", at(9)), "the eleventh at once");
        assert!(doors.closed(one, "other1", at(10)), "the address");
        assert!(doors.closed(two, "abc123", at(10)), "the host");
        assert!(!doors.closed(two, "other1", at(10)));
        assert!(doors.closed(one, "abc123", at(68)));
        assert!(!doors.closed(one, "abc123", at(70)));
        // Ten in more than a minute close nothing.
        let slow = Doors::default();
        for turn in 0..30 {
            assert!(slow.failed(one, "abc123", at(7 * turn)));
        }
        assert!(!slow.closed(one, "abc123", at(7 * 30)));
    }
}
