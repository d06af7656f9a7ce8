//! How we speak SSH: algorithms, windows, renewal of keys.

use std::borrow::Cow;
use std::time::Duration;

use moorline_protocol::control::AGENT_IDENT;
use russh::client::Config;
use russh::{Limits, Preferred, SshId, cipher, compression, kex, mac};
use ssh_key::{Algorithm, EcdsaCurve};

/// Messages of a channel on their way to its reader; readers never pause for longer than a turn of the loop.
const CHANNEL_QUEUE: usize = 32;
/// SSH window of a channel, in bytes. Above every credit, so that credits and not windows do the pacing.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Largest packet, in bytes (RFC 4253 section 6.1 asks for at least this).
const PACKET_BYTES: u32 = 32_768;
/// Bytes after which new keys are made. The library ends a session that has more than two windows in flight
/// meanwhile, so seldom; both ciphers are good for far more.
const REKEY_BYTES: usize = 3 << 30;
/// Time after which new keys are made; each time costs 4 KiB.
const REKEY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// No weak algorithm, no RSA, strict key exchange; the host key algorithm is that of the key we expect.
pub(super) fn config(host_key: Algorithm) -> Config {
    const KEX: &[kex::Name] = &[
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ];
    const FAST_AES: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];
    const SLOW_AES: &[cipher::Name] = &[cipher::CHACHA20_POLY1305, cipher::AES_256_GCM];
    const MAC: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
    Config {
        client_id: SshId::Standard(Cow::Owned(format!(
            "{AGENT_IDENT}{}",
            env!("CARGO_PKG_VERSION")
        ))),
        // `Limits::new` insists on at most 1 GiB, which is meant for ciphers with small blocks.
        limits: Limits {
            rekey_write_limit: REKEY_BYTES,
            rekey_read_limit: REKEY_BYTES,
            rekey_time_limit: REKEY_AFTER,
        },
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_QUEUE,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Owned(vec![host_key]),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(if has_aes() { FAST_AES } else { SLOW_AES }),
            mac: Cow::Borrowed(MAC),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        // The tunnel keeps its own watch, paced by a data budget.
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..Config::default()
    }
}

/// Host key algorithms to learn from a device's sshd, the common one first.
pub(in crate::tunnel) const HOST_KEY_ALGORITHMS: [Algorithm; 2] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
];

/// Whether the CPU has instructions for AES.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
