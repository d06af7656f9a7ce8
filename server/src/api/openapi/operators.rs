//! What the operator's program calls, and what watches over a server.

use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, PathsBuilder};

use super::{requirement, with_names_of};

/// Method, path, summary, status of success.
const CALLS: [(HttpMethod, &str, &str, u16); 19] = [
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

/// Adds the calls.
pub(super) fn paths(mut paths: PathsBuilder) -> PathsBuilder {
    for (method, path, summary, status) in CALLS {
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
        operation = with_names_of(path, operation);
        if !open {
            let refused = ResponseBuilder::new().description("No valid token").build();
            operation = operation
                .response("401", refused)
                .security(requirement("token"));
        }
        paths = paths.path(path, PathItem::new(method, operation.build()));
    }
    paths
}
