//! Names, ids and secrets made up by chance, from the operating system's seed (rand's thread generator is a CSPRNG).

use data_encoding::HEXLOWER;
use rand::RngExt as _;

const LETTERS_AND_DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CAPITALS_AND_DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SMALL_AND_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const PASSWORD: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@#$%&*";

/// `dbid` of a device: 20 letters and digits.
pub(crate) fn dbid() -> String {
    text(LETTERS_AND_DIGITS, 20)
}

/// `redirect_token` of a device: 8 letters and digits.
pub(crate) fn redirect_token() -> String {
    text(LETTERS_AND_DIGITS, 8)
}

/// Token of a session, or of the link that opens its port: 16 letters and digits.
pub(crate) fn link_token() -> String {
    text(LETTERS_AND_DIGITS, 16)
}

/// The same made of `bytes`, always the same for the same ones: 16 letters and digits for 16 bytes and more.
pub(crate) fn link_token_of(bytes: &[u8]) -> String {
    let letters = LETTERS_AND_DIGITS;
    let letter = |byte: &u8| letters.get(usize::from(*byte) % letters.len());
    let chosen = bytes.iter().take(16).filter_map(letter);
    chosen.map(|byte| char::from(*byte)).collect()
}

/// Key binding token of an account: 32 letters and digits.
pub(crate) fn binding_token() -> String {
    text(LETTERS_AND_DIGITS, 32)
}

/// `<label>` of an HTTP name: 8 of `a-z 0-9`.
pub(crate) fn http_label() -> String {
    text(SMALL_AND_DIGITS, 8)
}

/// Name of a device made with `type=random`: 20 of `A-Z a-z 0-9`.
pub(crate) fn device_name() -> String {
    text(LETTERS_AND_DIGITS, 20)
}

/// Name of an API client that was given none.
pub(crate) fn api_client_name() -> String {
    format!("apiclient_{}", text(SMALL_AND_DIGITS, 8))
}

/// 6 of `a-z 0-9`.
pub(crate) fn short_id() -> String {
    text(SMALL_AND_DIGITS, 6)
}

/// Short id of a host: 6 of `a-z 0-9`, one of them a letter. Names of digits alone are serial names of devices, which
/// the gateway has to tell from hosts.
pub(crate) fn host_short_id() -> String {
    loop {
        let id = short_id();
        if id.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return id;
        }
    }
}

/// HTTP name of a forward that had one and gets another: 8 of `a-z 0-9`.
pub(crate) fn renewed_label() -> String {
    text(SMALL_AND_DIGITS, 8)
}

/// Name of a container: `DESKTOP-` or `LAPTOP-` and 7 of `A-Z 0-9` (control contract section 8).
pub(crate) fn container_name() -> String {
    let kind = if rand::rng().random::<bool>() {
        "DESKTOP"
    } else {
        "LAPTOP"
    };
    format!("{kind}-{}", text(CAPITALS_AND_DIGITS, 7))
}

/// Entry password of a host: 8 letters and digits (control contract section 8).
pub(crate) fn entry_password() -> String {
    text(LETTERS_AND_DIGITS, 8)
}

/// Password for one login to a host: 24 letters and digits (control contract section 13).
pub(crate) fn one_time_password() -> String {
    text(LETTERS_AND_DIGITS, 24)
}

/// `_api_`, `_key_` or `_acc_` and 18 digits.
pub(crate) fn id(prefix: &str) -> String {
    let number = rand::rng().random_range(100_000_000_000_000_000_u64..1_000_000_000_000_000_000);
    format!("{prefix}{number}")
}

/// Secret of an API key: 32 hexadecimal digits.
pub(crate) fn api_key_secret() -> String {
    HEXLOWER.encode(&rand::rng().random::<[u8; 16]>())
}

/// A password for a person: 20 letters, digits and signs (control contract section 4).
pub(crate) fn password() -> String {
    text(PASSWORD, 20)
}

fn text(alphabet: &[u8], length: usize) -> String {
    let mut random = rand::rng();
    (0..length)
        .filter_map(|_| alphabet.get(random.random_range(0..alphabet.len())))
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_contracts() {
        assert_eq!(dbid().len(), 20);
        assert_eq!(redirect_token().len(), 8);
        assert_eq!(device_name().len(), 20);
        assert_eq!(short_id().len(), 6);
        assert_eq!(id("_key_").len(), 23);
        assert_eq!(api_key_secret().len(), 32);
        assert_eq!(password().len(), 20);
        assert_eq!((link_token().len(), binding_token().len()), (16, 32));
        assert_eq!(http_label().len(), 8);
        let fixed = link_token_of(&[7; 32]);
        assert_eq!((fixed.len(), fixed == link_token_of(&[7; 32])), (16, true));
        assert_eq!(entry_password().len(), 8);
        assert_eq!(one_time_password().len(), 24);
        assert!(
            host_short_id()
                .bytes()
                .any(|byte| byte.is_ascii_lowercase())
        );
        assert_ne!(dbid(), dbid());
    }
}
