//! Private keys in the forms that SSH programs write.

use russh::keys::decode_secret_key;
use russh::keys::ssh_key::LineEnding;

use crate::registry::model::PublicKey;
use moorline_protocol::Secret;

/// Longest text that is looked at, in bytes; an RSA key of 16,384 bits needs under 13,000.
const MAX_TEXT_BYTES: usize = 32 * 1024;

/// Reads an OpenSSH or PEM key (PKCS#1, PKCS#8, SEC1) that is not encrypted: its public half, and itself in OpenSSH
/// format. `None` for anything else and for kinds that [`PublicKey::parse`] refuses.
pub(crate) fn read_private_key(text: &str) -> Option<(PublicKey, Secret<String>)> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let key = decode_secret_key(text.trim(), None).ok()?;
    if key.is_encrypted() {
        return None;
    }
    let public = PublicKey::parse(&key.public_key().to_openssh().ok()?).ok()?;
    let private = key.to_openssh(LineEnding::LF).ok()?;
    Some((public, Secret::new(private.to_string())))
}
