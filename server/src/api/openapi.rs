//! `/openapi.json`: the calls this server has, for people and for tools that make clients.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder,
    PathsBuilder, Required, ResponseBuilder, SecurityRequirement, Type,
};

mod hosts;

/// Name, whether it is required, meaning.
type Parameter = (&'static str, bool, &'static str);

const CLIENT_ID: Parameter = (
    "client_id",
    true,
    "UUID of the device; `host_uuid` means the same",
);
const PUBLIC_KEY: Parameter = ("public_key", true, "OpenSSH public key of the device");

/// `/init/api/<call>`: summary and parameters beside the credential.
const PROVISIONING: [(&str, &str, &[Parameter]); 10] = [
    (
        "create_new_client",
        "Makes a device, or gives the one that has the public key already",
        &[
            ("region", false, "Node the device connects to"),
            (
                "type",
                false,
                "`serial` (default) or `random`: how a name is made",
            ),
            ("prefix", false, "Put before the serial number"),
            ("name", false, "Name chosen by the caller"),
            ("fwport", false, "Port on the device, 22 unless given"),
            ("username", false, "Login name on the device"),
            (
                "public_key",
                false,
                "OpenSSH public key; makes the call idempotent",
            ),
            ("hostname", false, "What the device calls itself"),
            ("hardware", false, "Short inventory, a JSON object"),
        ],
    ),
    (
        "get_client_script",
        "The script that holds the device's tunnel",
        &[CLIENT_ID],
    ),
    (
        "device_list",
        "The devices the key sees, oldest first",
        &[
            ("prefix", false, "Only names that begin so"),
            ("limit", false, "At most so many, 1 to 10000"),
            ("offset", false, "How many to leave out at the start"),
        ],
    ),
    ("delete_client", "Removes a device", &[CLIENT_ID]),
    (
        "connect",
        "Wants the tunnel open and waits up to 10 s for it",
        &[CLIENT_ID],
    ),
    (
        "disconnect",
        "Wants the tunnel closed and cuts it",
        &[CLIENT_ID],
    ),
    ("client_status", "Whether the device answers", &[CLIENT_ID]),
    (
        "set_allow_clientless",
        "Whether the tunnel of a silent device is kept",
        &[CLIENT_ID, ("allow", true, "true or false")],
    ),
    (
        "upload_public_key",
        "Sets or replaces the device's key",
        &[CLIENT_ID, PUBLIC_KEY],
    ),
    (
        "upgrade_client_script",
        "The script once more, for the quadruple `dbid`, `host_uuid`, `ports_id`, `user_id`",
        &[
            ("dbid", true, "Secret of the device"),
            ("host_uuid", true, "UUID of the device"),
            ("ports_id", true, "Number of a forward of the device"),
            ("user_id", true, "Number of its account"),
        ],
    ),
];

/// Method, path, summary, status of success.
const OPERATORS: [(HttpMethod, &str, &str, u16); 19] = [
    (
        HttpMethod::Post,
        "/v1/auth/login",
        "A token for `username` (or `short_id`) and `password`",
        200,
    ),
    (HttpMethod::Post, "/v1/admin/login", "The same", 200),
    (
        HttpMethod::Get,
        "/v1/gateway",
        "Where the SSH gateway is, and its host key",
        200,
    ),
    (HttpMethod::Get, "/v1/user/ssh-keys", "Own SSH keys", 200),
    (
        HttpMethod::Post,
        "/v1/user/ssh-keys",
        "Adds an own SSH key",
        201,
    ),
    (
        HttpMethod::Delete,
        "/v1/user/ssh-keys/{key}",
        "Removes an own SSH key",
        204,
    ),
    (
        HttpMethod::Get,
        "/v1/admin/users/{user}/ssh-keys",
        "SSH keys of a user",
        200,
    ),
    (
        HttpMethod::Post,
        "/v1/admin/users/{user}/ssh-keys",
        "Adds an SSH key of a user",
        201,
    ),
    (
        HttpMethod::Delete,
        "/v1/admin/users/{user}/ssh-keys/{key}",
        "Removes an SSH key of a user",
        204,
    ),
    (
        HttpMethod::Get,
        "/v1/admin/devices",
        "Devices; `prefix`, `limit`, `offset` cut the list",
        200,
    ),
    (
        HttpMethod::Get,
        "/v1/admin/devices/{device}",
        "One device, by name or UUID",
        200,
    ),
    (
        HttpMethod::Patch,
        "/v1/admin/devices/{device}",
        "Changes name, state or limits of a device",
        200,
    ),
    (
        HttpMethod::Delete,
        "/v1/admin/devices/{device}",
        "Removes a device",
        204,
    ),
    (
        HttpMethod::Get,
        "/v1/admin/api-keys",
        "API keys, without their secrets",
        200,
    ),
    (
        HttpMethod::Post,
        "/v1/admin/api-keys",
        "Makes an API key; its secret is shown this once",
        201,
    ),
    (
        HttpMethod::Delete,
        "/v1/admin/api-keys/{key}",
        "Revokes an API key, by id or name",
        204,
    ),
    (
        HttpMethod::Get,
        "/healthz",
        "Whether the server can work",
        200,
    ),
    (HttpMethod::Get, "/metrics", "Prometheus text", 200),
    (HttpMethod::Get, "/openapi.json", "This document", 200),
];

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

fn openapi() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for (call, summary, parameters) in PROVISIONING {
        let path = format!("/init/api/{call}");
        for method in [HttpMethod::Get, HttpMethod::Post] {
            let item = provisioning(call, summary, parameters, &method);
            paths = paths.path(path.clone(), PathItem::new(method, item));
        }
    }
    for (method, path, summary, status) in OPERATORS {
        let open = !path.starts_with("/v1/") || path.ends_with("/login");
        let mut operation = OperationBuilder::new()
            .summary(Some(summary))
            .tag(if path.starts_with("/v1/") {
                "operators"
            } else {
                "server"
            })
            .response(
                status.to_string(),
                ResponseBuilder::new().description("Done").build(),
            );
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name.trim_end_matches('}'))
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
            );
        }
        if !open {
            let refused = ResponseBuilder::new().description("No valid token").build();
            operation = operation
                .response("401", refused)
                .security(requirement("token"));
        }
        paths = paths.path(path, PathItem::new(method, operation.build()));
    }
    let schemes = ComponentsBuilder::new()
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
    document.merge(hosts::document());
    document
}

fn provisioning(
    call: &str,
    summary: &str,
    parameters: &[Parameter],
    method: &HttpMethod,
) -> utoipa::openapi::path::Operation {
    let kind = match call {
        "get_client_script" | "upgrade_client_script" => "text/x-shellscript",
        _ => "application/json",
    };
    let done = ResponseBuilder::new()
        .description("Done or refused: `success` and `error_code` of the object tell")
        .content(kind, ContentBuilder::new().build())
        .build();
    let limited = ResponseBuilder::new()
        .description("Too many calls, see `Retry-After`")
        .build();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(match method {
            HttpMethod::Get => call.to_owned(),
            _ => format!("{call}_post"),
        }))
        .summary(Some(summary))
        .description(Some(
            "By POST the parameters may stand in a form or in one flat JSON object.",
        ))
        .tag("provisioning")
        .response("200", done)
        .response("429", limited);
    if call != "upgrade_client_script" {
        operation = operation.security(requirement("api_key"));
    }
    for (name, required, meaning) in parameters {
        let required = match method {
            HttpMethod::Get if *required => Required::True,
            _ => Required::False,
        };
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(*name)
                .parameter_in(ParameterIn::Query)
                .required(required)
                .description(Some(*meaning))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    operation.build()
}

fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], &str>(scheme, [])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_call() {
        let json: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let paths = json["paths"].as_object().unwrap();
        for (call, _, _) in PROVISIONING {
            let item = &paths[&format!("/init/api/{call}")];
            assert!(
                item["get"].is_object() && item["post"].is_object(),
                "{call}"
            );
        }
        let devices = &paths["/v1/admin/devices/{device}"];
        assert!(devices["get"].is_object() && devices["patch"].is_object());
        assert_eq!(devices["get"]["parameters"][0]["name"], "device");
        assert!(json["openapi"].as_str().unwrap().starts_with('3'));
    }
}
