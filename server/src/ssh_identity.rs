//! [`KeyMaker`]: SSH key pairs for people who have none (control contract section 5).

use std::sync::Arc;
use std::time::Duration;

use moorline_protocol::Secret;
use ssh_key::private::{Ed25519Keypair, RsaKeypair};
use ssh_key::{LineEnding, PrivateKey};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::registry::model::PublicKey;

/// Length of an RSA key that is made here.
const RSA_BITS: usize = 4096;
/// Keys that are made at once: an RSA key takes a processor for seconds.
const AT_ONCE: usize = 1;
/// How long a call waits for its turn.
const WAIT: Duration = Duration::from_secs(30);

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `ed25519`.
    Ed25519,
    /// `rsa`, 4096 bits.
    Rsa,
}

impl KeyKind {
    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
        }
    }

    /// The kind that `text` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ed25519, Self::Rsa]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A key and its private half in OpenSSH format.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// For everyone.
    pub public: PublicKey,
    /// For its owner.
    pub private: Secret<String>,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyMakerError {
    /// Too many at once.
    #[error("make SSH key: too many at once")]
    Busy,
    /// The library or its task failed.
    #[error("make SSH key")]
    Failed,
}

/// Makes keys, away from the threads that serve and one after the other. Clones share the turn.
#[derive(Clone, Debug)]
pub struct KeyMaker {
    turns: Arc<Semaphore>,
}

impl Default for KeyMaker {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl KeyMaker {
    /// A new key with this comment.
    ///
    /// # Errors
    /// [`KeyMakerError`].
    pub async fn make(&self, kind: KeyKind, comment: &str) -> Result<KeyPair, KeyMakerError> {
        let turn = timeout(WAIT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| KeyMakerError::Busy)?
            .map_err(|_| KeyMakerError::Failed)?;
        let comment = comment.to_owned();
        // The permit goes with the work: a caller that gave up does not make room before the work ended.
        let work = move || {
            let made = make(kind, &comment);
            drop(turn);
            made
        };
        tokio::task::spawn_blocking(work)
            .await
            .ok()
            .flatten()
            .ok_or(KeyMakerError::Failed)
    }
}

fn make(kind: KeyKind, comment: &str) -> Option<KeyPair> {
    let mut random = rand::rng();
    let mut key = match kind {
        KeyKind::Ed25519 => PrivateKey::from(Ed25519Keypair::random(&mut random)),
        KeyKind::Rsa => PrivateKey::from(RsaKeypair::random(&mut random, RSA_BITS).ok()?),
    };
    key.set_comment(comment);
    let public = key.public_key().to_openssh().ok()?;
    let private = key.to_openssh(LineEnding::LF).ok()?;
    Some(KeyPair {
        public: PublicKey::parse(&public).ok()?,
        private: Secret::new(private.to_string()),
    })
}
