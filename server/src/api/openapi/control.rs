//! The control surface: calls with their bodies, answers and refusals (`contract/control.md`).

use utoipa::openapi::path::{Operation, OperationBuilder, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, SchemaFormat};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, ObjectBuilder, PathsBuilder, Ref, RefOr, Required,
    ResponseBuilder, Schema, Type,
};

use super::{requirement, with_names_of, with_query};

mod calls;
mod schemas;

/// What a member of an object holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Uuid,
    /// RFC 3339.
    Time,
    Integer,
    Decimal,
    Flag,
    /// Any object.
    Object,
    /// The schema of this name.
    Of(&'static str),
    /// A list of it.
    List(&'static str),
}

/// Whether a member is always there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    MayLack,
}

/// Name, what it holds, whether it is always there, meaning.
type Member = (&'static str, Kind, Presence, &'static str);

/// Adds the calls.
pub(super) fn paths(mut paths: PathsBuilder) -> PathsBuilder {
    for call in calls::ALL {
        let (method, path, ..) = call;
        paths = paths.path(*path, PathItem::new(method.clone(), operation(call)));
    }
    paths
}

/// Adds what they carry.
pub(super) fn schemas(mut components: ComponentsBuilder) -> ComponentsBuilder {
    for (name, members) in schemas::ALL {
        let mut object = ObjectBuilder::new();
        for (member, kind, presence, meaning) in *members {
            object = object.property(*member, schema(*kind, meaning));
            if *presence == Presence::Always {
                object = object.required(*member);
            }
        }
        components = components.schema(*name, object.build());
    }
    components
}

fn operation((method, path, summary, body, (status, shown), refusals): &calls::Row) -> Operation {
    let is_open = path.ends_with("/login") || !path.starts_with("/v1/");
    let mut operation = OperationBuilder::new()
        .summary(Some(*summary))
        .tag("control");
    operation = with_names_of(path, operation);
    for (name, required, meaning) in calls::query(path) {
        let required = if *required {
            Required::True
        } else {
            Required::False
        };
        operation = with_query(operation, (name, meaning), required);
    }
    if let Some(body) = body {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(*body)));
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", content.build())
                .build(),
        ));
    }
    operation = operation.response(status.to_string(), answer("Done", *shown).build());
    let of_every_call: &[u16] = if is_open { &[] } else { &[401, 403] };
    for status in of_every_call.iter().chain(*refusals) {
        let meaning = calls::conflict(method, path)
            .filter(|_| *status == 409)
            .unwrap_or(meaning(*status));
        let refusal = answer(meaning, Some("Error"));
        operation = operation.response(status.to_string(), refusal.build());
    }
    if !is_open {
        operation = operation.security(requirement("token"));
    }
    operation.build()
}

fn answer(description: &str, name: Option<&str>) -> ResponseBuilder {
    let response = ResponseBuilder::new().description(description);
    match name {
        None => response,
        Some(name) => {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name)));
            response.content("application/json", content.build())
        }
    }
}

const fn meaning(status: u16) -> &'static str {
    match status {
        400 => {
            "The request says something wrong, which `error` names; `<field> is not valid` among others"
        }
        401 => "No valid token, or a wrong password",
        403 => "Not active, or not allowed",
        404 => "Not there, or not in the account",
        409 => "At odds with what is there",
        429 => "Too many wrong passwords, or too many at once; see `Retry-After`",
        _ => "Not done",
    }
}

fn schema(kind: Kind, meaning: &str) -> RefOr<Schema> {
    let object = |kind: Type, format: Option<&str>| {
        let mut object = ObjectBuilder::new()
            .schema_type(kind)
            .format(format.map(|format| SchemaFormat::Custom(format.to_owned())));
        if !meaning.is_empty() {
            object = object.description(Some(meaning));
        }
        RefOr::T(Schema::Object(object.build()))
    };
    match kind {
        Kind::Text => object(Type::String, None),
        Kind::Uuid => object(Type::String, Some("uuid")),
        Kind::Time => object(Type::String, Some("date-time")),
        Kind::Integer => object(Type::Integer, Some("int64")),
        Kind::Decimal => object(Type::Number, Some("double")),
        Kind::Flag => object(Type::Boolean, None),
        Kind::Object => object(Type::Object, None),
        Kind::Of(name) => RefOr::Ref(Ref::from_schema_name(name)),
        Kind::List(name) => {
            let list = ArrayBuilder::new().items(Ref::from_schema_name(name));
            RefOr::T(Schema::Array(list.build()))
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::HttpMethod;

    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there() {
        let known: Vec<&str> = schemas::ALL.iter().map(|(name, _)| *name).collect();
        let mut named: Vec<&str> = vec!["Error"];
        for (_, _, _, body, (_, answer), _) in calls::ALL {
            named.extend(body.iter().chain(answer));
        }
        for (_, members) in schemas::ALL {
            for (_, kind, _, _) in *members {
                if let Kind::Of(name) | Kind::List(name) = kind {
                    named.push(name);
                }
            }
        }
        assert!(named.len() > 30, "{}", named.len());
        for name in &named {
            assert!(known.contains(name), "{name}");
        }
        for name in known {
            assert!(named.contains(&name), "{name} is of no use");
        }
    }

    #[test]
    fn the_document_has_the_calls_with_their_schemas() {
        let text = super::super::text();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (method, path, summary, _, (status, answer), _) in calls::ALL {
            let method = match method {
                HttpMethod::Get => "get",
                HttpMethod::Post => "post",
                HttpMethod::Put => "put",
                HttpMethod::Patch => "patch",
                _ => "delete",
            };
            let operation = &json["paths"][path][method];
            assert_eq!(operation["summary"], *summary, "{method} {path}");
            let told = &operation["responses"][status.to_string()];
            let shown = &told["content"]["application/json"]["schema"]["$ref"];
            let expected = answer.map(|name| format!("#/components/schemas/{name}"));
            assert_eq!(shown.as_str(), expected.as_deref(), "{path}");
        }
        let told = |path: &str, method: &str, status: &str| {
            let answer = &json["paths"][path][method]["responses"][status];
            answer["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        for (path, method, status, text) in [
            ("/v1/admin/users", "post", "409", "`too many users`"),
            ("/v1/admin/users", "post", "429", "too many at once"),
            (
                "/v1/admin/users/{user}/expiry",
                "put",
                "409",
                "the last admin",
            ),
            (
                "/v1/admin/egress-ips",
                "post",
                "409",
                "`too many egress ips`",
            ),
            (
                "/v1/admin/egress-ips",
                "post",
                "400",
                "`<field> is not valid`",
            ),
            ("/v1/admin/hosts", "post", "409", "`too many hosts`"),
            ("/v1/admin/hosts", "post", "429", "at once"),
            (
                "/v1/user/hosts/{host}/vnc/{path}",
                "get",
                "303",
                "without the token",
            ),
            (
                "/v1/admin/hosts/{host}/vnc/{path}",
                "get",
                "403",
                "`recording is required",
            ),
            (
                "/v1/admin/hosts/{host}/vnc/{path}",
                "post",
                "403",
                "service worker",
            ),
        ] {
            let found = told(path, method, status);
            assert!(found.contains(text), "{method} {path} {status}: {found}");
        }
    }
}
