//! Users' hosts, the work on them, the ways in to them, and the log of sessions (control contract sections 8, 9 and 11
//! to 14).

use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ArrayBuilder, ComponentsBuilder, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi,
    OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, Schema, Type,
};

use super::requirement;

/// What a member is.
#[derive(Clone, Copy)]
enum Is {
    Text,
    Whole,
    Number,
    Yes,
    Object,
    One(&'static str),
    Many(&'static str),
}

/// Name, kind, whether it is always there.
type Member = (&'static str, Is, bool);

const fn there(name: &'static str, is: Is) -> Member {
    (name, is, true)
}

const fn maybe(name: &'static str, is: Is) -> Member {
    (name, is, false)
}

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
            (400, "A member is missing or not valid"),
            (404, "User, device, egress IP or region not found"),
            (409, "Slot or device is taken"),
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
        &[NO_HOST],
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
        "Sessions over SSH, newest first; `user_id`, `device`, `host_id`, `limit`, `offset` cut the list",
        None,
        200,
        Some("SessionLog"),
        &[(400, "`limit` or `offset` is no number")],
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
        &[
            (404, "`host not found`"),
            (409, "Not running, or none there"),
        ],
    ),
    (
        HttpMethod::Get,
        "/v1/user/hosts/{host}/vnc/{path}",
        For::Users,
        "The desktop of an own host",
        None,
        200,
        None,
        &[
            (403, "Somebody else's"),
            (404, "`host not found`"),
            (409, "Not running, or none there"),
        ],
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
            (429, "`too_many_attempts`, see `Retry-After`"),
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
            (429, "Too many wrong passwords, see `Retry-After`"),
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
        &[(404, "`host not found`")],
    ),
    (
        HttpMethod::Post,
        "/v1/user/hosts/{host}/vnc/{path}",
        For::Users,
        "As `GET`",
        None,
        200,
        None,
        &[(404, "`host not found`")],
    ),
];

const HOST: &[Member] = &[
    there("id", Is::Text),
    there("user_id", Is::Text),
    there("status", Is::Text),
    there("short_id", Is::Text),
    there("template_image_ref", Is::Text),
    there("home_volume_name", Is::Text),
    there("slot_key", Is::Text),
    there("timezone", Is::Text),
    there("hostname", Is::Text),
    there("memory_limit_mb", Is::Whole),
    there("cpu_limit", Is::Number),
    there("disk_limit_gb", Is::Whole),
    there("created_at", Is::Text),
    there("updated_at", Is::Text),
    there("kind", Is::Text),
    maybe("device_id", Is::Text),
    maybe("username", Is::Text),
    maybe("egress_ip_label", Is::Text),
    maybe("egress_ip_address", Is::Text),
    maybe("docker_status", Is::Text),
];

const SCHEMAS: [(&str, &[Member]); 27] = [
    ("Host", HOST),
    ("HostList", &[there("hosts", Is::Many("Host"))]),
    (
        "NewHost",
        &[
            there("user_id", Is::Text),
            maybe("kind", Is::Text),
            maybe("device_id", Is::Text),
            maybe("egress_ip_id", Is::Text),
            maybe("slot_key", Is::Text),
            maybe("region", Is::Text),
            maybe("timezone", Is::Text),
            maybe("memory_limit_mb", Is::Whole),
            maybe("cpu_limit", Is::Number),
            maybe("disk_limit_gb", Is::Whole),
        ],
    ),
    (
        "CreatedHost",
        &[
            there("host", Is::One("Host")),
            there("task_id", Is::Text),
            there("short_id", Is::Text),
            there("entry_password", Is::Text),
            there("status", Is::Text),
        ],
    ),
    (
        "HostSheet",
        &[
            there("host", Is::One("Host")),
            there("user", Is::Object),
            there("bindings", Is::Many("BoundEgress")),
            there("connection_info", Is::One("ConnectionInfo")),
            maybe("device", Is::One("HostDevice")),
        ],
    ),
    (
        "BoundEgress",
        &[
            there("binding_id", Is::Text),
            there("egress_ip", Is::Object),
            there("created_at", Is::Text),
        ],
    ),
    (
        "ConnectionInfo",
        &[
            there("curl_command", Is::Text),
            there("ssh_command", Is::Text),
            there("ssh_port", Is::Whole),
            maybe("vnc_url", Is::Text),
        ],
    ),
    (
        "HostDevice",
        &[
            there("client_id", Is::Text),
            there("name", Is::Text),
            there("hostname", Is::Text),
            there("connected", Is::Yes),
            there("hardware", Is::Object),
            there("forwards", Is::Many("HostForward")),
        ],
    ),
    (
        "HostForward",
        &[
            there("local_port", Is::Whole),
            there("public_port", Is::Whole),
            there("node", Is::Text),
        ],
    ),
    (
        "HostPolicy",
        &[
            maybe("host_id", Is::Text),
            maybe("recording_required", Is::Yes),
            maybe("direct_tcpip_allowed", Is::Yes),
        ],
    ),
    (
        "QueuedTask",
        &[there("task_id", Is::Text), there("status", Is::Text)],
    ),
    ("Done", &[there("status", Is::Text)]),
    ("NewEntryPassword", &[there("new_password", Is::Text)]),
    (
        "Task",
        &[
            there("task_id", Is::Text),
            maybe("host_id", Is::Text),
            there("kind", Is::Text),
            there("status", Is::Text),
            there("requested_by", Is::Text),
            there("error_code", Is::Text),
            there("error_message", Is::Text),
            there("last_error_summary", Is::Text),
            there("created_at", Is::Text),
            there("updated_at", Is::Text),
        ],
    ),
    ("TaskList", &[there("tasks", Is::Many("Task"))]),
    (
        "LoggedSession",
        &[
            there("id", Is::Text),
            there("user_id", Is::Text),
            there("username", Is::Text),
            maybe("device_id", Is::Text),
            maybe("host_id", Is::Text),
            there("target", Is::Text),
            there("way_in", Is::Text),
            there("node", Is::Text),
            there("peer", Is::Text),
            there("began_at", Is::Text),
            maybe("ended_at", Is::Text),
            there("received_bytes", Is::Whole),
            there("sent_bytes", Is::Whole),
            maybe("ending", Is::Text),
            there("recorded", Is::Yes),
        ],
    ),
    (
        "SessionLog",
        &[
            there("sessions", Is::Many("LoggedSession")),
            there("total", Is::Whole),
            there("limit", Is::Whole),
            there("offset", Is::Whole),
        ],
    ),
    (
        "OwnHost",
        &[
            there("id", Is::Text),
            there("hostname", Is::Text),
            there("status", Is::Text),
            there("egress_ip", Is::Text),
            there("created_at", Is::Text),
        ],
    ),
    ("OwnHostList", &[there("hosts", Is::Many("OwnHost"))]),
    (
        "OwnHostSheet",
        &[
            there("id", Is::Text),
            there("hostname", Is::Text),
            there("status", Is::Text),
            there("timezone", Is::Text),
            there("created_at", Is::Text),
            there("updated_at", Is::Text),
            there("egress_bindings", Is::Many("OwnEgress")),
            there("connection_info", Is::One("ConnectionInfo")),
        ],
    ),
    (
        "OwnEgress",
        &[
            there("ip_address", Is::Text),
            there("tunnel_type", Is::Text),
        ],
    ),
    (
        "Credentials",
        &[there("username", Is::Text), there("password", Is::Text)],
    ),
    (
        "BootstrapSession",
        &[
            there("task_id", Is::Text),
            there("status_url", Is::Text),
            there("stage_code", Is::Text),
            there("stage_text", Is::Text),
        ],
    ),
    (
        "BootstrapStatus",
        &[
            there("task_id", Is::Text),
            there("task_status", Is::Text),
            there("stage_code", Is::Text),
            there("stage_text", Is::Text),
            maybe("error_code", Is::Text),
            maybe("error_message", Is::Text),
            maybe("retryable", Is::Yes),
        ],
    ),
    (
        "Handoff",
        &[
            there("ready", Is::Yes),
            there("host", Is::Text),
            there("port", Is::Whole),
            there("user", Is::Text),
            there("ssh_options", Is::Object),
            there("host_key", Is::Text),
        ],
    ),
    ("EntryPassword", &[there("password", Is::Text)]),
    (
        "Entry",
        &[
            there("status", Is::Text),
            maybe("ssh_user", Is::Text),
            maybe("ssh_pass", Is::Text),
            maybe("ssh_host", Is::Text),
            maybe("ssh_port", Is::Whole),
            maybe("ssh_host_key", Is::Text),
            maybe("message", Is::Text),
        ],
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
        let refused = ResponseBuilder::new().description("No valid token").build();
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

fn object(members: &[Member]) -> RefOr<Schema> {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (name, is, always) in members {
        let schema = match is {
            Is::Text => of_type(Type::String),
            Is::Whole => of_type(Type::Integer),
            Is::Number => of_type(Type::Number),
            Is::Yes => of_type(Type::Boolean),
            Is::Object => RefOr::T(Schema::Object(ObjectBuilder::new().build())),
            Is::One(name) => reference(name),
            Is::Many(name) => {
                let array = ArrayBuilder::new().items(reference(name));
                RefOr::T(Schema::Array(array.build()))
            }
        };
        object = object.property(*name, schema);
        if *always {
            object = object.required(*name);
        }
    }
    RefOr::T(Schema::Object(object.build()))
}

fn of_type(kind: Type) -> RefOr<Schema> {
    RefOr::T(Schema::Object(
        ObjectBuilder::new().schema_type(kind).build(),
    ))
}

fn reference(schema: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(schema))
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
