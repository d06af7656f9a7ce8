//! [`Trust`]: whose certificates a profile believes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Trust {
    /// The public certificate authorities.
    #[default]
    Public,
    /// These too, in PEM.
    Ca(String),
    /// Only a server with this key, whatever its certificate says.
    Pin(Pin),
}

/// SHA-256 of a certificate's public key (SPKI), written `sha256/BASE64`; curl's `sha256//` is read too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Pin([u8; 32]);

/// Characters of base64 for 32 bytes.
const ENCODED_LENGTH: usize = 44;

impl Pin {
    /// The pin of `spki`, the DER of a public key with its algorithm.
    pub(crate) fn of(spki: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, spki);
        let mut bytes = [0; 32];
        for (byte, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *from;
        }
        Self(bytes)
    }
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a pin reads sha256/ and 44 characters of base64";
        let encoded = text.trim().strip_prefix("sha256/").ok_or(WRONG)?;
        // A digest may itself begin with a slash; curl's second slash makes the text one longer.
        let encoded = match encoded.strip_prefix('/') {
            Some(rest) if rest.len() == ENCODED_LENGTH => rest,
            _ => encoded,
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| WRONG)?;
        Ok(Self(bytes.try_into().map_err(|_| WRONG)?))
    }
}

impl TryFrom<String> for Pin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.to_string()
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_they_are_written() {
        let pin = Pin::of(b"key");
        assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
        let as_curl = pin.to_string().replacen('/', "//", 1);
        assert_eq!(as_curl.parse::<Pin>().unwrap(), pin);
    }

    #[test]
    fn a_digest_that_begins_with_a_slash_keeps_it() {
        let pin = Pin([0xff; 32]);
        assert!(pin.to_string().starts_with("sha256//"));
        assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
    }

    #[test]
    fn what_is_not_a_pin_is_refused() {
        for bad in ["", "sha256/", "sha256/AAAA", "sha1/AAAA", "sha256/!"] {
            assert!(bad.parse::<Pin>().is_err(), "{bad}");
        }
    }
}
