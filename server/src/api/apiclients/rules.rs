//! What attributes of API clients and keys may be, and how that is said (API client contract section 3). Every way to
//! make a key shares these rules.

use std::ops::RangeInclusive;

use moorline_protocol::scope::{DEFAULT_SCOPES, Scope, UnknownScope};

use crate::api::provisioning::parameters::is_name;

/// Longest name of an API client, in characters.
const MAX_NAME: usize = 64;
/// Longest prefix of device names, in characters.
const MAX_PREFIX: usize = 32;
/// Calls a minute that a key may be given, beside [`NO_RATE_LIMIT`].
const RATE_LIMITS: RangeInclusive<i64> = 1..=1_000_000;
const NO_RATE_LIMIT: i64 = -1;
/// Highest number of devices that a key may still make.
pub(crate) const MAX_USES: i64 = 1_000_000_000;

/// What names may be.
pub(crate) const NAME: &str = "must be 1 to 64 characters of A-Z a-z 0-9 . _ -, first a letter";
/// What prefixes may be.
pub(crate) const PREFIX: &str = "must be at most 32 characters of A-Z a-z 0-9 . _ -";
/// What rate limits may be.
pub(crate) const RATE_LIMIT: &str = "must be a number from 1 to 1000000, or -1";

/// Whether `text` may name an API client.
pub(crate) fn is_client_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && is_name(text, MAX_NAME)
}

/// Whether names of devices may be bound to begin with `text`.
pub(crate) fn is_prefix(text: &str) -> bool {
    is_name(text, MAX_PREFIX)
}

/// Whether a key may have this rate limit.
pub(crate) fn is_rate_limit(number: i64) -> bool {
    number == NO_RATE_LIMIT || RATE_LIMITS.contains(&number)
}

/// Checked scopes, each once, in the order given.
pub(crate) fn scopes(given: Vec<String>) -> Result<Vec<String>, UnknownScope> {
    let mut scopes: Vec<String> = Vec::with_capacity(given.len());
    for scope in given {
        Scope::check(&scope)?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

/// The scopes of an API client that was given none.
pub(crate) fn default_scopes() -> Vec<String> {
    DEFAULT_SCOPES
        .map(|scope| scope.as_str().to_owned())
        .to_vec()
}
