//! Which SSH algorithms the gateway offers and in which order.
//!
//! RSA host keys, CBC, SHA-1 and the NIST curves are not offered. User keys may be RSA or NIST ECDSA since the
//! contracts demand them; their signatures use SHA-2.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// AES-GCM first: it is the fastest where the CPU has AES instructions, and a peer without them names ChaCha first
/// in its own list, which is the one that decides (RFC 4253 section 7.1).
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// Towards devices and operators that connect to us; `legacy_ssh_rsa` adds signatures of user keys with SHA-1.
pub(super) fn offered(legacy_ssh_rsa: bool) -> Preferred {
    let legacy = legacy_ssh_rsa.then_some(Algorithm::Rsa { hash: None });
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: KEYS.iter().cloned().chain(legacy).collect(),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Towards the sshd of a device, inside its tunnel: old dropbears know less than we offer, and what they lack is
/// protected by the tunnel anyway.
/// With `known` host keys, `type base64` each, only their types are asked for: an sshd has one key of each type and
/// must show one that we can judge.
pub(super) fn towards_devices(known: &[String]) -> Preferred {
    let wanted = |algorithm: &Algorithm| {
        let kind = match algorithm {
            Algorithm::Rsa { .. } => "ssh-rsa",
            other => other.as_str(),
        };
        known.is_empty() || known.iter().any(|key| key.split(' ').next() == Some(kind))
    };
    Preferred {
        key: KEYS
            .iter()
            .filter(|algorithm| wanted(algorithm))
            .cloned()
            .collect(),
        cipher: Cow::Borrowed(CIPHERS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::default()
    }
}
