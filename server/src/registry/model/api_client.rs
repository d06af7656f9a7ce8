//! API clients: what they are, how they change, and which of them to list.

use super::{AccountId, KeyContext, KeyLimits, Timestamp};

/// A named holder of credentials (API client contract section 3). Its key is an [`ApiKey`](super::ApiKey).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiClient {
    /// `_api_` and 18 digits.
    pub id: String,
    /// Whose.
    pub account: AccountId,
    /// 1 to 64 characters, unique in the account without regard to case.
    pub name: String,
    /// 1 to 128 characters; the name if none was given.
    pub friendly_name: String,
    /// Up to 1024 characters.
    pub description: Option<String>,
    /// Up to 32.
    pub tags: Option<Vec<String>>,
    /// A locked one cannot be changed or deleted.
    pub locked: bool,
    /// When made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// What a new API client is beside its name and its key.
#[derive(Clone, Debug, Default)]
pub struct ClientDetails {
    /// `None` is the name.
    pub friendly_name: Option<String>,
    /// Up to 1024 characters.
    pub description: Option<String>,
    /// Up to 32.
    pub tags: Option<Vec<String>>,
    /// Whether it is locked from the start.
    pub locked: bool,
}

/// What becomes of an attribute that may be unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is taken away.
    Unset,
    /// It becomes this.
    To(T),
}

impl<T> Setting<T> {
    /// What an attribute that had no value becomes.
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Keep | Self::Unset => None,
            Self::To(value) => Some(value),
        }
    }
}

/// What is to change of an API client and its key; the default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct ClientChange {
    /// New name, checked.
    pub name: Option<String>,
    /// Unset means the name again.
    pub friendly_name: Setting<String>,
    /// New description.
    pub description: Setting<String>,
    /// New tags.
    pub tags: Setting<Vec<String>>,
    /// Locks or unlocks.
    pub locked: Option<bool>,
    /// What is to change of its key.
    pub key: KeyChange,
}

/// What is to change of a key; its id and secret stay.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// What it reaches.
    pub context: Option<KeyContext>,
    /// Checked scope texts, each once.
    pub scope: Option<Vec<String>>,
    /// Calls per minute, -1 without limit.
    pub rate_limit: Option<i64>,
    /// All limits at once; the default is none.
    pub limits: Option<KeyLimits>,
}

/// What somebody may give to keys and see of them: nobody more than they have (API client contract section 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Everything: an administrator of the account.
    Everything,
    /// These scopes: the holder of a key.
    Scopes(Vec<String>),
}

impl Grant {
    /// The first of `scopes` that is not within it.
    #[must_use]
    pub fn first_beyond<'a>(&self, scopes: &'a [String]) -> Option<&'a str> {
        match self {
            Self::Everything => None,
            Self::Scopes(held) => scopes
                .iter()
                .find(|scope| !held.contains(scope))
                .map(String::as_str),
        }
    }
}

/// Which API clients to list; everything for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiClientFilter {
    /// Of this name, case does not count.
    pub name: Option<String>,
    /// With exactly this friendly name.
    pub friendly_name: Option<String>,
    /// By their tags.
    pub tags: TagFilter,
}

/// Which tags an API client must have and must not have. Tags are compared exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFilter {
    /// All of these.
    pub all: Vec<String>,
    /// None of these.
    pub none: Vec<String>,
    /// At least one of these, if there are any.
    pub any: Vec<String>,
}
