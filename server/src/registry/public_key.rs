//! SSH public keys as devices and people send them (provisioning contract section 3).

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use thiserror::Error;

use super::model::PublicKey;

/// RSA keys with fewer bits are refused.
const RSA_MIN_BITS: usize = 1024;
/// Longest text that is looked at, in bytes; an RSA key of 16,384 bits needs under 3,000.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Longest comment that is kept, in characters.
const MAX_COMMENT_CHARS: usize = 256;

/// A text that is not a supported public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("public_key is not a supported OpenSSH public key")]
pub struct InvalidKey;

impl PublicKey {
    /// Reads `type base64 [comment]`; blanks and line breaks around and inside the base64 do not count.
    ///
    /// # Errors
    /// [`InvalidKey`] for anything but ssh-ed25519, ecdsa-sha2-nistp256/384/521 and ssh-rsa of 1024 bits or more.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(InvalidKey);
        }
        let mut words = text.split_whitespace();
        let kind = words.next().ok_or(InvalidKey)?;
        let words: Vec<&str> = words.collect();
        // The data may be broken into several words, and what follows it is the comment: the data has a length
        // of its own, so the shortest run of words that reads as a key is the key.
        let mut data = String::new();
        for (count, word) in words.iter().enumerate() {
            data.push_str(word);
            let canonical = format!("{kind} {data}");
            let Ok(key) = ssh_key::PublicKey::from_openssh(&canonical) else {
                continue;
            };
            if !supported(key.key_data()) {
                return Err(InvalidKey);
            }
            let comment = words.get(count + 1..).unwrap_or_default().join(" ");
            return Ok(Self {
                canonical: key.to_openssh().map_err(|_| InvalidKey)?,
                comment: comment
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(MAX_COMMENT_CHARS)
                    .collect(),
                fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            });
        }
        Err(InvalidKey)
    }
}

fn supported(key: &KeyData) -> bool {
    match key.algorithm() {
        Algorithm::Ed25519 => true,
        Algorithm::Ecdsa { curve } => matches!(
            curve,
            EcdsaCurve::NistP256 | EcdsaCurve::NistP384 | EcdsaCurve::NistP521
        ),
        Algorithm::Rsa { .. } => key.rsa().is_some_and(|rsa| {
            rsa.n()
                .as_positive_bytes()
                .is_some_and(|bytes| bits(bytes) >= RSA_MIN_BITS)
        }),
        _ => false,
    }
}

/// Length of a big-endian number without leading zeros.
fn bits(bytes: &[u8]) -> usize {
    let unused = bytes
        .first()
        .map_or(0, |first| first.leading_zeros() as usize);
    (bytes.len() * 8).saturating_sub(unused)
}
