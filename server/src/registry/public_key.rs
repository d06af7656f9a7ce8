//! SSH public keys as devices and people send them (provisioning contract section 3).

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use thiserror::Error;

use super::model::PublicKey;

/// RSA keys with fewer bits are refused.
const RSA_MIN_BITS: usize = 1024;
/// Longest text that is looked at, in bytes; an RSA key of 16,384 bits needs under 3,000.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Pieces that the data may be broken into; so many tries are made at most.
const MAX_PIECES: usize = 128;
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
        for (count, word) in words.iter().enumerate().take(MAX_PIECES) {
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

    /// Length of the modulus of an RSA key, in bits; `None` for other types.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        let key = ssh_key::PublicKey::from_openssh(&self.canonical).ok()?;
        key.key_data().rsa()?.n().as_positive_bytes().map(bits)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, with the fingerprint that ssh-keygen prints.
    const KEYS: [(&str, &str); 5] = [
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVeHYS4QMc6qSy1BxhORnqJhog8CUz827RvbF51b+1E ed comment here",
            "SHA256:tXadoAOyPhUDsWPBQkKL6DfDSb2HKvADwht6UJLUpt0",
        ),
        (
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMcwrTMHxa+Z6vGEEO36zb6gj/VN82ZAtaJmlp0nHFiCLzhgjtT8GLONHkds/ZB2WqNjmr0HYT03iIvJZ7zkHus= p256",
            "SHA256:6B4jui6NDViHm6x/XoEg8Gs+DhUPfWBJo0BrWbRB4jY",
        ),
        (
            "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBFmYijmKvQiiqb3uA1Twme4pkF6ONhRgTJ/WCKrqZf0V4zedb9ytfSChsvapammVxuj1qMt0VMfQnhSBTvGKiHP+dsBwKUNeEt062+aI1/EPXJ1lOwH//oHrxX/6bOxnew== p384",
            "SHA256:HN30LN2N87+zIySp9wEULqthNfFPYxb0UnRGKCidZLo",
        ),
        (
            "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAEgzwDIFNyYFm8/cyVtsIaRmfny1MHypS1QsrYcqE7jIAAIil/5b10Q2JVfEzSHFK63RyWBZMGrjf5m1YqaIGKQWwFn7fWAW2KHsfEVXVYc68yBP4fMc2GRI1HP9FtYruTmqeFK7oHKCy3CuWLhn9+IdkP93M15O2oCRh38vbx1jpbVeQ== p521",
            "SHA256:foACd8eXoQ9WMONWhSjue5BmUj4JHosAikQTzJ8W+8I",
        ),
        (
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQD02XOJmLl7fKGRMOJ31e3Z4hnzIxF4pfeU9lnPgb+J22VZWp1WVIob8Ho76iKUoDcq9Bkjxa8MnX/cevsrlkj+l7xeykFGmSAi4yMljhFL3i/onh7KmZ4PakjOu3SWNfo9dGwVKjYkXLGH8B0FO72sxCi7DGhDjfhsrViV+RGErQ== rsa",
            "SHA256:HlQ159/bY2S087JOnigSwxKInkkdpAgqzHtq1I2dXNU",
        ),
    ];
    const RSA_OF_1023_BITS: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgE+fM37ss+GtRWaBJmjhtBY4ld+55QzNBWJUgLXNT7nvXvDs5TKToH2thCsG1k75El3/jmc7bFAtmW0gjLF+3wS5KqsRyGH2j1XlpgVfoqB+gvAVimHzaYsWeejR6v7YNwDZRv3/6VWO1DuzDn0+ucxwq7cW/4rnSfSGY7UK8fWD";

    #[test]
    fn every_kind_is_read_as_ssh_keygen_reads_it() {
        for (text, fingerprint) in KEYS {
            let key = PublicKey::parse(text).unwrap();
            assert_eq!(key.fingerprint, fingerprint);
            assert_eq!(key.rsa_bits(), text.starts_with("ssh-rsa").then_some(1024));
            assert_eq!(text.trim(), format!("{} {}", key.canonical, key.comment));
        }
    }

    #[test]
    fn blanks_line_breaks_and_comments_do_not_count() {
        for (text, _) in KEYS {
            let plain = PublicKey::parse(text).unwrap();
            let (kind, rest) = plain.canonical.split_once(' ').unwrap();
            let (head, tail) = rest.split_at(20);
            let broken = format!("\r\n {kind}\t{head}\n  {tail}  my\n comment \n");
            let read = PublicKey::parse(&broken).unwrap();
            assert_eq!(read, plain);
            assert_eq!(
                (read.fingerprint, read.comment),
                (plain.fingerprint, "my comment".into())
            );
            assert_eq!(PublicKey::parse(&plain.canonical).unwrap().comment, "");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let ed25519 = KEYS[0].0;
        let many = format!("ssh-rsa {}", "A ".repeat(8000));
        let refused = [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 !!!",
            RSA_OF_1023_BITS,
            &ed25519.replace("ssh-ed25519 ", "ssh-rsa "),
            &ed25519.replace("ssh-ed25519 ", ""),
            &ed25519.replace("AAAAC3", "AAAAC4"),
            "ssh-dss AAAAB3NzaC1kc3MAAAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &many,
            &"A".repeat(MAX_TEXT_BYTES + 1),
        ];
        for text in refused {
            assert_eq!(PublicKey::parse(text).err(), Some(InvalidKey), "{text}");
        }
    }
}
