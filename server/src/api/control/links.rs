//! `/v1/admin/devices/{device}/links`: the links that open the public ports of a device (openport contract section 8).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::operator::{LinkInfo, LinkList};

use super::access::Operator;
use super::answer::{Refusal, json};
use super::devices::{find, nodes};
use super::path::Path;
use crate::api::Api;

/// The links of a device, that of its first forward first.
pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    let nodes = nodes(&api).await?;
    let links = device.forwards.iter().filter_map(|forward| {
        Some(LinkInfo {
            device_port: forward.device_port,
            public_port: forward.public_port,
            server: nodes
                .get(&forward.node)
                .map(|node| node.public_host.clone())
                .unwrap_or_default(),
            protected: device.protects(forward),
            link: api.link(forward)?,
        })
    });
    let links = links.collect();
    Ok(json(StatusCode::OK, &LinkList { links }))
}
