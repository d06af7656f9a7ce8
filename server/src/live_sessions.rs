//! [`LiveSessions`]: the logins of people that last, and their end when the one they hang on may no more.
//!
//! A login is judged when it begins. This judges it again every few seconds, and at once when somebody says so, since
//! users and hosts are changed through the API, by the schedulers and by other processes on the same database.
//!
//! *Invariant:* what is decided here is only whether a login goes on; who it is was decided where it began.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moorline_protocol::Secret;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::{Host, HostId, HostStatus, Role, User, UserId, UserStatus};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What a login hangs on.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Who logged in, or whose host it is.
    pub user: UserId,
    /// The host, with what it looked like then; `None` for an operator's own login.
    pub host: Option<HostHold>,
    /// The visit to a host of somebody else's, as administrators may pay.
    pub visit: Option<Visit>,
}

/// How an administrator stood when they began to look at a host of somebody else's.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The host.
    pub host: HostId,
    /// Another one means that their password was changed.
    pub token_version: i64,
}

/// How a host and its owner stood when somebody logged in to it.
#[derive(Clone, Debug)]
pub struct HostHold {
    /// The host.
    pub id: HostId,
    /// Another one means that the owner's password was changed.
    pub token_version: i64,
    /// Another one means that the entry password was changed.
    pub entry_password_hash: Secret<String>,
}

impl Hold {
    /// That of a host and its owner, as they are now.
    #[must_use]
    pub fn on_host(host: &Host, owner: &User) -> Self {
        Self {
            user: owner.id,
            host: Some(HostHold {
                id: host.id,
                token_version: owner.token_version,
                entry_password_hash: host.entry_password_hash.clone(),
            }),
            visit: None,
        }
    }

    /// That of an administrator on a host of somebody else's, as they are now.
    #[must_use]
    pub fn on_visit(host: &Host, visitor: &User) -> Self {
        Self {
            user: visitor.id,
            host: None,
            visit: Some(Visit {
                host: host.id,
                token_version: visitor.token_version,
            }),
        }
    }

    fn host_id(&self) -> Option<HostId> {
        let visited = self.visit.as_ref().map(|visit| visit.host);
        self.host.as_ref().map(|host| host.id).or(visited)
    }

    /// That of a user alone.
    #[must_use]
    pub const fn on_user(user: UserId) -> Self {
        Self {
            user,
            host: None,
            visit: None,
        }
    }
}

/// The table. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LiveSessions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<HashMap<u64, Entry>>,
    last: AtomicU64,
    look: Notify,
}

#[derive(Debug)]
struct Entry {
    hold: Hold,
    end: Arc<End>,
}

#[derive(Debug, Default)]
struct End {
    reason: Mutex<Option<&'static str>>,
    token: CancellationToken,
}

/// A login in the table; dropping it takes it out.
#[derive(Debug)]
pub struct LiveSession {
    number: u64,
    end: Arc<End>,
    table: LiveSessions,
}

impl LiveSession {
    /// Waits until the login may not go on, and tells why.
    pub async fn ended(&self) -> &'static str {
        self.end.token.cancelled().await;
        self.reason().unwrap_or("ended")
    }

    /// Why it was ended, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        *lock(&self.end.reason)
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        lock(&self.table.0.table).remove(&self.number);
    }
}

impl LiveSessions {
    /// Puts a login into the table.
    #[must_use]
    pub fn register(&self, hold: Hold) -> LiveSession {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let end = Arc::new(End::default());
        let entry = Entry {
            hold,
            end: end.clone(),
        };
        lock(&self.0.table).insert(number, entry);
        LiveSession {
            number,
            end,
            table: self.clone(),
        }
    }

    /// Somebody was changed: judges all logins at once.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    /// Judges until `stop`.
    pub async fn run(self, registry: Registry, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.look.notified() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.judge_all(&registry).await {
                warn!(%error, "judge logins that last");
            }
        }
    }

    async fn judge_all(&self, registry: &Registry) -> Result<(), RegistryError> {
        let holds: Vec<(u64, Hold)> = lock(&self.0.table)
            .iter()
            .map(|(number, entry)| (*number, entry.hold.clone()))
            .collect();
        if holds.is_empty() {
            return Ok(());
        }
        let mut users: Vec<UserId> = holds.iter().map(|(_, hold)| hold.user).collect();
        users.sort_unstable();
        users.dedup();
        let mut hosts: Vec<HostId> = holds
            .iter()
            .filter_map(|(_, hold)| hold.host_id())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let users = registry.users_by_id(&users).await?;
        let hosts = registry.hosts_by_id(&hosts).await?;
        let users: HashMap<UserId, User> = users.into_iter().map(|user| (user.id, user)).collect();
        let hosts: HashMap<HostId, Host> = hosts.into_iter().map(|host| (host.id, host)).collect();
        for (number, hold) in holds {
            let host = hold.host_id().and_then(|host| hosts.get(&host));
            if let Some(reason) = judge(&hold, users.get(&hold.user), host) {
                self.end(number, reason);
            }
        }
        Ok(())
    }

    fn end(&self, number: u64, reason: &'static str) {
        let end = lock(&self.0.table)
            .get(&number)
            .map(|entry| entry.end.clone());
        if let Some(end) = end {
            lock(&end.reason).get_or_insert(reason);
            end.token.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a login may not go on, if so.
fn judge(hold: &Hold, user: Option<&User>, host: Option<&Host>) -> Option<&'static str> {
    let Some(user) = user else {
        return Some("user was deleted");
    };
    match user.status {
        UserStatus::Active => {}
        UserStatus::Disabled => return Some("user was disabled"),
        UserStatus::Expired => return Some("user expired"),
    }
    if let Some(visit) = &hold.visit {
        return judge_visit(visit, user, host);
    }
    let hold = hold.host.as_ref()?;
    let Some(host) = host.filter(|host| host.user == user.id) else {
        return Some("host was deleted");
    };
    if user.token_version != hold.token_version
        || host.entry_password_hash != hold.entry_password_hash
    {
        return Some("password was changed");
    }
    (host.status != HostStatus::Running).then_some("host was stopped")
}

fn judge_visit(visit: &Visit, visitor: &User, host: Option<&Host>) -> Option<&'static str> {
    let Some(host) = host.filter(|host| host.account == visitor.account) else {
        return Some("host was deleted");
    };
    if visitor.role != Role::Admin {
        return Some("user is no administrator");
    }
    if visitor.token_version != visit.token_version {
        return Some("password was changed");
    }
    (host.status != HostStatus::Running).then_some("host was stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model::{
        AccessPolicy, AccountId, HostKind, HostLimits, HostWanted, Timestamp,
    };

    fn user() -> User {
        User {
            id: UserId(uuid::Uuid::from_u128(1)),
            account: AccountId(1),
            username: "udo".into(),
            short_id: "abc123".into(),
            role: Role::User,
            status: UserStatus::Active,
            expires_at: None,
            password_hash: Secret::new(String::new()),
            token_version: 3,
            keys_version: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn host() -> Host {
        Host {
            id: HostId(uuid::Uuid::from_u128(2)),
            account: AccountId(1),
            user: user().id,
            kind: HostKind::Device,
            device: None,
            status: HostStatus::Running,
            wanted: HostWanted::Running,
            short_id: "def456".into(),
            slot_key: String::new(),
            region: None,
            timezone: String::new(),
            hostname: String::new(),
            limits: HostLimits {
                memory_mb: 0,
                cpus: 0.0,
                disk_gb: 0,
            },
            home_volume_name: String::new(),
            entry_password_hash: Secret::new("one".into()),
            policy: AccessPolicy {
                recording_required: false,
                direct_tcpip_allowed: false,
            },
            keys_version: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn hold() -> Hold {
        Hold {
            user: user().id,
            host: Some(HostHold {
                id: host().id,
                token_version: 3,
                entry_password_hash: Secret::new("one".into()),
            }),
            visit: None,
        }
    }

    #[test]
    fn each_change_that_closes_a_host_ends_its_logins() {
        let own = Hold {
            host: None,
            ..hold()
        };
        assert_eq!(judge(&hold(), Some(&user()), Some(&host())), None);
        assert_eq!(judge(&own, Some(&user()), None), None);
        let with_user = |change: fn(&mut User)| {
            let mut user = user();
            change(&mut user);
            let judged = |hold: &Hold| judge(hold, Some(&user), Some(&host()));
            (judged(&hold()), judged(&own))
        };
        let with_host = |change: fn(&mut Host)| {
            let mut host = host();
            change(&mut host);
            judge(&hold(), Some(&user()), Some(&host))
        };
        let disabled = Some("user was disabled");
        assert_eq!(
            with_user(|user| user.status = UserStatus::Disabled),
            (disabled, disabled)
        );
        let expired = Some("user expired");
        assert_eq!(
            with_user(|user| user.status = UserStatus::Expired),
            (expired, expired)
        );
        let changed = Some("password was changed");
        assert_eq!(with_user(|user| user.token_version += 1), (changed, None));
        assert_eq!(
            with_host(|host| host.entry_password_hash = Secret::new("two".into())),
            changed
        );
        let stopped = Some("host was stopped");
        assert_eq!(with_host(|host| host.status = HostStatus::Stopped), stopped);
        assert_eq!(with_host(|host| host.status = HostStatus::Failed), stopped);
        assert_eq!(
            judge(&hold(), None, Some(&host())),
            Some("user was deleted")
        );
        assert_eq!(
            judge(&hold(), Some(&user()), None),
            Some("host was deleted")
        );
    }

    #[test]
    fn a_visit_ends_with_the_host_and_with_the_right_to_pay_it() {
        let admin = || User {
            id: UserId(uuid::Uuid::from_u128(3)),
            role: Role::Admin,
            ..user()
        };
        let hold = Hold::on_visit(&host(), &admin());
        assert_eq!(judge(&hold, Some(&admin()), Some(&host())), None);
        let stopped = Host {
            status: HostStatus::Stopped,
            ..host()
        };
        let ended = judge(&hold, Some(&admin()), Some(&stopped));
        assert_eq!(ended, Some("host was stopped"));
        let ended = judge(&hold, Some(&admin()), None);
        assert_eq!(ended, Some("host was deleted"));
        let elsewhere = Host {
            account: AccountId(2),
            ..host()
        };
        let ended = judge(&hold, Some(&admin()), Some(&elsewhere));
        assert_eq!(ended, Some("host was deleted"));
        let demoted = User {
            role: Role::User,
            ..admin()
        };
        let ended = judge(&hold, Some(&demoted), Some(&host()));
        assert_eq!(ended, Some("user is no administrator"));
        let changed = User {
            token_version: 4,
            ..admin()
        };
        let ended = judge(&hold, Some(&changed), Some(&host()));
        assert_eq!(ended, Some("password was changed"));
    }

    #[tokio::test]
    async fn a_login_that_is_over_leaves_the_table() {
        let table = LiveSessions::default();
        let first = table.register(hold());
        let second = table.register(hold());
        table.end(first.number, "why");
        table.end(first.number, "later");
        assert_eq!(first.ended().await, "why");
        assert_eq!(second.reason(), None);
        drop(first);
        drop(second);
        assert!(lock(&table.0.table).is_empty());
    }
}
