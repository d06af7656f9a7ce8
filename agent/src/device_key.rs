//! The device key: an ed25519 pair made on the device, its identity from first boot on.

use std::fmt;
use std::sync::Arc;

use moorline_protocol::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use thiserror::Error;

/// Why there is no device key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The kernel gave no random bytes.
    #[error("get random bytes from the kernel")]
    Random,
    /// The text is not a private key in OpenSSH form.
    #[error("{0}")]
    Form(#[from] ssh_key::Error),
}

/// The key pair; its private half is only used to sign.
#[derive(Clone)]
pub struct DeviceKey(Arc<PrivateKey>);

impl DeviceKey {
    /// Makes a new pair. Waits for the kernel's random pool, which early in the very first boot may not be ready.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| KeyError::Random)?;
        let pair = Ed25519Keypair::from_seed(&seed);
        Ok(Self(Arc::new(PrivateKey::from(pair))))
    }

    /// Reads the OpenSSH form.
    ///
    /// # Errors
    /// [`KeyError::Form`].
    pub fn parse(text: &Secret<String>) -> Result<Self, KeyError> {
        Ok(Self(Arc::new(PrivateKey::from_openssh(text.expose())?)))
    }

    /// The OpenSSH form of the private key.
    ///
    /// # Errors
    /// [`KeyError::Form`].
    pub fn to_openssh(&self) -> Result<Secret<String>, KeyError> {
        let text = self.0.to_openssh(LineEnding::LF)?;
        Ok(Secret::new(text.to_string()))
    }

    /// The public key, `type base64`.
    #[must_use]
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    /// `SHA256:…` of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// The pair itself, to sign with.
    pub(crate) fn private(&self) -> Arc<PrivateKey> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_prints_no_secret() {
        let key = DeviceKey::generate().unwrap();
        let text = key.to_openssh().unwrap();
        assert!(
            text.expose()
                .starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")
        );
        let read = DeviceKey::parse(&text).unwrap();
        assert_eq!(read.public_line(), key.public_line());
        assert!(key.public_line().starts_with("ssh-ed25519 AAAA"));
        assert!(format!("{key:?}").starts_with("DeviceKey(SHA256:"));
    }
}
