//! The WebSocket transport, and what an HTTP name answers by itself.

use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, PathsBuilder};
use utoipa::openapi::server::{ServerBuilder, ServerVariableBuilder};
use utoipa::openapi::{ContentBuilder, Response, ResponseBuilder};

/// Adds them.
pub(super) fn paths(paths: PathsBuilder) -> PathsBuilder {
    let messages = "Status 101, then messages of 4 bytes address, 2 bytes port (little-endian), 1 byte operation and \
        data. The first message of the client is text, {\"Port\":34567,\"Token\":\"...\"}; a wrong pair is closed \
        with 1008, a tunnel that a newer one ended with 1000.";
    let tunnel = OperationBuilder::new()
        .summary(Some("Brings the tunnel of a session over WebSocket"))
        .description(Some(messages))
        .tag("tunnels")
        .response("101", described("Tunnel"))
        .response("400", described("No WebSocket handshake"));
    let any = "Every method and path; the device's answer comes as it is. The statuses below are pages of the node \
        itself.";
    let part = |default| ServerVariableBuilder::new().default_value(default);
    let server = ServerBuilder::new()
        .url("http://{label}.u.{domain}")
        .parameter("label", part("ab12cd34"))
        .parameter("domain", part("eu1.example.net"));
    let name = OperationBuilder::new()
        .summary(Some("Goes to the device that has the HTTP name"))
        .description(Some(any))
        .tag("names")
        .servers(Some([server.build()]))
        .response("404", page("Nobody has the name"))
        .response("431", described("Header block over 64 KiB"))
        .response(
            "502",
            page("The device refuses the connection or breaks off"),
        )
        .response(
            "503",
            page("The tunnel is down, or too many requests are under way"),
        )
        .response("504", page("No answer in 60 s"));
    paths
        .path("/ws", PathItem::new(HttpMethod::Get, tunnel.build()))
        .path("/", PathItem::new(HttpMethod::Get, name.build()))
}

fn described(text: &str) -> Response {
    ResponseBuilder::new().description(text).build()
}

fn page(text: &str) -> Response {
    ResponseBuilder::new()
        .description(text)
        .content("text/html", ContentBuilder::new().build())
        .build()
}
