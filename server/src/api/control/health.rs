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
    /// The container engines of the nodes, as they answered last.
    agent: &'static str,
}

/// Whether the server can work.
pub(super) async fn health(State(api): State<Api>) -> Response {
    let asked = timeout(PATIENCE, api.registry().any_engine_unreachable()).await;
    let (status, name, database, agent) = match asked {
        Ok(Ok(false)) => (StatusCode::OK, "ok", "ok", "ok"),
        Ok(Ok(true)) => (StatusCode::OK, "warning", "ok", "unreachable"),
        Ok(Err(_)) | Err(_) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            (status, "degraded", "unavailable", "ok")
        }
    };
    let health = Health {
        status: name,
        checks: Checks { database, agent },
        tunnels: api.tunnels().count(),
    };
    json(status, &health)
}
