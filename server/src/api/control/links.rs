//! `/v1/admin/devices/{device}/links`: the links that open the public ports of a device (openport contract section 8).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::operator::{LinkInfo, LinkList};

use super::access::Operator;
use super::answer::{Refusal, json};
use super::devices::{find, hosts};
use crate::api::Api;
use crate::api::openport::v1::address::is_protected;

/// The links of a device, that of its first forward first.
pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let device = find(&api, &operator.0, &name).await?;
    let hosts = hosts(&api).await?;
    let links = device.forwards.iter().filter_map(|forward| {
        Some(LinkInfo {
            device_port: forward.device_port,
            public_port: forward.public_port,
            server: hosts.get(&forward.node).cloned().unwrap_or_default(),
            protected: is_protected(&device, forward),
            link: api.link(forward)?,
        })
    });
    let links = links.collect();
    Ok(json(StatusCode::OK, &LinkList { links }))
}
