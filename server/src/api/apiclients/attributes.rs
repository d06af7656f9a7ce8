//! The body of a create or an update, read into what is to change; every problem is found, not only the first (API
//! client contract sections 3 and 5).
//!
//! *Invariant:* no I/O. What needs the registry, the devices of a context and the region, is [`WishedContext`] and
//! left to [`super::operations`].

use serde_json::{Map, Value};

use super::rules;
use crate::registry::model::{ClientChange, KeyChange, KeyLimits, Setting, Timestamp};

/// Longest friendly name, in characters.
const MAX_FRIENDLY_NAME: usize = 128;
/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 1024;
/// Most tags of one API client.
const MAX_TAGS: usize = 32;
/// Longest tag, in characters; also of an id in a context.
const MAX_TAG: usize = 64;
/// Most ids in a context.
const MAX_IDS: usize = 1000;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum Problem {
    /// A needed part of the body is absent.
    Missing(&'static str),
    /// An attribute, and what is allowed.
    Attribute(&'static str, &'static str),
    /// A query parameter, and what is allowed.
    Parameter(&'static str, &'static str),
}

impl Problem {
    /// For a person.
    pub(in crate::api) fn message(&self) -> String {
        match self {
            Self::Missing(name) => format!("Attribute {name} is required."),
            Self::Attribute(name, allowed) => format!("Attribute {name} {allowed}."),
            Self::Parameter(name, allowed) => format!("Parameter {name} {allowed}."),
        }
    }
}

/// Which attributes a body may carry; all others are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Of an API client and its key.
    Client,
    /// Of the key alone.
    Key,
}

/// What a body asks for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// All but the context.
    pub(super) change: ClientChange,
    /// The context as it was named.
    pub(super) context: Option<WishedContext>,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
}

/// A context as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WishedContext {
    /// Accounts.
    Account(Vec<String>),
    /// UUIDs or names.
    Devices(Vec<String>),
    /// Anything.
    Apps(Vec<String>),
}

impl Wishes {
    /// Reads `body`.
    pub(super) fn parse(body: &Map<String, Value>, part: Part) -> Self {
        let mut wishes = Self::default();
        if part == Part::Client {
            wishes.read_client(body);
        }
        wishes.read_key(body);
        wishes
    }

    fn read_client(&mut self, body: &Map<String, Value>) {
        if let Some(value) = body.get("name") {
            let name = value.as_str().filter(|name| rules::is_client_name(name));
            self.change.name = self.good(name.map(str::to_owned), "name", rules::NAME);
        }
        let allowed = "must be 1 to 128 characters";
        let longest = MAX_FRIENDLY_NAME;
        self.change.friendly_name = self.setting(body, "friendlyName", allowed, |value| {
            text(value, longest).filter(|text| !text.is_empty())
        });
        let allowed = "must be a text of at most 1024 characters";
        self.change.description = self.setting(body, "description", allowed, |value| {
            text(value, MAX_DESCRIPTION)
        });
        let allowed = "must be a list of at most 32 texts of 1 to 64 characters, without comma, \
                       not beginning with - nor ending in ^";
        self.change.tags = self.setting(body, "tags", allowed, tags);
        if let Some(value) = body.get("locked") {
            self.change.locked = self.good(value.as_bool(), "locked", "must be true or false");
        }
    }

    fn read_key(&mut self, body: &Map<String, Value>) {
        if let Some(value) = body.get("context") {
            self.context = self.read_context(value);
        }
        let mut key = KeyChange::default();
        if let Some(value) = body.get("scope") {
            let scopes = texts(value, usize::MAX).and_then(|given| rules::scopes(given).ok());
            let allowed = "must be a list of scopes such as device:create";
            key.scope = self.good(scopes, "scope", allowed);
        }
        if let Some(value) = body.get("rateLimit") {
            let limit = whole_number(value).filter(|limit| rules::is_rate_limit(*limit));
            key.rate_limit = self.good(limit, "rateLimit", rules::RATE_LIMIT);
        }
        match body.get("limits") {
            None => {}
            Some(Value::Null) => key.limits = Some(KeyLimits::default()),
            Some(Value::Object(limits)) => key.limits = Some(self.read_limits(limits)),
            Some(_) => self.wrong("limits", "must be an object"),
        }
        self.change.key = key;
    }

    fn read_context(&mut self, value: &Value) -> Option<WishedContext> {
        const KINDS: &str = "must be account, device or app";
        let Some(context) = value.as_object() else {
            self.wrong("context", "must be an object with type and ids");
            return None;
        };
        let kind = match context.get("type") {
            None => {
                self.problems.push(Problem::Missing("context.type"));
                None
            }
            Some(kind) => {
                let known = |kind: &&str| matches!(*kind, "account" | "device" | "app");
                self.good(kind.as_str().filter(known), "context.type", KINDS)
            }
        };
        let ids = match context.get("ids") {
            None => {
                self.problems.push(Problem::Missing("context.ids"));
                None
            }
            Some(ids) => {
                let good = texts(ids, MAX_IDS)
                    .filter(|ids| ids.iter().all(|id| is_short(id) && !id.is_empty()));
                self.good(good, "context.ids", "must be a list of at most 1000 ids")
            }
        };
        match (kind?, ids?) {
            ("account", ids) => Some(WishedContext::Account(ids)),
            ("device", ids) => Some(WishedContext::Devices(ids)),
            (_, ids) => Some(WishedContext::Apps(ids)),
        }
    }

    fn read_limits(&mut self, limits: &Map<String, Value>) -> KeyLimits {
        let mut read = KeyLimits::default();
        if let Some(value) = limits.get("prefix") {
            let prefix = value.as_str().filter(|prefix| rules::is_prefix(prefix));
            read.prefix = self.good(prefix.map(str::to_owned), "limits.prefix", rules::PREFIX);
        }
        if let Some(value) = limits.get("region") {
            let region = text(value, MAX_TAG).filter(|region| !region.is_empty());
            read.region = self.good(region, "limits.region", REGION);
        }
        if let Some(value) = limits.get("uses") {
            let uses = whole_number(value).filter(|uses| (0..=rules::MAX_USES).contains(uses));
            let allowed = "must be a number from 0 to 1000000000";
            read.uses = self.good(uses, "limits.uses", allowed);
        }
        if let Some(value) = limits.get("expiresAt") {
            let at = value
                .as_str()
                .and_then(|text| Timestamp::from_rfc3339(text).ok());
            let allowed = "must be a time such as 2027-01-31T12:00:00.000Z";
            read.expires_at = self.good(at, "limits.expiresAt", allowed);
        }
        read
    }

    /// An attribute that `null` unsets.
    fn setting<T>(
        &mut self,
        body: &Map<String, Value>,
        name: &'static str,
        allowed: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Setting<T> {
        match body.get(name) {
            None => Setting::Keep,
            Some(Value::Null) => Setting::Unset,
            Some(value) => match self.good(read(value), name, allowed) {
                Some(value) => Setting::To(value),
                None => Setting::Keep,
            },
        }
    }

    /// Notes a problem when there is no value.
    fn good<T>(
        &mut self,
        value: Option<T>,
        name: &'static str,
        allowed: &'static str,
    ) -> Option<T> {
        if value.is_none() {
            self.wrong(name, allowed);
        }
        value
    }

    /// Notes a problem.
    pub(super) fn wrong(&mut self, name: &'static str, allowed: &'static str) {
        self.problems.push(Problem::Attribute(name, allowed));
    }
}

/// What the region of a key may be.
pub(super) const REGION: &str = "must be the name of a region";

/// A text of at most `longest` characters. No database keeps a NUL.
fn text(value: &Value, longest: usize) -> Option<String> {
    value
        .as_str()
        .filter(|text| text.chars().count() <= longest && !text.contains('\0'))
        .map(str::to_owned)
}

fn texts(value: &Value, most: usize) -> Option<Vec<String>> {
    let items = value.as_array().filter(|items| items.len() <= most)?;
    let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
    texts.collect()
}

fn tags(value: &Value) -> Option<Vec<String>> {
    texts(value, MAX_TAGS).filter(|tags| tags.iter().all(|tag| is_tag(tag)))
}

fn is_tag(tag: &str) -> bool {
    is_short(tag)
        && !tag.is_empty()
        && !tag.contains(',')
        && !tag.starts_with('-')
        && !tag.ends_with('^')
}

fn is_short(text: &str) -> bool {
    text.chars().count() <= MAX_TAG && !text.contains('\0')
}

/// A whole number, or a text that holds one.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            // Exact in this range, so nothing is lost.
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            let whole = (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64);
            whole
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> Wishes {
        Wishes::parse(body.as_object().unwrap(), Part::Client)
    }

    #[test]
    fn every_problem_is_found() {
        let wishes = parse(json!({
            "name": "_x", "friendlyName": "", "description": 5, "tags": ["a,b"], "locked": null,
            "context": {}, "scope": ["device:*"], "rateLimit": 0,
            "limits": {"prefix": "-", "region": "", "uses": -1, "expiresAt": "soon"},
        }));
        let named: Vec<String> = wishes.problems.iter().map(Problem::message).collect();
        let names = [
            "name",
            "friendlyName",
            "description",
            "tags",
            "locked",
            "context.type",
            "context.ids",
            "scope",
            "rateLimit",
            "limits.prefix",
            "limits.region",
            "limits.uses",
            "limits.expiresAt",
        ];
        assert_eq!(named.len(), names.len(), "{named:?}");
        for (message, name) in named.iter().zip(names) {
            assert!(
                message.starts_with(&format!("Attribute {name} ")),
                "{message}"
            );
        }
    }

    #[test]
    fn null_unsets_three_and_is_wrong_elsewhere() {
        let wishes =
            parse(json!({"description": null, "tags": null, "limits": null, "friendlyName": null}));
        assert_eq!(wishes.problems, []);
        assert_eq!(wishes.change.description, Setting::Unset);
        assert_eq!(wishes.change.tags, Setting::Unset);
        assert_eq!(wishes.change.friendly_name, Setting::Unset);
        assert_eq!(wishes.change.key.limits, Some(KeyLimits::default()));
        for name in ["name", "locked", "context", "scope", "rateLimit"] {
            assert_eq!(parse(json!({name: null})).problems.len(), 1, "{name}");
        }
    }

    #[test]
    fn numbers_may_be_texts() {
        for (value, number) in [
            (json!(600), Some(600)),
            (json!("600"), Some(600)),
            (json!(600.0), Some(600)),
            (json!("-1"), Some(-1)),
            (json!(1.5), None),
            (json!("many"), None),
            (json!(1e300), None),
            (json!(true), None),
        ] {
            assert_eq!(whole_number(&value), number, "{value}");
        }
    }

    #[test]
    fn unknown_and_read_only_attributes_are_ignored() {
        let wishes = parse(json!({"id": 5, "accountId": [], "secret": {}, "colour": null}));
        assert!(wishes.problems.is_empty() && wishes.context.is_none());
    }
}
