//! [`LiveSessions`]: the logins of people that last, and their end when the one they hang on may no more.
//!
//! A login is judged when it begins. This judges it again every few seconds, and at once when somebody says so, since
//! users and hosts are changed through the API, by the schedulers and by other processes on the same database.
//!
//! *Invariant:* what is decided here is only whether a login goes on; who it is was decided where it began.

use std::collections::{HashMap, HashSet};
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
use crate::registry::model::{
    AccountId, Host, HostId, HostStatus, Timestamp, User, UserId, UserStatus,
};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What a login hangs on.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Who logged in, or whose host it is.
    pub user: UserId,
    /// Another one means that the user's password was changed; `None` where no password was needed.
    pub token_version: Option<i64>,
    /// Fingerprint of the key that opened it; it has to stay one of the user's.
    pub key: Option<String>,
    /// The host, with what it looked like then; `None` for an operator's own login.
    pub host: Option<HostHold>,
}

/// How a host stood when somebody logged in to it.
#[derive(Clone, Debug)]
pub struct HostHold {
    /// The host.
    pub id: HostId,
    /// Whose it is.
    pub owner: UserId,
    /// Another one means that the entry password was changed; `None` for an administrator, who does not need it.
    pub entry_password_hash: Option<Secret<String>>,
}

impl Hold {
    /// That of a host and its owner, as they are now.
    #[must_use]
    pub fn on_host(host: &Host, owner: &User) -> Self {
        Self {
            user: owner.id,
            token_version: Some(owner.token_version),
            key: None,
            host: Some(HostHold {
                id: host.id,
                owner: owner.id,
                entry_password_hash: Some(host.entry_password_hash.clone()),
            }),
        }
    }

    /// That of somebody else's host and an administrator, as they are now.
    #[must_use]
    pub fn on_host_of_another(host: &Host, administrator: &User) -> Self {
        Self {
            host: Some(HostHold {
                id: host.id,
                owner: host.user,
                entry_password_hash: None,
            }),
            ..Self::on_user(administrator)
        }
    }

    /// That of a user who logged in by password or token.
    #[must_use]
    pub const fn on_user(user: &User) -> Self {
        Self {
            user: user.id,
            token_version: Some(user.token_version),
            key: None,
            host: None,
        }
    }

    /// That of a user who logged in by key.
    #[must_use]
    pub const fn on_key_of(user: &User, fingerprint: String) -> Self {
        Self {
            user: user.id,
            token_version: None,
            key: Some(fingerprint),
            host: None,
        }
    }

    /// The same, opened by a key.
    #[must_use]
    pub fn by_key(self, fingerprint: Option<String>) -> Self {
        Self {
            key: fingerprint,
            ..self
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
            .filter_map(|(_, hold)| Some(hold.host.as_ref()?.id))
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let keyed = holds.iter().filter(|(_, hold)| hold.key.is_some());
        let mut keyed: Vec<UserId> = keyed.map(|(_, hold)| hold.user).collect();
        keyed.sort_unstable();
        keyed.dedup();
        let known = Known::of(registry, &users, &hosts, &keyed).await?;
        for (number, hold) in holds {
            if let Some(reason) = judge(&hold, &known, Timestamp::now()) {
                self.end(number, reason);
            }
        }
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.0.table).len()
    }

    /// Ends all of them.
    pub fn end_all(&self, reason: &'static str) {
        let numbers: Vec<u64> = lock(&self.0.table).keys().copied().collect();
        for number in numbers {
            self.end(number, reason);
        }
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

/// What the registry knows of those that logins hang on.
#[derive(Debug, Default)]
struct Known {
    users: HashMap<UserId, User>,
    hosts: HashMap<HostId, Host>,
    keys: HashSet<(UserId, String)>,
    suspended: HashSet<AccountId>,
}

impl Known {
    /// Of these users and hosts; keys of `keyed`.
    async fn of(
        registry: &Registry,
        users: &[UserId],
        hosts: &[HostId],
        keyed: &[UserId],
    ) -> Result<Self, RegistryError> {
        let users = registry.users_by_id(users).await?;
        let hosts = registry.hosts_by_id(hosts).await?;
        Ok(Self {
            users: users.into_iter().map(|user| (user.id, user)).collect(),
            hosts: hosts.into_iter().map(|host| (host.id, host)).collect(),
            keys: registry.inbound_keys_of(keyed).await?.into_iter().collect(),
            suspended: registry.suspended_accounts().await?.into_iter().collect(),
        })
    }
}

/// Why a login may not go on at `now`, if so.
fn judge(hold: &Hold, known: &Known, now: Timestamp) -> Option<&'static str> {
    let Some(user) = known.users.get(&hold.user) else {
        return Some("user was deleted");
    };
    match user.status {
        UserStatus::Active => {}
        UserStatus::Disabled => return Some("user was disabled"),
        UserStatus::Expired => return Some("user expired"),
    }
    if user.expires_at.is_some_and(|end| end <= now) {
        return Some("user expired");
    }
    if known.suspended.contains(&user.account) {
        return Some("account was suspended");
    }
    let changed = hold.token_version.filter(|own| *own != user.token_version);
    if changed.is_some() {
        return Some("password was changed");
    }
    let key = hold.key.as_ref().map(|key| (user.id, key.clone()));
    if key.is_some_and(|key| !known.keys.contains(&key)) {
        return Some("key was removed");
    }
    let hold = hold.host.as_ref()?;
    let host = known.hosts.get(&hold.id);
    let Some(host) = host.filter(|host| host.user == hold.owner) else {
        return Some("host was deleted");
    };
    let entry = hold.entry_password_hash.as_ref();
    if entry.is_some_and(|own| *own != host.entry_password_hash) {
        return Some("password was changed");
    }
    (host.status != HostStatus::Running).then_some("host was stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model::{AccessPolicy, HostKind, HostLimits, HostWanted, Role};

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
        Hold::on_host(&host(), &user())
    }

    fn known(user: User, host: Host) -> Known {
        Known {
            keys: HashSet::from([(user.id, "SHA256:own".to_owned())]),
            users: HashMap::from([(user.id, user)]),
            hosts: HashMap::from([(host.id, host)]),
            suspended: HashSet::new(),
        }
    }

    const NOW: Timestamp = Timestamp(1000);

    /// How the login to the host, an operator's by password and by key, and an administrator's to the host of
    /// somebody else go on.
    fn judged(change: fn(&mut User, &mut Host)) -> [Option<&'static str>; 4] {
        let (mut user, mut host) = (user(), host());
        let holds = [
            hold(),
            Hold::on_user(&user),
            Hold::on_key_of(&user, "SHA256:own".into()),
            Hold::on_host_of_another(&host, &user),
        ];
        change(&mut user, &mut host);
        let known = known(user, host);
        holds.map(|hold| judge(&hold, &known, NOW))
    }

    #[test]
    fn each_change_that_closes_a_host_ends_its_logins() {
        assert_eq!(judged(|_, _| {}), [None; 4]);
        let all = |reason| [Some(reason); 4];
        let disabled = judged(|user, _| user.status = UserStatus::Disabled);
        assert_eq!(disabled, all("user was disabled"));
        let expired = judged(|user, _| user.status = UserStatus::Expired);
        assert_eq!(expired, all("user expired"));
        let over = judged(|user, _| user.expires_at = Some(NOW));
        assert_eq!(over, all("user expired"), "before anybody wrote it down");
        let later = judged(|user, _| user.expires_at = Some(Timestamp(NOW.0 + 1)));
        assert_eq!(later, [None; 4]);
        let changed = Some("password was changed");
        assert_eq!(
            judged(|user, _| user.token_version += 1),
            [changed, changed, None, changed]
        );
        assert_eq!(
            judged(|_, host| host.entry_password_hash = Secret::new("two".into())),
            [changed, None, None, None]
        );
        let stopped = Some("host was stopped");
        for change in [
            |_: &mut User, host: &mut Host| host.status = HostStatus::Stopped,
            |_: &mut User, host: &mut Host| host.status = HostStatus::Failed,
        ] {
            assert_eq!(judged(change), [stopped, None, None, stopped]);
        }
        let nobody = Known::default();
        assert_eq!(judge(&hold(), &nobody, NOW), Some("user was deleted"));
        let mut no_host = known(user(), host());
        no_host.hosts.clear();
        assert_eq!(judge(&hold(), &no_host, NOW), Some("host was deleted"));
        let mut suspended = known(user(), host());
        suspended.suspended.insert(user().account);
        let reason = Some("account was suspended");
        assert_eq!(judge(&hold(), &suspended, NOW), reason);
    }

    #[test]
    fn a_key_that_is_removed_ends_what_it_opened() {
        let known = known(user(), host());
        let by = |key: &str| {
            let hold = hold().by_key(Some(key.to_owned()));
            judge(&hold, &known, NOW)
        };
        assert_eq!(by("SHA256:own"), None);
        assert_eq!(by("SHA256:other"), Some("key was removed"));
        let operators = Hold::on_key_of(&user(), "SHA256:other".into());
        assert_eq!(judge(&operators, &known, NOW), Some("key was removed"));
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
