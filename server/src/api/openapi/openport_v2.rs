//! The OpenAPI document of `/api/v2/` (openport contract part 1), also a part of `/openapi.json`.

use std::sync::OnceLock;

use utoipa::PartialSchema;
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
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

mod operations;

use operations::{Described, Field, OPERATIONS, Shape};

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
