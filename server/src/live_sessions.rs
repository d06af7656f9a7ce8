//! [`LiveSessions`]: the logins of people that last, and the ways that devices have to each other, and their end when
//! what they hang on may no more.
//!
//! Each is judged when it begins. This judges it again every few seconds, and at once when somebody says so, since
//! users, hosts and devices are changed through the API, by the schedulers and by other processes on the same database.
//!
//! *Invariant:* what is decided here is only whether a login or a way goes on; who it is was decided where it began.

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
use crate::registry::model::{AccountId, Device, DeviceId, Host, HostId, User, UserId};

mod judgement;

use judgement::Known;

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
    /// The device, with whose it was; `None` for what is not open on a device.
    pub device: Option<DeviceHold>,
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

/// How a device stood when somebody opened something on it: it was active, and of this account.
#[derive(Clone, Copy, Debug)]
pub struct DeviceHold {
    /// The device.
    pub id: DeviceId,
    /// Whose it is.
    pub account: AccountId,
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
            device: None,
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
            device: None,
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
            device: None,
        }
    }

    /// That of what a user who is logged in opens on a device; the login itself has its own.
    #[must_use]
    pub const fn on_device(device: &Device, user: &User) -> Self {
        Self {
            user: user.id,
            token_version: None,
            key: None,
            host: None,
            device: Some(DeviceHold {
                id: device.id,
                account: device.account,
            }),
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

/// A stream through a forward tunnel: two devices of one account (openport contract section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Whose connection asked for it.
    pub caller: DeviceId,
    /// The one that it leads to; a device may reach itself.
    pub target: DeviceId,
}

/// What is in the table.
#[derive(Clone, Debug)]
enum Kept {
    Login(Hold),
    Passage(Passage),
}

impl Kept {
    const fn login(&self) -> Option<&Hold> {
        match self {
            Self::Login(hold) => Some(hold),
            Self::Passage(_) => None,
        }
    }

    const fn passage(&self) -> Option<Passage> {
        match self {
            Self::Login(_) => None,
            Self::Passage(passage) => Some(*passage),
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
    kept: Kept,
    end: Arc<End>,
}

#[derive(Debug, Default)]
struct End {
    reason: Mutex<Option<&'static str>>,
    token: CancellationToken,
}

/// A login or a passage in the table; dropping it takes it out.
#[derive(Debug)]
pub struct LiveSession {
    number: u64,
    end: Arc<End>,
    table: LiveSessions,
}

impl LiveSession {
    /// Waits until it may not go on, and tells why.
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
        self.keep(Kept::Login(hold))
    }

    /// Puts a stream between two devices into the table.
    #[must_use]
    pub fn register_passage(&self, passage: Passage) -> LiveSession {
        self.keep(Kept::Passage(passage))
    }

    fn keep(&self, kept: Kept) -> LiveSession {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let end = Arc::new(End::default());
        let entry = Entry {
            kept,
            end: end.clone(),
        };
        lock(&self.0.table).insert(number, entry);
        LiveSession {
            number,
            end,
            table: self.clone(),
        }
    }

    /// Somebody or something was changed: judges all at once.
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
        let all: Vec<(u64, Kept)> = lock(&self.0.table)
            .iter()
            .map(|(number, entry)| (*number, entry.kept.clone()))
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let logins = all.iter().filter_map(|(_, kept)| kept.login());
        let passages = all.iter().filter_map(|(_, kept)| kept.passage());
        let known = Known::of(registry, logins, passages).await?;
        for (number, kept) in &all {
            if let Some(reason) = known.judge_kept(kept) {
                self.end(*number, reason);
            }
        }
        Ok(())
    }

    /// Judges one that has just been put into the table, and ends it if it may not go on: until it was there, a change
    /// of what it hangs on ended nothing. Tells why it ended, if it did.
    ///
    /// # Errors
    /// [`RegistryError`]; then it goes on, and is judged with the others.
    pub async fn judge(
        &self,
        registry: &Registry,
        live: &LiveSession,
    ) -> Result<Option<&'static str>, RegistryError> {
        let kept = {
            let table = lock(&self.0.table);
            table.get(&live.number).map(|entry| entry.kept.clone())
        };
        if let Some(kept) = kept {
            let (login, passage) = (kept.login().into_iter(), kept.passage().into_iter());
            let known = Known::of(registry, login, passage).await?;
            if let Some(reason) = known.judge_kept(&kept) {
                self.end(live.number, reason);
            }
        }
        Ok(live.reason())
    }

    /// How many logins there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let table = lock(&self.0.table);
        let logins = table.values().filter_map(|entry| entry.kept.login());
        logins.count()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> Hold {
        Hold {
            user: UserId(uuid::Uuid::from_u128(1)),
            token_version: None,
            key: None,
            host: None,
            device: None,
        }
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
        let device = DeviceId(uuid::Uuid::from_u128(2));
        let passage = table.register_passage(Passage {
            caller: device,
            target: device,
        });
        assert_eq!(table.count(), 2, "logins");
        drop((first, second, passage));
        assert!(lock(&table.0.table).is_empty());
    }
}
