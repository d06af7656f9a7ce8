//! `GET /healthz` (control contract section 3).

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::time::timeout;

use super::answer::json;
use crate::api::Api;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Health {
    status: &'static str,
    checks: Checks,
    /// Devices that are connected to this node.
    tunnels: usize,
}

#[derive(Serialize)]
struct Checks {
    database: &'static str,
    /// The container engines of the nodes; there are none to ask yet.
    agent: &'static str,
}

/// Whether the server can work.
pub(super) async fn health(State(api): State<Api>) -> Response {
    let database = matches!(timeout(PATIENCE, api.registry().ping()).await, Ok(Ok(())));
    let (status, name, check) = if database {
        (StatusCode::OK, "ok", "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded", "unavailable")
    };
    let health = Health {
        status: name,
        checks: Checks {
            database: check,
            agent: "ok",
        },
        tunnels: api.tunnels().count(),
    };
    json(status, &health)
}
