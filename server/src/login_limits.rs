//! [`LoginLimits`]: failed passwords, counted over every way in (control contract section 1).
//!
//! Counted twice: in memory from the moment a check begins, so that many at once cannot pass, and in the registry
//! once it failed, so that neither a restart nor another node forgets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::rate_limit::{Exceeded, RateLimiter, address_key};
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;

/// Failures a minute, per source address and per user.
pub const FAILURES_PER_MINUTE: u32 = 10;

const WINDOW: Duration = Duration::from_secs(60);
/// After so long one failure is forgotten.
const STEP: Duration = Duration::from_secs(6);
/// Longest part of what was typed that is counted by, in characters: no name is longer, and a table holds what is
/// counted.
const MAX_SUBJECT_CHARS: usize = 64;
/// What is counted, as the registry names it.
const ADDRESS: &str = "address";
const USER: &str = "user";

/// Counts failed passwords. Clones share the counts.
#[derive(Clone, Debug)]
pub struct LoginLimits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    addresses: RateLimiter<IpAddr>,
    users: RateLimiter<String>,
    kept: Registry,
}

/// A password that is being checked. It counts as a failure unless [`Attempt::succeeded`] says otherwise, so that
/// many checks at once cannot pass the limit.
#[derive(Debug)]
#[must_use = "how it ended has to be told with `succeeded` or `failed`"]
pub struct Attempt {
    limits: LoginLimits,
    address: IpAddr,
    user: String,
}

impl LoginLimits {
    /// Counts that are kept in `registry`.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(Shared {
            addresses: RateLimiter::default(),
            users: RateLimiter::default(),
            kept: registry,
        }))
    }

    /// Begins an attempt of `address` to log in as `user`: the id of a known user, else what was typed. That is taken
    /// letter by letter as the look-up takes it, or else the counts would tell which names there are.
    ///
    /// # Errors
    /// [`Exceeded`] when address or user failed too often; the password must not be looked at then.
    pub async fn begin(&self, address: IpAddr, user: &str) -> Result<Attempt, Exceeded> {
        let address = address_key(address);
        let user: String = user.chars().take(MAX_SUBJECT_CHARS).collect();
        self.check_kept(ADDRESS, &address.to_string()).await?;
        self.check_kept(USER, &user).await?;
        self.0.addresses.take(&address, FAILURES_PER_MINUTE)?;
        if let Err(exceeded) = self.0.users.take(&user, FAILURES_PER_MINUTE) {
            self.0.addresses.give_back(&address, FAILURES_PER_MINUTE);
            return Err(exceeded);
        }
        Ok(Attempt {
            limits: self.clone(),
            address,
            user,
        })
    }

    /// A registry that does not answer stops no login by itself: the counts in memory still hold.
    async fn check_kept(&self, kind: &str, subject: &str) -> Result<(), Exceeded> {
        match self.0.kept.login_budget_full_at(kind, subject).await {
            Ok(full_at) => exceeded(full_at, Timestamp::now()).map_or(Ok(()), Err),
            Err(error) => {
                tracing::warn!(%error, "look up failed logins");
                Ok(())
            }
        }
    }
}

impl Attempt {
    /// The password was right: the attempt does not count.
    pub fn succeeded(self) {
        let shared = &self.limits.0;
        shared
            .addresses
            .give_back(&self.address, FAILURES_PER_MINUTE);
        shared.users.give_back(&self.user, FAILURES_PER_MINUTE);
    }

    /// The password was wrong: that is kept.
    pub async fn failed(self) {
        let counted: Result<(), RegistryError> = async {
            let now = Timestamp::now();
            let kept = &self.limits.0.kept;
            kept.count_login_failure(ADDRESS, &self.address.to_string(), now, STEP)
                .await?;
            kept.count_login_failure(USER, &self.user, now, STEP).await
        }
        .await;
        if let Err(error) = counted {
            tracing::warn!(%error, "keep failed login");
        }
    }
}

/// Whether one more failure would be over the limit, if the budget is full again at `full_at`.
fn exceeded(full_at: Option<Timestamp>, now: Timestamp) -> Option<Exceeded> {
    let full_at = full_at.filter(|at| *at > now)?.after(STEP);
    let over = full_at.0.saturating_sub(now.after(WINDOW).0);
    let retry_after = Duration::from_micros(u64::try_from(over).ok()?);
    (!retry_after.is_zero()).then_some(Exceeded { retry_after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master_key::MasterKey;

    struct Kept {
        folder: tempfile::TempDir,
        keys: MasterKey,
    }

    impl Kept {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                keys: MasterKey::random().unwrap(),
            }
        }

        /// As after a restart: nothing in memory.
        async fn limits(&self) -> LoginLimits {
            let path = self.folder.path().join("moorline.db");
            let url = format!("sqlite://{}?mode=rwc", path.display());
            LoginLimits::new(Registry::open(&url, self.keys.clone()).await.unwrap())
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn ten_failures_close_the_address_and_the_user() {
        let limits = Kept::new().limits().await;
        for _ in 0..FAILURES_PER_MINUTE {
            drop(limits.begin(address(1), "anna").await.unwrap());
        }
        assert!(limits.begin(address(1), "berta").await.is_err(), "address");
        assert!(limits.begin(address(2), "anna").await.is_err(), "user");
        assert!(limits.begin(address(2), "Anna").await.is_ok());
    }

    #[tokio::test]
    async fn what_was_typed_takes_little_room() {
        let limits = Kept::new().limits().await;
        let typed = "x".repeat(1024 * 1024);
        let attempt = limits.begin(address(1), &typed).await.unwrap();
        assert_eq!(attempt.user.len(), MAX_SUBJECT_CHARS);
        assert!(attempt.user.capacity() <= 2 * MAX_SUBJECT_CHARS);
    }

    #[tokio::test]
    async fn failures_survive_a_restart() {
        let kept = Kept::new();
        let limits = kept.limits().await;
        for _ in 0..FAILURES_PER_MINUTE {
            limits
                .begin(address(1), "anna")
                .await
                .unwrap()
                .failed()
                .await;
        }
        drop(limits);
        let limits = kept.limits().await;
        let refused = limits.begin(address(1), "berta").await.unwrap_err();
        assert!((1..=6).contains(&refused.retry_after_secs()), "{refused:?}");
        assert!(limits.begin(address(2), "anna").await.is_err(), "user");
        assert!(limits.begin(address(2), "berta").await.is_ok());
    }

    #[tokio::test]
    async fn right_passwords_do_not_count() {
        let limits = Kept::new().limits().await;
        for _ in 0..100 {
            let attempt = limits.begin(address(1), "anna").await.unwrap();
            attempt.succeeded();
        }
        assert!(limits.begin(address(1), "anna").await.is_ok());
    }

    #[test]
    fn a_budget_holds_a_minute_of_failures() {
        let now = Timestamp(1_000_000_000);
        let full = |secs| Some(now.after(Duration::from_secs(secs)));
        assert!(exceeded(None, now).is_none());
        assert!(exceeded(Some(Timestamp(0)), now).is_none());
        assert!(exceeded(full(54), now).is_none(), "nine failures");
        let refused = exceeded(full(60), now).unwrap();
        assert_eq!(refused.retry_after_secs(), 6);
    }
}
