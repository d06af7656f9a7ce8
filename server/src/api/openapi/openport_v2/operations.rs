//! The operations, in the order of the contract, and what their bodies hold.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{ObjectBuilder, Required, Schema, Type};

/// What an operation takes and gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Query of a page, a page of that schema.
    List(&'static str),
    /// One object of that schema.
    One(&'static str),
    /// 201 with an object of that schema.
    Made(&'static str),
    /// 204.
    Nothing,
    /// Any JSON.
    Document,
}

/// A field of a body: name, whether it is required, schema.
pub(super) type Field = (&'static str, Required, fn() -> Schema);

pub(super) struct Described {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// The scope of the token; `None` needs no token.
    pub(super) scope: Option<&'static str>,
    pub(super) body: &'static [Field],
    pub(super) shape: Shape,
}

const KEY: &str = "openport.Key";

const SETTINGS: &str = "openport.Settings";

const READ: Option<&str> = Some("device:read");

const MODIFY: Option<&str> = Some("device:modify");

const fn described(
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    scope: Option<&'static str>,
    shape: Shape,
) -> Described {
    Described {
        method,
        path,
        id,
        summary,
        scope,
        body: &[],
        shape,
    }
}

pub(super) const OPERATIONS: [Described; 13] = [
    described(
        HttpMethod::Get,
        "sessions/",
        "sessions_list",
        "Sessions that are up now",
        READ,
        Shape::List("openport.SessionPage"),
    ),
    described(
        HttpMethod::Get,
        "keys/",
        "keys_list",
        "Keys, oldest first",
        READ,
        Shape::List("openport.KeyPage"),
    ),
    Described {
        body: &[
            ("public_key", Required::True, key_text),
            ("name", Required::False, name_text),
        ],
        ..described(
            HttpMethod::Post,
            "keys/",
            "keys_create",
            "Registers a key to the account; without a name it takes the comment of the key, else `key<id>`",
            Some("device:create"),
            Shape::Made(KEY),
        )
    },
    described(
        HttpMethod::Get,
        "keys/{id}/",
        "keys_read",
        "One key",
        READ,
        Shape::One(KEY),
    ),
    Described {
        body: &[
            ("name", Required::True, name_text),
            ("public_key", Required::False, key_text),
        ],
        ..described(
            HttpMethod::Put,
            "keys/{id}/",
            "keys_update",
            "Renames a key; a new public key replaces the old and cuts its tunnels",
            MODIFY,
            Shape::One(KEY),
        )
    },
    Described {
        body: &[
            ("name", Required::False, name_text),
            ("public_key", Required::False, key_text),
        ],
        ..described(
            HttpMethod::Patch,
            "keys/{id}/",
            "keys_partial_update",
            "The same, with either",
            MODIFY,
            Shape::One(KEY),
        )
    },
    described(
        HttpMethod::Delete,
        "keys/{id}/",
        "keys_delete",
        "Removes a key; its name, ports and public key are free again",
        Some("device:delete"),
        Shape::Nothing,
    ),
    described(
        HttpMethod::Get,
        "keys/{id}/settings/",
        "key_settings_read",
        "Settings of a key",
        MODIFY,
        Shape::One(SETTINGS),
    ),
    Described {
        body: &[
            ("ip_link_protection", Required::True, yes_or_no),
            ("max_connections_per_minute", Required::True, limit),
            ("state", Required::True, state),
        ],
        ..described(
            HttpMethod::Put,
            "keys/{id}/settings/",
            "key_settings_update",
            "Sets all settings; leaving `active` cuts the tunnels",
            MODIFY,
            Shape::One(SETTINGS),
        )
    },
    Described {
        body: &[
            ("ip_link_protection", Required::False, yes_or_no),
            ("max_connections_per_minute", Required::False, limit),
            ("state", Required::False, state),
        ],
        ..described(
            HttpMethod::Patch,
            "keys/{id}/settings/",
            "key_settings_partial_update",
            "Sets some of them",
            MODIFY,
            Shape::One(SETTINGS),
        )
    },
    described(
        HttpMethod::Get,
        "nodes/",
        "nodes_list",
        "Nodes, which are the regions",
        None,
        Shape::List("openport.NodePage"),
    ),
    described(
        HttpMethod::Get,
        "openforiplinkclicks/",
        "openforiplinkclicks_list",
        "Visitors that opened a port for their address, oldest first",
        READ,
        Shape::List("openport.LinkClickPage"),
    ),
    described(
        HttpMethod::Get,
        "specs/",
        "specs_read",
        "This document",
        None,
        Shape::Document,
    ),
];

fn key_text() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.description(Some("One authorized_keys line, `type base64 comment`"))
        .into()
}

fn name_text() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(64))
        .description(Some("Unique in the account without case"))
        .into()
}

fn yes_or_no() -> Schema {
    ObjectBuilder::new().schema_type(Type::Boolean).into()
}

fn limit() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(10_000))
        .description(Some("0 is no limit"))
        .into()
}

fn state() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["active", "blocked", "inactive"]))
        .into()
}
