//! Scopes of an API key, as the contracts of the provisioning and API client calls name them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A scope with an effect on Moorline's surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Make devices.
    #[serde(rename = "device:create")]
    DeviceCreate,
    /// See devices and fetch their scripts.
    #[serde(rename = "device:read")]
    DeviceRead,
    /// Steer devices and replace their keys.
    #[serde(rename = "device:modify")]
    DeviceModify,
    /// Remove devices.
    #[serde(rename = "device:delete")]
    DeviceDelete,
    /// Make API clients.
    #[serde(rename = "apiclient:create")]
    ApiClientCreate,
    /// See API clients and their keys.
    #[serde(rename = "apiclient:read")]
    ApiClientRead,
    /// Change API clients and renew their keys.
    #[serde(rename = "apiclient:modify")]
    ApiClientModify,
    /// Remove API clients.
    #[serde(rename = "apiclient:delete")]
    ApiClientDelete,
}

/// The scopes of an API client that was given none: what a factory image needs and no more.
pub const DEFAULT_SCOPES: [Scope; 2] = [Scope::DeviceCreate, Scope::DeviceRead];

/// Scopes that are accepted and kept but open nothing here.
const WITHOUT_EFFECT: [(&str, &[&str]); 7] = [
    ("device", &["read-data", "write-data", "execute"]),
    (
        "app",
        &[
            "create",
            "read",
            "read-data",
            "write-data",
            "execute",
            "modify",
            "delete",
        ],
    ),
    ("subaccount", CRUD),
    ("user", CRUD),
    ("deviceprofile", CRUD),
    ("appprofile", CRUD),
    ("account", &["read"]),
];
const CRUD: &[&str] = &["create", "read", "modify", "delete"];

/// A scope text that no key may carry.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a scope; use for example device:create, device:read, device:modify or device:delete"
)]
pub struct UnknownScope(pub String);

impl Scope {
    /// Every scope with an effect.
    pub const ALL: [Self; 8] = [
        Self::DeviceCreate,
        Self::DeviceRead,
        Self::DeviceModify,
        Self::DeviceDelete,
        Self::ApiClientCreate,
        Self::ApiClientRead,
        Self::ApiClientModify,
        Self::ApiClientDelete,
    ];

    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceCreate => "device:create",
            Self::DeviceRead => "device:read",
            Self::DeviceModify => "device:modify",
            Self::DeviceDelete => "device:delete",
            Self::ApiClientCreate => "apiclient:create",
            Self::ApiClientRead => "apiclient:read",
            Self::ApiClientModify => "apiclient:modify",
            Self::ApiClientDelete => "apiclient:delete",
        }
    }

    /// The scope with an effect that `text` names, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Checks that `text` may stand in a key's list of scopes, with an effect or without.
    ///
    /// # Errors
    /// [`UnknownScope`] for any other text, `apiclient:*` included.
    pub fn check(text: &str) -> Result<(), UnknownScope> {
        let (noun, verb) = text.split_once(':').unwrap_or((text, ""));
        let known = Self::parse(text).is_some()
            || WITHOUT_EFFECT
                .iter()
                .any(|(known, verbs)| *known == noun && verbs.contains(&verb));
        known
            .then_some(())
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_scopes_pass_and_others_do_not() {
        for text in [
            "device:create",
            "app:read-data",
            "account:read",
            "user:delete",
        ] {
            assert_eq!(Scope::check(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "device",
            "device:*",
            "apiclient:*",
            "account:create",
            ":",
            "Device:create",
        ] {
            assert!(Scope::check(text).is_err(), "{text}");
        }
    }
}
