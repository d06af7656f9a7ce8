//! The Openport client protocol and the pages that links lead to (`contract/openport.md` sections 4 to 8).

use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, PathsBuilder, Required, ResponseBuilder, Type,
};

use super::with_names_of;

/// Name, type, meaning.
type Field = (&'static str, Type, &'static str);

/// Path, summary, fields of the request, fields of a good answer.
type Call = (
    &'static str,
    &'static str,
    &'static [Field],
    &'static [Field],
);

/// What a client of a device calls.
pub(super) const CALLS: [Call; 3] = [
    (
        "/api/v1/request-port",
        "Gives a client its public port; a refusal is 200 with `error`",
        &[
            (
                "public_key",
                Type::String,
                "OpenSSH public key of the device",
            ),
            (
                "ws_key_token",
                Type::String,
                "Key binding token, for a device without SSH",
            ),
            (
                "unique_client_id",
                Type::String,
                "Id of that device, 1 to 64 characters",
            ),
            ("local_port", Type::Integer, "Port on the device"),
            (
                "request_port",
                Type::Integer,
                "Port of the earlier session, or the port to reach",
            ),
            (
                "restart_session_token",
                Type::String,
                "Token of the earlier session",
            ),
            (
                "request_server",
                Type::String,
                "Public DNS name of the wanted node",
            ),
            ("http_forward", Type::Boolean, "HTTP forward"),
            (
                "forward_tunnel",
                Type::Boolean,
                "Way to a public port of another device",
            ),
            (
                "automatic_restart",
                Type::Boolean,
                "The client restarts by itself",
            ),
            (
                "ip_link_protection",
                Type::Boolean,
                "Visitors have to click the link first",
            ),
            ("client_version", Type::String, "Recorded"),
            ("platform", Type::String, "Recorded"),
        ],
        &[
            ("session_token", Type::String, "For `restart_session_token`"),
            ("server_ip", Type::String, "Public DNS name of the node"),
            ("server_port", Type::Integer, "Public port"),
            ("fallback_ssh_server_ip", Type::String, "Second SSH address"),
            ("fallback_ssh_server_port", Type::Integer, "Its port"),
            ("message", Type::String, "For a person"),
            (
                "account_id",
                Type::Integer,
                "Number of the account, 0 for none",
            ),
            ("key_id", Type::Integer, "Number of the device"),
            ("session_end_time", Type::Integer, "Unix seconds, or null"),
            ("session_max_bytes", Type::Integer, "-1: no limit"),
            ("session_id", Type::Integer, "Number of the forward"),
            ("http_forward_address", Type::String, "HTTP name, or null"),
            (
                "open_port_for_ip_link",
                Type::String,
                "Link for visitors, or null",
            ),
        ],
    ),
    (
        "/api/v1/kill-session",
        "Ends a session; its client is refused when it restarts by itself",
        &[
            ("port", Type::Integer, "Public port"),
            ("session_token", Type::String, "Token of the session"),
        ],
        &[("status", Type::String, "`ok`")],
    ),
    (
        "/linkKey",
        "Registers a key to the account of a key binding token",
        &[
            ("public_key", Type::String, "OpenSSH public key"),
            ("key_binding_token", Type::String, "32 letters and digits"),
            ("key_name", Type::String, "Name of the device, may be empty"),
            ("client_version", Type::String, "Recorded"),
            ("platform", Type::String, "Recorded"),
        ],
        &[
            ("status", Type::String, "`ok` or `error`"),
            ("error", Type::String, "Why not"),
        ],
    ),
];

/// Path, summary, status of success.
pub(super) const PAGES: [(&str, &str, &str); 2] = [
    (
        "/l/{port}/{token}",
        "Opens a public port for the visitor's address for 24 hours",
        "200",
    ),
    (
        "/r/{token}/{local_port}",
        "Leads to the session that is up for that port of the device",
        "302",
    ),
];

/// Adds the paths of this surface.
pub(super) fn paths(mut paths: PathsBuilder) -> PathsBuilder {
    for (path, summary, asked, answered) in CALLS {
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/x-www-form-urlencoded", content(asked))
            .content("application/json", content(asked))
            .build();
        let done = ResponseBuilder::new()
            .description("Done, or refused with `error`")
            .content("application/json", content(answered))
            .build();
        let limited = ResponseBuilder::new()
            .description("Too many requests")
            .build();
        let mut operation = OperationBuilder::new()
            .summary(Some(summary))
            .tag("openport clients")
            .request_body(Some(body))
            .response("200", done)
            .response("429", limited);
        if path.ends_with("kill-session") {
            let missing = ResponseBuilder::new()
                .description("Port and token do not match")
                .build();
            operation = operation.response("404", missing);
        }
        paths = paths.path(path, PathItem::new(HttpMethod::Post, operation.build()));
    }
    for (path, summary, status) in PAGES {
        let mut operation = OperationBuilder::new()
            .summary(Some(summary))
            .tag("openport clients")
            .response(status, ResponseBuilder::new().description("Done").build());
        for refused in ["403", "404", "429"] {
            let page = ResponseBuilder::new().description("A page that says why not");
            operation = operation.response(refused, page.build());
        }
        operation = with_names_of(path, operation);
        paths = paths.path(path, PathItem::new(HttpMethod::Get, operation.build()));
    }
    paths
}

fn content(fields: &[Field]) -> utoipa::openapi::Content {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (name, kind, meaning) in fields {
        let nullable = meaning.ends_with("or null");
        let kind = if nullable {
            SchemaType::from_iter([kind.clone(), Type::Null])
        } else {
            SchemaType::new(kind.clone())
        };
        let field = ObjectBuilder::new()
            .schema_type(kind)
            .description(Some(*meaning));
        object = object.property(*name, field);
    }
    ContentBuilder::new().schema(Some(object.build())).build()
}
