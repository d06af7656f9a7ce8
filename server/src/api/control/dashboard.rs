//! `GET /v1/admin/dashboard/stats` (control contract section 9).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::access::Operator;
use super::answer::{Refusal, json};
use crate::api::Api;

#[derive(Serialize)]
struct Stats {
    active_users: u64,
    running_hosts: u64,
    available_ips: u64,
}

pub(super) async fn stats(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let account = operator.0.account;
    let registry = api.registry();
    let stats = Stats {
        active_users: registry.count_active_users(account).await?,
        running_hosts: registry.count_running_hosts(account).await?,
        available_ips: registry.count_available_egress_ips(account).await?,
    };
    Ok(json(StatusCode::OK, &stats))
}
