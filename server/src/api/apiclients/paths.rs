//! Paths and verbs: what a request is about and what it wants done (API client contract sections 2 and 4).
//!
//! *Invariant:* no I/O.

use axum::http::Method;
use moorline_protocol::scope::Scope;

use super::attributes::Problem;
use super::filters::Parameters;
use crate::registry::model::Account;

/// The account of the caller, in a path.
const THIS_ACCOUNT: &str = "_this_";
const ERRORS: &str = "/v3/error/";

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All API clients.
    Collection,
    /// One, by id or name.
    Client(String),
    /// The key of one.
    Key(String),
}

/// What is to be done with a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// POST to the collection.
    Create,
    /// GET of the collection.
    List,
    /// GET of one.
    Read,
    /// PUT or POST to one.
    Update,
    /// DELETE of one.
    Delete,
    /// GET of a key.
    ReadKey,
    /// POST to a key.
    Regenerate,
    /// PUT to a key.
    UpdateKey,
}

/// Why there is no [`Verb`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoVerb {
    /// The method is not for this target.
    Method {
        /// As asked for.
        method: String,
        /// The value of `Allow`.
        allow: &'static str,
    },
    /// `_method` has another value than PUT and DELETE.
    Parameter(Problem),
}

/// The code that a path under `/v3/error/` asks about.
pub(super) fn error_code(path: &str) -> Option<&str> {
    let code = path.strip_prefix(ERRORS)?;
    Some(code.strip_suffix('/').unwrap_or(code))
}

impl Target {
    /// What `path` names for a caller of `account`; `None` when it is no endpoint, or that of another account.
    pub(super) fn parse(path: &str, account: &Account) -> Option<Self> {
        let path = path.strip_prefix("/v3/")?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let parts: Option<Vec<String>> = path.split('/').map(decoded).collect();
        let parts = parts?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let rest = match parts.as_slice() {
            ["accounts", named, rest @ ..] if is_own(named, account) => rest,
            ["accounts", ..] => return None,
            rest => rest,
        };
        match rest {
            ["apiclients"] => Some(Self::Collection),
            ["apiclients", reference] if is_reference(reference) => {
                Some(Self::Client((*reference).to_owned()))
            }
            ["apiclients", reference, "apikey"] if is_reference(reference) => {
                Some(Self::Key((*reference).to_owned()))
            }
            _ => None,
        }
    }

    /// What `method` and the parameter `_method` want done with it.
    pub(super) fn verb(&self, method: &Method, query: Option<&str>) -> Result<Verb, NoVerb> {
        let meant = match Parameters::parse(query).get("_method") {
            Some(meant) if *method == Method::POST => match meant {
                "PUT" => Method::PUT,
                "DELETE" => Method::DELETE,
                _ => {
                    let allowed = "must be PUT or DELETE";
                    return Err(NoVerb::Parameter(Problem::Parameter("_method", allowed)));
                }
            },
            _ => method.clone(),
        };
        let meant = if meant == Method::HEAD {
            Method::GET
        } else {
            meant
        };
        match (self, meant.as_str()) {
            (Self::Collection, "POST") => Ok(Verb::Create),
            (Self::Collection, "GET") => Ok(Verb::List),
            (Self::Client(_), "GET") => Ok(Verb::Read),
            (Self::Client(_), "PUT" | "POST") => Ok(Verb::Update),
            (Self::Client(_), "DELETE") => Ok(Verb::Delete),
            (Self::Key(_), "GET") => Ok(Verb::ReadKey),
            (Self::Key(_), "POST") => Ok(Verb::Regenerate),
            (Self::Key(_), "PUT") => Ok(Verb::UpdateKey),
            (target, other) => Err(NoVerb::Method {
                method: other.to_owned(),
                allow: match target {
                    Self::Collection => "GET, HEAD, POST",
                    Self::Client(_) => "GET, HEAD, POST, PUT, DELETE",
                    Self::Key(_) => "GET, HEAD, POST, PUT",
                },
            }),
        }
    }

    /// The id or name in it.
    pub(super) fn reference(&self) -> &str {
        match self {
            Self::Collection => "",
            Self::Client(reference) | Self::Key(reference) => reference,
        }
    }
}

impl Verb {
    /// The scope that a key needs for it (section 1).
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Create => Scope::ApiClientCreate,
            Self::List | Self::Read | Self::ReadKey => Scope::ApiClientRead,
            Self::Update | Self::Regenerate | Self::UpdateKey => Scope::ApiClientModify,
            Self::Delete => Scope::ApiClientDelete,
        }
    }
}

fn is_own(named: &str, account: &Account) -> bool {
    named == THIS_ACCOUNT
        || named == account.uid
        || named.to_lowercase() == account.name.to_lowercase()
}

/// No database keeps a NUL.
fn is_reference(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// A segment of a path without its escapes; `None` when they are none, or no UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model::AccountId;

    fn target(path: &str) -> Option<Target> {
        let account = Account {
            id: AccountId(1),
            uid: "_acc_700000381264907715".into(),
            name: "Main Line".into(),
            suspended: false,
            default_region: None,
        };
        Target::parse(path, &account)
    }

    #[test]
    fn both_roots_name_the_same() {
        for root in [
            "/v3",
            "/v3/accounts/_this_",
            "/v3/accounts/_acc_700000381264907715",
            "/v3/accounts/main%20LINE",
        ] {
            for slash in ["", "/"] {
                let at = |rest: &str| target(&format!("{root}/apiclients{rest}{slash}"));
                assert_eq!(at(""), Some(Target::Collection), "{root}");
                assert_eq!(at("/x%2Dy"), Some(Target::Client("x-y".into())));
                assert_eq!(at("/_api_1/apikey"), Some(Target::Key("_api_1".into())));
                assert_eq!(at("/x/apikeys"), None);
                assert_eq!(at("//apikey"), None);
                assert_eq!(at("/x/apikey/y"), None);
            }
        }
        for other in [
            "/v3",
            "/v3/",
            "/v3/apiclient",
            "/v3/accounts/other/apiclients",
            "/v3/accounts/_this_",
            "/v3/apiclients/%zz",
            "/v3/apiclients/%00",
            "/v3/apiclients//",
        ] {
            assert_eq!(target(other), None, "{other}");
        }
    }

    #[test]
    fn a_parameter_may_stand_for_the_method() {
        let client = Target::Client("x".into());
        let verb = |method, query| client.verb(&method, Some(query));
        assert_eq!(verb(Method::POST, "_method=DELETE"), Ok(Verb::Delete));
        assert_eq!(verb(Method::POST, "_METHOD=PUT"), Ok(Verb::Update));
        assert_eq!(verb(Method::POST, ""), Ok(Verb::Update));
        assert_eq!(verb(Method::GET, "_method=DELETE"), Ok(Verb::Read));
        assert!(matches!(
            verb(Method::POST, "_method=PATCH"),
            Err(NoVerb::Parameter(_))
        ));
        assert!(matches!(
            verb(Method::PATCH, ""),
            Err(NoVerb::Method {
                allow: "GET, HEAD, POST, PUT, DELETE",
                ..
            })
        ));
        assert!(
            Target::Collection
                .verb(&Method::POST, Some("_method=PUT"))
                .is_err()
        );
    }
}
