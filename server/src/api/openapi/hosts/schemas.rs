//! What requests and answers about hosts are made of.

use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, Type};

/// What a member is.
#[derive(Clone, Copy)]
pub(super) enum Is {
    Text,
    Whole,
    Number,
    Yes,
    Object,
    One(&'static str),
    Many(&'static str),
}

/// Name, kind, whether it is always there.
pub(super) type Member = (&'static str, Is, bool);

const fn there(name: &'static str, is: Is) -> Member {
    (name, is, true)
}

const fn maybe(name: &'static str, is: Is) -> Member {
    (name, is, false)
}

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

/// Name and members.
pub(super) const SCHEMAS: [(&str, &[Member]); 27] = [
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
            there("short_id", Is::Text),
            there("kind", Is::Text),
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

/// An object with these members.
pub(super) fn object(members: &[Member]) -> RefOr<Schema> {
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

/// A schema of a plain type.
fn of_type(kind: Type) -> RefOr<Schema> {
    RefOr::T(Schema::Object(
        ObjectBuilder::new().schema_type(kind).build(),
    ))
}

/// The schema of that name.
pub(super) fn reference(schema: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(schema))
}
