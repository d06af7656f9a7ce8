//! Users' hosts, the work on them, the ways in to them, and the log of sessions (control contract sections 8, 9 and 11
//! to 14).

use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Required,
    ResponseBuilder, Type,
};

use super::requirement;

mod schemas;

use schemas::{SCHEMAS, object, of_type, reference};

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Admins,
    Users,
    Anybody,
}

/// Method, path, who, summary, schema of the body, status of success, schema of the answer, errors.
type Call = (
    HttpMethod,
    &'static str,
    For,
    &'static str,
    Option<&'static str>,
    u16,
    Option<&'static str>,
    &'static [(u16, &'static str)],
);

const NO_HOST: (u16, &str) = (404, "`host not found`");
const QUEUED: Option<&str> = Some("QueuedTask");
const BUSY: (u16, &str) = (
    429,
    "Too many passwords are checked at once, see `Retry-After`",
);
const DESKTOP: &[(u16, &str)] = &[
    (
        303,
        "The same address without the token, for a page that is opened with it",
    ),
    (
        403,
        "Somebody else's, `recording is required for this host`, or for a service worker",
    ),
    NO_HOST,
    (409, "Not running, or none there"),
    (502, "`cannot connect to VNC`"),
    (503, "`cannot reach container`"),
];
/// Only a page that is opened is led elsewhere.
const DESKTOP_POSTED: &[(u16, &str)] = DESKTOP.split_at(1).1;

const CALLS: [Call; 26] = [
    (
        HttpMethod::Get,
        "/v1/admin/hosts",
        For::Admins,
        "Hosts, last updated first",
        None,
        200,
        Some("HostList"),
        &[],
    ),
    (
        HttpMethod::Post,
        "/v1/admin/hosts",
        For::Admins,
        "Makes a host; its entry password is shown this once",
        Some("NewHost"),
        202,
        Some("CreatedHost"),
        &[
            (
                400,
                "A member is missing, out of range, or `<field> is not valid`",
            ),
            (404, "User, device, egress IP or region not found"),
            (
                409,
                "Slot or device is taken, `egress IP is disabled`, or `too many hosts`",
            ),
            BUSY,
        ],
    ),
    (
        HttpMethod::Get,
        "/v1/admin/hosts/{host}",
        For::Admins,
        "A host, its user, bindings, device, and how it is reached",
        None,
        200,
        Some("HostSheet"),
        &[NO_HOST],
    ),
    (
        HttpMethod::Patch,
        "/v1/admin/hosts/{host}",
        For::Admins,
        "Says whether sessions are recorded and direct connections allowed",
        Some("HostPolicy"),
        200,
        Some("HostPolicy"),
        &[NO_HOST],
    ),
    (
        HttpMethod::Delete,
        "/v1/admin/hosts/{host}",
        For::Admins,
        "Removes a host; with `force=true` also one that runs. A device is only unassigned",
        None,
        200,
        Some("Done"),
        &[NO_HOST, (409, "It runs")],
    ),
    (
        HttpMethod::Post,
        "/v1/admin/hosts/{host}/start",
        For::Admins,
        "Queues a start",
        None,
        202,
        QUEUED,
        &[NO_HOST, (500, "`queue action failed`")],
    ),
    (
        HttpMethod::Post,
        "/v1/admin/hosts/{host}/stop",
        For::Admins,
        "Queues a stop",
        None,
        202,
        QUEUED,
        &[NO_HOST, (500, "`queue action failed`")],
    ),
    (
        HttpMethod::Post,
        "/v1/admin/hosts/{host}/rebuild",
        For::Admins,
        "Queues a rebuild: new public ports, links and entry password; identity and name stay",
        None,
        202,
        QUEUED,
        &[NO_HOST, (500, "`queue action failed`")],
    ),
    (
        HttpMethod::Post,
        "/v1/admin/hosts/{host}/rotate-ssh-password",
        For::Admins,
        "Makes another entry password, shown this once",
        None,
        200,
        Some("NewEntryPassword"),
        &[NO_HOST, BUSY],
    ),
    (
        HttpMethod::Get,
        "/v1/admin/tasks",
        For::Admins,
        "The 1000 latest tasks, last updated first",
        None,
        200,
        Some("TaskList"),
        &[],
    ),
    (
        HttpMethod::Get,
        "/v1/admin/sessions-log",
        For::Admins,
        "Sessions over SSH, newest first; `user` (name or UUID), `user_id`, `device`, `host_id`, `since`, `open=true`, `limit`, `offset` cut the list",
        None,
        200,
        Some("SessionLog"),
        &[(
            400,
            "`limit` or `offset` is no number, `since` no time, `open` neither true nor false",
        )],
    ),
    (
        HttpMethod::Get,
        "/v1/admin/sessions-log/{session}",
        For::Admins,
        "One of them",
        None,
        200,
        Some("LoggedSession"),
        &[(404, "`session not found`")],
    ),
    (
        HttpMethod::Get,
        "/v1/admin/sessions-log/{session}/recording",
        For::Admins,
        "What was recorded of it, asciicast v2",
        None,
        200,
        None,
        &[(404, "`session not found` or `session was not recorded`")],
    ),
    (
        HttpMethod::Get,
        "/v1/user/hosts",
        For::Users,
        "Own hosts, oldest first",
        None,
        200,
        Some("OwnHostList"),
        &[],
    ),
    (
        HttpMethod::Get,
        "/v1/user/hosts/{host}",
        For::Users,
        "An own host, and how it is reached",
        None,
        200,
        Some("OwnHostSheet"),
        &[NO_HOST, (403, "Somebody else's")],
    ),
    (
        HttpMethod::Post,
        "/v1/user/hosts/{host}/rebuild",
        For::Users,
        "Queues a rebuild of an own host",
        None,
        202,
        QUEUED,
        &[NO_HOST, (403, "Somebody else's")],
    ),
    (
        HttpMethod::Get,
        "/v1/admin/hosts/{host}/vnc/{path}",
        For::Admins,
        "The desktop of a host in the browser, any method, WebSockets included",
        None,
        200,
        None,
        DESKTOP,
    ),
    (
        HttpMethod::Get,
        "/v1/user/hosts/{host}/vnc/{path}",
        For::Users,
        "The desktop of an own host",
        None,
        200,
        None,
        DESKTOP,
    ),
    (
        HttpMethod::Get,
        "/v1/bootstrap/script",
        For::Anybody,
        "A shell script that signs in and ends in a shell on the main host",
        None,
        200,
        None,
        &[],
    ),
    (
        HttpMethod::Post,
        "/v1/bootstrap/sessions",
        For::Anybody,
        "Checks name and password and starts the main host",
        Some("Credentials"),
        200,
        Some("BootstrapSession"),
        &[
            (400, "`invalid_request`"),
            (401, "`auth_invalid`"),
            (403, "`account_disabled` or `account_expired`"),
            (404, "`host_not_found`"),
            (429, "`too_many_attempts`, also at once; see `Retry-After`"),
            (500, "`start_failed`"),
        ],
    ),
    (
        HttpMethod::Get,
        "/v1/bootstrap/tasks/{task}",
        For::Anybody,
        "How far the start is",
        None,
        200,
        Some("BootstrapStatus"),
        &[(404, "`task_not_found`")],
    ),
    (
        HttpMethod::Get,
        "/v1/bootstrap/tasks/{task}/handoff",
        For::Anybody,
        "Where to log in, once it has succeeded",
        None,
        200,
        Some("Handoff"),
        &[(404, "`task_not_found`"), (503, "Not ready, or failed")],
    ),
    (
        HttpMethod::Get,
        "/entry/{id}",
        For::Anybody,
        "A shell script that asks for the password and ends in a shell on the host",
        None,
        200,
        None,
        &[],
    ),
    (
        HttpMethod::Post,
        "/v1/entry/{id}/auth",
        For::Anybody,
        "A password for one login within 120 s, for the password of the host's owner",
        Some("EntryPassword"),
        200,
        Some("Entry"),
        &[
            (400, "`password is required`"),
            (401, "`invalid credentials`"),
            (403, "`account is not active`"),
            (404, "`no host assigned`"),
            (
                429,
                "Too many wrong passwords, or too many at once; see `Retry-After`",
            ),
        ],
    ),
    (
        HttpMethod::Post,
        "/v1/admin/hosts/{host}/vnc/{path}",
        For::Admins,
        "As `GET`",
        None,
        200,
        None,
        DESKTOP_POSTED,
    ),
    (
        HttpMethod::Post,
        "/v1/user/hosts/{host}/vnc/{path}",
        For::Users,
        "As `GET`",
        None,
        200,
        None,
        DESKTOP_POSTED,
    ),
];

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
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name.trim_end_matches('}'))
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(of_type(Type::String))),
        );
    }
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
