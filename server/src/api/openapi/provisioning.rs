//! `/init/api/<call>` (provisioning contract).

use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, PathItem, PathsBuilder};
use utoipa::openapi::{ContentBuilder, Required, ResponseBuilder};

use super::{Parameter, requirement, with_query};

const CLIENT_ID: Parameter = (
    "client_id",
    true,
    "UUID of the device; `host_uuid` means the same",
);
const PUBLIC_KEY: Parameter = ("public_key", true, "OpenSSH public key of the device");

/// `/init/api/<call>`: summary and parameters beside the credential.
pub(super) const CALLS: [(&str, &str, &[Parameter]); 10] = [
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

/// Adds the calls.
pub(super) fn paths(mut paths: PathsBuilder) -> PathsBuilder {
    for (call, summary, parameters) in CALLS {
        let path = format!("/init/api/{call}");
        for method in [HttpMethod::Get, HttpMethod::Post] {
            let item = operation(call, summary, parameters, &method);
            paths = paths.path(path.clone(), PathItem::new(method, item));
        }
    }
    paths
}

fn operation(
    call: &str,
    summary: &str,
    parameters: &[Parameter],
    method: &HttpMethod,
) -> Operation {
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
        operation = with_query(operation, (name, meaning), required);
    }
    operation.build()
}
