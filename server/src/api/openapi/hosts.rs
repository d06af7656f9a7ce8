//! Users' hosts, the work on them, the ways in to them, and the log of sessions (control contract sections 8, 9 and 11
//! to 14).

use utoipa::openapi::path::{Operation, OperationBuilder, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Required,
    ResponseBuilder,
};

use super::{requirement, with_names_of};

mod calls;
mod schemas;

use calls::{CALLS, Call, For};
use schemas::{SCHEMAS, object, reference};

/// This part of the document.
pub(super) fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for call in CALLS {
        let (method, path, ..) = &call;
        paths = paths.path(*path, PathItem::new(method.clone(), operation(&call)));
    }
    let mut components = ComponentsBuilder::new();
    for (name, members) in SCHEMAS {
        components = components.schema(name, object(members));
    }
    let info = InfoBuilder::new()
        .title("Moorline")
        .version(env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn operation(call: &Call) -> Operation {
    let (_, path, who, summary, body, status, answer, errors) = call;
    let mut done = ResponseBuilder::new().description("Done");
    if let Some(schema) = answer {
        let content = ContentBuilder::new().schema(Some(reference(schema)));
        done = done.content("application/json", content.build());
    }
    let mut operation = OperationBuilder::new()
        .summary(Some(*summary))
        .tag("hosts")
        .response(status.to_string(), done.build());
    for (status, meaning) in *errors {
        let refused = ResponseBuilder::new().description(*meaning).build();
        operation = operation.response(status.to_string(), refused);
    }
    if *who != For::Anybody {
        let meaning = match path.contains("/vnc/") {
            true => "No valid token; a cookie counts for our own pages alone",
            false => "No valid token",
        };
        let refused = ResponseBuilder::new().description(meaning).build();
        operation = operation
            .response("401", refused)
            .security(requirement("token"));
    }
    if let Some(schema) = body {
        let content = ContentBuilder::new().schema(Some(reference(schema)));
        let body = RequestBodyBuilder::new()
            .content("application/json", content.build())
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    operation = with_names_of(path, operation);
    operation.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there() {
        let text = document().to_json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let schemas = json["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.len(), SCHEMAS.len());
        let mut named = 0;
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
            named += 1;
        }
        assert!(named > 20);
        let paths = json["paths"].as_object().unwrap();
        for (_, path, ..) in CALLS {
            assert!(paths.contains_key(path), "{path}");
        }
        assert!(paths["/v1/admin/hosts/{host}"]["delete"].is_object());
        assert!(paths["/v1/admin/hosts/{host}"]["get"].is_object());
    }
}
