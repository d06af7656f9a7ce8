//! `GET /v1/admin/nodes`: the nodes of the installation (`moorline_protocol::operator`).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::operator::{NodeInfo, NodeList};

use super::access::Operator;
use super::answer::{Refusal, json};
use crate::api::Api;
use crate::registry::model::Node;

pub(super) async fn list(State(api): State<Api>, _: Operator) -> Result<Response, Refusal> {
    let nodes = api.registry().nodes().await?;
    let nodes = nodes.into_iter().map(info).collect();
    Ok(json(StatusCode::OK, &NodeList { nodes }))
}

fn info(node: Node) -> NodeInfo {
    NodeInfo {
        name: node.name,
        status: node.status.as_str().to_owned(),
        host: node.public_host,
        ssh_port: node.ssh_port,
        first_port: node.ports.0,
        last_port: node.ports.1,
    }
}
