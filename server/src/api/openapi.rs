//! `/openapi.json`: the calls this server has, for people and for tools that make clients; `/docs` shows it as pages.
//!
//! One module describes one surface.

use std::sync::OnceLock;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Required,
    SecurityRequirement, Type,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

mod apiclients;
mod control;
mod hosts;
mod names;
mod openport_v1;
pub(super) mod openport_v2;
mod operators;
mod provisioning;

/// Name, whether it is required, meaning.
type Parameter = (&'static str, bool, &'static str);

/// The document.
#[must_use]
pub fn text() -> String {
    // The document consists of texts and numbers, which always serialise.
    openapi().to_json().unwrap_or_default()
}

/// Serves the document.
pub(super) async fn document() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, TEXT.get_or_init(text).as_str())
}

/// The document as pages to read and to try, with everything they load.
pub(super) fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json"))
        .into()
}

fn openapi() -> OpenApi {
    let mut paths = PathsBuilder::new();
    // Of two descriptions of one call the first counts.
    for part in [
        control::paths,
        provisioning::paths,
        operators::paths,
        openport_v1::paths,
        names::paths,
    ] {
        paths = part(paths);
    }
    let schemes = control::schemas(ComponentsBuilder::new())
        .security_scheme(
            "api_key",
            SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("api_key"))),
        )
        .security_scheme(
            "token",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .bearer_format("JWT")
                    .build(),
            ),
        );
    let info = InfoBuilder::new()
        .title("Moorline")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Enrols devices and reaches them."));
    let mut document = OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(schemes.build()))
        .build();
    for part in [apiclients::part()].into_iter().flatten() {
        document.merge(part);
    }
    document.merge(openport_v2::document());
    document.merge(hosts::document());
    document
}

fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>(scheme, [])
}

/// With the names that `path` has in braces.
fn with_names_of(path: &str, operation: OperationBuilder) -> OperationBuilder {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{'));
    names.fold(operation, |operation, name| {
        let name = name.trim_end_matches('}');
        operation.parameter(text_in(ParameterIn::Path, name, Required::True))
    })
}

/// With a parameter of the query.
fn with_query(
    operation: OperationBuilder,
    (name, meaning): (&str, &str),
    required: Required,
) -> OperationBuilder {
    let parameter = text_in(ParameterIn::Query, name, required);
    operation.parameter(parameter.description(Some(meaning)))
}

fn text_in(place: ParameterIn, name: &str, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_call() {
        let json: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let paths = json["paths"].as_object().unwrap();
        for (call, _, _) in provisioning::CALLS {
            let item = &paths[&format!("/init/api/{call}")];
            assert!(
                item["get"].is_object() && item["post"].is_object(),
                "{call}"
            );
        }
        let devices = &paths["/v1/admin/devices/{device}"];
        assert!(devices["get"].is_object() && devices["patch"].is_object());
        assert_eq!(devices["get"]["parameters"][0]["name"], "device");
        for (path, ..) in openport_v1::CALLS {
            assert!(paths[path]["post"].is_object(), "{path}");
        }
        for (path, ..) in openport_v1::PAGES {
            assert!(paths[path]["get"].is_object(), "{path}");
        }
        assert!(paths["/api/v2/keys/{id}/"]["patch"].is_object());
        assert!(json["components"]["securitySchemes"]["openport_token"].is_object());
        assert!(paths["/v3/apiclients"]["post"].is_object());
        assert_eq!(
            json["components"]["securitySchemes"]["key"]["scheme"],
            "basic"
        );
        assert!(json["openapi"].as_str().unwrap().starts_with('3'));
    }
}
