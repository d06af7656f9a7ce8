//! `GET /v1/admin/sessions`: the forwards that are open on this node now (`moorline_protocol::operator`).

use std::collections::HashMap;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::operator::{SessionInfo, SessionList};
use serde::Deserialize;

use super::access::Operator;
use super::answer::{Refusal, json};
use crate::api::Api;
use crate::registry::model::{Node, Session, Slice};

/// Sessions in a page unless asked for fewer or more.
const DEFAULT_LIMIT: u64 = 1000;
const MAX_LIMIT: u64 = 10_000;

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<u64>,
    offset: Option<u64>,
}

pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(page) = page.map_err(|_| Refusal::bad("limit and offset must be numbers"))?;
    let slice = Slice {
        limit: page.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
        offset: page.offset.unwrap_or(0),
    };
    let open: Vec<_> = api.tunnels().open_forwards();
    let open: Vec<_> = open.into_iter().map(|(_, forward)| forward).collect();
    let (total, sessions) = api
        .registry()
        .open_sessions(operator.0.account, &open, slice)
        .await?;
    let nodes = api.registry().nodes().await?;
    let nodes: HashMap<String, Node> = nodes
        .into_iter()
        .map(|node| (node.name.clone(), node))
        .collect();
    let sessions = sessions
        .iter()
        .map(|session| info(&api, &nodes, session))
        .collect();
    Ok(json(StatusCode::OK, &SessionList { sessions, total }))
}

fn info(api: &Api, nodes: &HashMap<String, Node>, session: &Session) -> SessionInfo {
    let Session { device, forward } = session;
    let node = nodes.get(&forward.node);
    SessionInfo {
        id: forward.id.0,
        device: device.name.clone(),
        device_id: device.id.to_string(),
        node: forward.node.clone(),
        http_name: node.and_then(|node| node.http_name(forward)),
        server: node
            .map(|node| node.public_host.clone())
            .unwrap_or_default(),
        public_port: forward.public_port,
        device_port: forward.device_port,
        protected: device.protects(forward),
        bytes: api.ports().traffic().bytes(forward.id),
    }
}
