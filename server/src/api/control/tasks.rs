//! `GET /v1/admin/tasks` (control contract section 9).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::access::Operator;
use super::answer::{Refusal, json};
use crate::api::Api;
use crate::registry::model::Task;

/// Characters of the message in the summary.
const SUMMARY_CHARS: usize = 160;

#[derive(Serialize)]
struct TaskInfo {
    task_id: String,
    host_id: Option<String>,
    kind: &'static str,
    status: &'static str,
    requested_by: String,
    error_code: String,
    error_message: String,
    last_error_summary: String,
    created_at: String,
    updated_at: String,
}

impl From<Task> for TaskInfo {
    fn from(task: Task) -> Self {
        Self {
            task_id: task.id.to_string(),
            host_id: task.host.map(|host| host.to_string()),
            kind: task.kind.as_str(),
            status: task.status.as_str(),
            requested_by: task.requested_by,
            error_code: task.error_code,
            last_error_summary: task.error_message.chars().take(SUMMARY_CHARS).collect(),
            error_message: task.error_message,
            created_at: task.created_at.to_rfc3339(),
            updated_at: task.updated_at.to_rfc3339(),
        }
    }
}

#[derive(Serialize)]
struct List {
    tasks: Vec<TaskInfo>,
}

pub(super) async fn list(State(api): State<Api>, operator: Operator) -> Result<Response, Refusal> {
    let tasks = api.registry().tasks_of(operator.0.account).await?;
    let tasks = tasks.into_iter().map(TaskInfo::from).collect();
    Ok(json(StatusCode::OK, &List { tasks }))
}
