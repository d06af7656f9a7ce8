//! Attributes of API clients and keys as they are typed, and as the server takes them.

use std::time::SystemTime;

use moorline_protocol::apiclients::LimitsObject;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::instant;

/// What an attribute is typed as to be unset.
const NONE: &str = "none";

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Creation {
    /// Name, unique in the account; without it one is made of the friendly name
    #[arg(long)]
    name: Option<String>,
    /// Make it locked
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    key: KeyArguments,
}

/// Arguments of `update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Update {
    /// Name or id
    pub(super) client: String,
    /// New name
    #[arg(long)]
    name: Option<String>,
    /// Refuse changes and removal from now on
    #[arg(long, conflicts_with = "unlock")]
    lock: bool,
    /// Allow changes and removal again; of a locked API client nothing else can be changed at once
    #[arg(long)]
    unlock: bool,
    #[command(flatten)]
    attributes: ClientArguments,
}

/// What people read of an API client.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ClientArguments {
    /// Name for people; "none" is the name again
    #[arg(long, value_name = "TEXT")]
    friendly_name: Option<String>,
    /// What it is for; "none" takes it away
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Tags, with commas between; "none" takes them away
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
}

/// What a key may do.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct KeyArguments {
    /// What it may do, such as device:create,device:read
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    scope: Option<Vec<String>>,
    /// It reaches these devices only, by name or UUID, with commas between; "all" is the whole account
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    devices: Option<Vec<String>>,
    /// Calls per minute, -1 without limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate_limit: Option<i64>,
    /// Take all limits away; those named beside are set
    #[arg(long)]
    no_limits: bool,
    /// Names of devices it makes begin so
    #[arg(long)]
    prefix: Option<String>,
    /// It makes devices in this region only
    #[arg(long)]
    region: Option<String>,
    /// How many devices it may still make
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    uses: Option<i64>,
    /// Until when: 2027-01-31T12:00:00Z, or a time from now such as 30d
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

impl Creation {
    /// As the server takes it.
    pub(super) fn into_body(self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(name) = self.name {
            body.insert("name".into(), name.into());
        }
        if self.locked {
            body.insert("locked".into(), true.into());
        }
        self.client.write(&mut body);
        self.key.write(&mut body, None)?;
        Ok(body)
    }
}

impl Update {
    /// Which API client, and what changes, as the server takes it.
    pub(super) fn into_body(self) -> Result<(String, Map<String, Value>), Failure> {
        let mut body = Map::new();
        if let Some(name) = self.name {
            body.insert("name".into(), name.into());
        }
        if self.lock || self.unlock {
            body.insert("locked".into(), self.lock.into());
        }
        self.attributes.write(&mut body);
        Ok((self.client, body))
    }
}

impl ClientArguments {
    fn write(self, body: &mut Map<String, Value>) {
        let texts = [
            ("friendlyName", self.friendly_name),
            ("description", self.description),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                let value = (text != NONE).then_some(text);
                body.insert(name.into(), json!(value));
            }
        }
        if let Some(tags) = self.tags {
            let list: Vec<&str> = tags.split(',').map(str::trim).collect();
            let value = (tags != NONE).then_some(list);
            body.insert("tags".into(), json!(value));
        }
    }
}

impl KeyArguments {
    /// Whether some limits change and the others stay: they are one attribute at the server.
    pub(super) const fn keeps_limits(&self) -> bool {
        self.names_limits() && !self.no_limits
    }

    const fn names_limits(&self) -> bool {
        self.prefix.is_some()
            || self.region.is_some()
            || self.uses.is_some()
            || self.expires.is_some()
    }

    /// Writes what is named; of the limits, `present` stays where nothing else is named.
    pub(super) fn write(
        self,
        body: &mut Map<String, Value>,
        present: Option<LimitsObject>,
    ) -> Result<(), Failure> {
        let names_limits = self.names_limits();
        if let Some(scope) = self.scope {
            body.insert("scope".into(), json!(scope));
        }
        if let Some(devices) = self.devices {
            let context = match devices.as_slice() {
                [all] if all == "all" => json!({"type": "account", "ids": ["_this_"]}),
                _ => json!({"type": "device", "ids": devices}),
            };
            body.insert("context".into(), context);
        }
        if let Some(rate_limit) = self.rate_limit {
            body.insert("rateLimit".into(), rate_limit.into());
        }
        if names_limits {
            let expires_at = self
                .expires
                .map(|when| instant::parse_when(&when, SystemTime::now()))
                .transpose()?;
            let present = present.unwrap_or_default();
            let limits = LimitsObject {
                prefix: self.prefix.or(present.prefix),
                region: self.region.or(present.region),
                uses: self.uses.or(present.uses),
                expires_at: expires_at.or(present.expires_at),
            };
            body.insert("limits".into(), json!(limits));
        } else if self.no_limits {
            body.insert("limits".into(), Value::Null);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_unsets_and_what_is_not_named_is_absent() {
        let mut body = Map::new();
        ClientArguments {
            friendly_name: Some("none".into()),
            description: None,
            tags: Some("a, b".into()),
        }
        .write(&mut body);
        assert_eq!(
            Value::Object(body),
            json!({"friendlyName": null, "tags": ["a", "b"]})
        );
    }

    #[test]
    fn limits_that_are_not_named_stay() {
        let named = KeyArguments {
            uses: Some(5),
            ..KeyArguments::default()
        };
        assert!(named.keeps_limits());
        let present = LimitsObject {
            prefix: Some("cam".into()),
            uses: Some(1),
            ..LimitsObject::default()
        };
        let mut body = Map::new();
        named.write(&mut body, Some(present)).unwrap();
        assert_eq!(
            Value::Object(body),
            json!({"limits": {"prefix": "cam", "uses": 5}})
        );
        let mut body = Map::new();
        let none = KeyArguments {
            no_limits: true,
            devices: Some(vec!["all".into()]),
            ..KeyArguments::default()
        };
        none.write(&mut body, None).unwrap();
        let account = json!({"type": "account", "ids": ["_this_"]});
        assert_eq!(
            Value::Object(body),
            json!({"limits": null, "context": account})
        );
    }
}
