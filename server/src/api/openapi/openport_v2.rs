//! The OpenAPI document of `/api/v2/` (openport contract part 1), also a part of `/openapi.json`.

use std::sync::OnceLock;

use utoipa::PartialSchema;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ArrayBuilder, Components, ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder,
    OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    Type,
};

use crate::api::openport::v2::ROOT;
use crate::api::openport::v2::clicks::ClickItem;
use crate::api::openport::v2::keys::KeyItem;
use crate::api::openport::v2::nodes::NodeItem;
use crate::api::openport::v2::page::Page;
use crate::api::openport::v2::sessions::SessionItem;
use crate::api::openport::v2::settings::Settings;

/// What an operation takes and gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
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
type Field = (&'static str, Required, fn() -> Schema);

struct Described {
    method: HttpMethod,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// The scope of the token; `None` needs no token.
    scope: Option<&'static str>,
    body: &'static [Field],
    shape: Shape,
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

const OPERATIONS: [Described; 13] = [
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

/// The document as text.
pub(in crate::api) fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    // The document consists of texts and numbers, which always serialise.
    TEXT.get_or_init(|| document().to_json().unwrap_or_default())
}

/// The document.
pub(super) fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for described in &OPERATIONS {
        let path = format!("{ROOT}{}", described.path);
        let item = PathItem::new(described.method.clone(), operation(described));
        paths = paths.path(path, item);
    }
    let info = InfoBuilder::new()
        .title("Moorline, Openport v2")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Keys (devices), sessions and nodes for scripts."));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components()))
        .build()
}

fn components() -> Components {
    let detail = ObjectBuilder::new()
        .property("detail", ObjectBuilder::new().schema_type(Type::String))
        .required("detail");
    let texts = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
    let fields = ObjectBuilder::new()
        .description(Some("Texts by field, or `detail`"))
        .additional_properties(Some(Schema::from(texts.build())));
    ComponentsBuilder::new()
        .schema("openport.Key", KeyItem::schema())
        .schema("openport.KeyPage", Page::<KeyItem>::schema())
        .schema("openport.Settings", Settings::schema())
        .schema("openport.Session", SessionItem::schema())
        .schema("openport.SessionPage", Page::<SessionItem>::schema())
        .schema("openport.Node", NodeItem::schema())
        .schema("openport.NodePage", Page::<NodeItem>::schema())
        .schema("openport.LinkClick", ClickItem::schema())
        .schema("openport.LinkClickPage", Page::<ClickItem>::schema())
        .schema("openport.Detail", detail)
        .schema("openport.FieldErrors", fields)
        .security_scheme(
            "openport_token",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(
                "token",
                "Secret of an API key",
            ))),
        )
        .build()
}

fn operation(described: &Described) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(described.id))
        .summary(Some(described.summary))
        .tag("openport");
    if described.path.contains("{id}") {
        operation = operation.parameter(parameter("id", ParameterIn::Path, "Number of the key"));
    }
    let (status, done) = match described.shape {
        Shape::List(schema) => {
            operation = operation
                .parameter(parameter(
                    "limit",
                    ParameterIn::Query,
                    "At most so many, 1 to 1000; 100 unless given",
                ))
                .parameter(parameter(
                    "offset",
                    ParameterIn::Query,
                    "How many to leave out at the start",
                ));
            ("200", response("A part of the list", Some(schema)))
        }
        Shape::One(schema) => ("200", response("Done", Some(schema))),
        Shape::Made(schema) => ("201", response("Made", Some(schema))),
        Shape::Nothing => ("204", response("Removed", None)),
        Shape::Document => ("200", response("OpenAPI 3", None)),
    };
    operation = operation.response(status, done);
    if !described.body.is_empty() {
        operation = operation
            .request_body(Some(body(described.body)))
            .response(
                "400",
                response("Bad fields, all of them", Some("openport.FieldErrors")),
            )
            .response("413", detail("Body of more than 64 KiB"))
            .response("415", detail("Body of another media type"));
    }
    let Some(scope) = described.scope else {
        return operation.build();
    };
    if described.path.contains("{id}") {
        operation = operation.response("404", detail("No such key that the token may see"));
    }
    operation
        .description(Some(format!("Scope `{scope}`")))
        .security(SecurityRequirement::new::<_, [&str; 0], &str>(
            "openport_token",
            [],
        ))
        .response("401", detail("No token, or an unknown one"))
        .response("403", detail("Scope missing, or account inactive"))
        .response("429", detail("Too many calls, see `Retry-After`"))
        .build()
}

fn parameter(name: &str, place: ParameterIn, meaning: &str) -> ParameterBuilder {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(meaning))
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
}

fn body(fields: &[Field]) -> RequestBody {
    let mut object = ObjectBuilder::new();
    for (name, required, schema) in fields {
        object = object.property(*name, schema());
        if *required == Required::True {
            object = object.required(*name);
        }
    }
    let schema = Schema::from(object.build());
    let media = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ];
    let body = media
        .into_iter()
        .fold(RequestBodyBuilder::new(), |body, kind| {
            let content = ContentBuilder::new().schema(Some(schema.clone()));
            body.content(kind, content.build())
        });
    body.required(Some(Required::True)).build()
}

fn detail(meaning: &str) -> Response {
    response(meaning, Some("openport.Detail"))
}

fn response(meaning: &str, schema: Option<&str>) -> Response {
    let response = ResponseBuilder::new().description(meaning);
    match schema {
        Some(name) => {
            let schema: RefOr<Schema> = Ref::from_schema_name(name).into();
            let content = ContentBuilder::new().schema(Some(schema));
            response.content("application/json", content.build())
        }
        None => response,
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let json: serde_json::Value = serde_json::from_str(text()).unwrap();
        assert!(json["openapi"].as_str().unwrap().starts_with('3'));
        let schemas = json["components"]["schemas"].as_object().unwrap();
        let mut seen = 0;
        for part in text().split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
            seen += 1;
        }
        assert!(seen > 40, "{seen}");
        let paths = json["paths"].as_object().unwrap();
        let methods: usize = paths
            .values()
            .map(|item| item.as_object().unwrap().len())
            .sum();
        assert_eq!((paths.len(), methods), (7, OPERATIONS.len()));
    }
}
