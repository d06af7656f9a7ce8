//! JSON of the login and of a user's own SSH keys.

use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `POST /v1/auth/login`. No `Debug`, for the password's sake.
#[derive(Serialize)]
pub(crate) struct Login<'a> {
    /// User name or short id.
    pub(crate) username: &'a str,
    /// In clear, as the call wants it.
    pub(crate) password: &'a str,
}

/// Answer to [`Login`].
#[derive(Debug, Deserialize)]
pub(crate) struct LoginAnswer {
    /// The JWT.
    pub(crate) token: Secret<String>,
    /// `admin` or `user`.
    pub(crate) role: String,
    /// The name, also where the short id was given.
    pub(crate) username: String,
    /// The short id.
    #[serde(default)]
    pub(crate) short_id: String,
    /// Life of the token in seconds.
    pub(crate) expires_in: u64,
}

/// An SSH key of the user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyInfo {
    /// UUID.
    pub(crate) id: String,
    /// Comment of the key, or what was given.
    #[serde(default)]
    pub(crate) label: String,
    /// `inbound`: may log in.
    #[serde(default)]
    pub(crate) purpose: String,
    /// `ed25519`, `rsa`, `ecdsa`.
    #[serde(default)]
    pub(crate) key_type: String,
    /// `SHA256:…`.
    #[serde(default)]
    pub(crate) fingerprint: String,
    /// The key itself.
    pub(crate) public_key: String,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) created_at: String,
    /// Everything else there is of it.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A key pair that the server made. It is there to be written to a file, or printed. No `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct MadeKey {
    /// The key.
    pub(crate) key: KeyInfo,
    /// One line, as in a `.pub` file.
    pub(crate) public_key: String,
    /// OpenSSH format.
    pub(crate) private_key: String,
    /// `ed25519` or `rsa`.
    pub(crate) key_type: String,
}

/// The SSH keys of the user, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyList {
    /// The keys.
    pub(crate) keys: Vec<KeyInfo>,
}

/// One SSH key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyEnvelope {
    /// The key.
    pub(crate) key: KeyInfo,
}

/// `POST /v1/user/ssh-keys`.
#[derive(Debug, Serialize)]
pub(crate) struct NewKey<'a> {
    /// The key as it is in its file.
    pub(crate) public_key: &'a str,
    /// Always `inbound` here.
    pub(crate) purpose: &'a str,
    /// Left out: the comment of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<&'a str>,
}
