//! The gateway's own keys: its host key, and the key with which it logs in to devices.

use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use super::GatewayError;
use crate::private_file;

/// The key in that file, which is made if it is not there.
pub(super) fn load_or_make(path: &Path) -> Result<PrivateKey, GatewayError> {
    let failed = |reason: String| GatewayError::Key {
        path: path.to_owned(),
        reason,
    };
    match std::fs::read_to_string(path) {
        Ok(text) => PrivateKey::from_openssh(&text).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)
                .map_err(|error| failed(error.to_string()))?;
            let text = key
                .to_openssh(LineEnding::LF)
                .map_err(|error| failed(error.to_string()))?;
            private_file::write(path, text.as_bytes())
                .map_err(|error| failed(error.to_string()))?;
            Ok(key)
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// `type base64` of a key.
pub(super) fn public_line(key: &PrivateKey) -> String {
    let line = key.public_key().to_openssh().unwrap_or_default();
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
