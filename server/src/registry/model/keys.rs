//! API keys: what they reach, what narrows them, and how their client is made.

use moorline_protocol::operator::ApiKeyInfo;

use super::{AccountId, DeviceId, Timestamp};

/// What an API key reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyContext {
    /// Everything of its account.
    Account,
    /// These devices only; it cannot make any.
    Devices(Vec<DeviceId>),
    /// Accepted and kept; reaches no device.
    Apps(Vec<String>),
}

/// Narrows a key that is put into images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Stands for the prefix of serial names when none is given; another prefix is refused.
    pub prefix: Option<String>,
    /// Region of devices it makes.
    pub region: Option<String>,
    /// Devices that may still be made.
    pub uses: Option<i64>,
    /// Refused everywhere from then on.
    pub expires_at: Option<Timestamp>,
}

/// An API client's key, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// `_key_` and 18 digits.
    pub id: String,
    /// `_api_` and 18 digits.
    pub owner_id: String,
    /// Name of the API client.
    pub owner_name: String,
    /// Whose.
    pub account: AccountId,
    /// What it reaches.
    pub context: KeyContext,
    /// Scope texts in the order given.
    pub scope: Vec<String>,
    /// Calls per minute over all surfaces, -1 without limit.
    pub rate_limit: i64,
    /// What narrows it.
    pub limits: KeyLimits,
    /// When made, or made anew.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

impl From<ApiKey> for ApiKeyInfo {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.owner_name,
            scope: key.scope,
            rate_limit: key.rate_limit,
            prefix: key.limits.prefix,
            region: key.limits.region,
            uses: key.limits.uses,
            expires_at: key.limits.expires_at.map(Timestamp::to_rfc3339),
            created_at: key.created_at.to_rfc3339(),
        }
    }
}

/// What a new API client and its key shall be.
#[derive(Clone, Debug)]
pub struct NewApiClient {
    /// Unique in the account without regard to case; `None` is made up.
    pub name: Option<String>,
    /// What the key reaches.
    pub context: KeyContext,
    /// Checked scope texts.
    pub scope: Vec<String>,
    /// Calls per minute, -1 without limit.
    pub rate_limit: i64,
    /// What narrows it.
    pub limits: KeyLimits,
}
