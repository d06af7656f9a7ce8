//! Passwords: argon2id, away from the threads that serve, and never more at once than the machine can bear.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use moorline_protocol::Secret;
use thiserror::Error;
use tokio::sync::Semaphore;

/// How many are worked out at once: each takes a processor and 19 MiB.
const AT_ONCE: usize = 2;
/// How long a call waits for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// Why a password was neither hashed nor checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// Too many at once.
    #[error("check password: too many checks at once")]
    Busy,
    /// argon2 or its task failed.
    #[error("work out password hash")]
    Failed,
}

/// A password for a person: 20 letters, digits and signs.
#[must_use]
pub fn generate() -> Secret<String> {
    Secret::new(crate::random::password())
}

/// Hashes and checks passwords. Clones share the limit.
#[derive(Clone, Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Checked in place of the hash of a user that does not exist, so that both take the same time.
    dummy: Arc<Secret<String>>,
}

impl Passwords {
    /// Makes the dummy hash, which takes as long as one check.
    ///
    /// # Errors
    /// [`PasswordError::Failed`].
    pub async fn new() -> Result<Self, PasswordError> {
        let dummy =
            blocking(|| hash(&Secret::new("no user has this password".to_owned()))).await??;
        Ok(Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            dummy: Arc::new(dummy),
        })
    }

    /// Hash of `password` in PHC form.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: Secret<String>) -> Result<Secret<String>, PasswordError> {
        self.in_turn(move || hash(&password)).await?
    }

    /// Whether `password` is that of `stored`. Without a stored hash it is false after the same work.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn verify(
        &self,
        password: Secret<String>,
        stored: Option<Secret<String>>,
    ) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| Secret::clone(&self.dummy));
        let right = self.in_turn(move || matches(&password, &stored)).await?;
        Ok(right && known)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Failed)?;
        // The permit goes with the work: a caller that gave up does not make room before the work ended.
        blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PasswordError::Failed)
}

fn hash(password: &Secret<String>) -> Result<Secret<String>, PasswordError> {
    Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map(|hash| Secret::new(hash.to_string()))
        .map_err(|_| PasswordError::Failed)
}

fn matches(password: &Secret<String>, stored: &Secret<String>) -> bool {
    PasswordHash::new(stored.expose()).is_ok_and(|stored| {
        Argon2::default()
            .verify_password(password.expose().as_bytes(), &stored)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passwords_match_their_own_hash_only() {
        let passwords = Passwords::new().await.unwrap();
        let right = || Secret::new("right".to_owned());
        let stored = passwords.hash(right()).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$"));
        assert!(
            passwords
                .verify(right(), Some(stored.clone()))
                .await
                .unwrap()
        );
        let wrong = Secret::new("wrong".to_owned());
        assert!(!passwords.verify(wrong.clone(), Some(stored)).await.unwrap());
        assert!(!passwords.verify(wrong, None).await.unwrap());
        let dummy = Secret::new("no user has this password".to_owned());
        assert!(!passwords.verify(dummy, None).await.unwrap());
    }
}
