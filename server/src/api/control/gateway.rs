//! `GET /v1/gateway`: where operators reach the SSH gateway.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::operator::GatewayInfo;

use super::access::Operator;
use super::answer::json;
use crate::api::Api;

/// Name, port and host key.
pub(super) async fn info(State(api): State<Api>, _: Operator) -> Response {
    let identity = api.identity();
    let info = GatewayInfo {
        host: identity.public_host.clone(),
        port: identity.ssh_port,
        host_key: identity.host_key.clone(),
    };
    json(StatusCode::OK, &info)
}
