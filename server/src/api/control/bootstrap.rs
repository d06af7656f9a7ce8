//! `/v1/bootstrap/…`: from name and password to a shell on the main host (control contract section 12).

use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::{Barred, barred};
use super::answer::{Json, Refusal, json};
use super::login::{self, Attempt, WrongPassword};
use super::origin::Origin;
use super::path::Path;
use super::shell_script::{self, Script};
use crate::api::{Api, Peer};
use crate::registry::error::RegistryError;
use crate::registry::model::{Task, TaskId, TaskKind, TaskStatus};

/// What [`Task::requested_by`] of tasks made here begins with.
const REQUESTED_BY: &str = "bootstrap:";
const OPERATOR: &str = "bootstrap";

/// `{"error_code":"code","message":"text"}` with its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    retry_after: Option<u64>,
}

impl Failure {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            retry_after: None,
        }
    }

    const fn invalid(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    const AUTH_INVALID: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        "auth_invalid",
        "wrong username or password",
    );
    const DISABLED: Self = Self::new(
        StatusCode::FORBIDDEN,
        "account_disabled",
        "account is disabled, contact the administrator",
    );
    const EXPIRED: Self = Self::new(
        StatusCode::FORBIDDEN,
        "account_expired",
        "account has expired, contact the administrator",
    );
    const NO_HOST: Self = Self::new(
        StatusCode::NOT_FOUND,
        "host_not_found",
        "no host is assigned, contact the administrator",
    );
    const NOT_STARTED: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "start_failed",
        "the host could not be started, try again later",
    );
    const NOT_READY: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "ssh_not_ready",
        "SSH is not ready yet, try again later",
    );
    const NO_TASK: Self = Self::new(StatusCode::NOT_FOUND, "task_not_found", "task not found");
    const INTERNAL: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "internal error, try again later",
    );

    /// What is told of a task that failed.
    fn of_task(code: &str) -> (String, &'static str) {
        let message = match code {
            "ssh_not_ready" => Self::NOT_READY.message,
            "egress_binding_missing" => {
                "no egress IP is bound to the host, contact the administrator"
            }
            _ => "the host could not be started, contact the administrator",
        };
        (code.to_owned(), message)
    }
}

#[derive(Serialize)]
struct FailureBody<'a> {
    error_code: &'a str,
    message: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = FailureBody {
            error_code: self.code,
            message: self.message,
        };
        let mut response = json(self.status, &body);
        if let Some(seconds) = self.retry_after {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        tracing::error!(%error, "bootstrap call failed");
        Self::INTERNAL
    }
}

impl From<WrongPassword> for Failure {
    fn from(error: WrongPassword) -> Self {
        match error {
            WrongPassword::Wrong => Self::AUTH_INVALID,
            WrongPassword::TooMany(exceeded) => Self {
                retry_after: Some(exceeded.retry_after_secs()),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too_many_attempts",
                    "too many attempts, try again later",
                )
            },
            WrongPassword::Failed(_) => Self::INTERNAL,
            WrongPassword::Registry(error) => error.into(),
        }
    }
}

/// Name and password, in whatever state they came.
pub(super) struct Credentials {
    username: String,
    password: Secret<String>,
}

#[derive(Deserialize)]
struct CredentialsBody {
    username: Option<String>,
    password: Option<Secret<String>>,
}

impl FromRequest<Api> for Credentials {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let body = Json::<CredentialsBody>::from_request(request, api).await;
        let Json(body) = body.map_err(|_| Failure::invalid("request is not valid"))?;
        let username = body.username.unwrap_or_default().trim().to_owned();
        let password = body.password.filter(|text| !text.expose().is_empty());
        match password {
            Some(password) if !username.is_empty() => Ok(Self { username, password }),
            _ => Err(Failure::invalid("username and password are required")),
        }
    }
}

#[derive(Serialize)]
struct Session {
    task_id: String,
    status_url: String,
    stage_code: &'static str,
    stage_text: &'static str,
}

#[derive(Serialize)]
struct Status {
    task_id: String,
    task_status: &'static str,
    stage_code: &'static str,
    stage_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
}

#[derive(Serialize)]
struct Handoff<'a> {
    ready: bool,
    host: String,
    port: u16,
    user: String,
    ssh_options: [&'static str; 4],
    host_key: &'a str,
}

/// The script that does all of this.
pub(super) async fn script(State(api): State<Api>, origin: Origin) -> Response {
    shell_script::answer(Script::Bootstrap, &api, &origin)
}

/// Checks name and password, then has the main host started.
pub(super) async fn open_session(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    credentials: Credentials,
) -> Result<Response, Failure> {
    let Credentials { username, password } = credentials;
    let attempt = Attempt {
        peer,
        identifier: &username,
        user: api.registry().user_by_login(&username).await?,
        operator: OPERATOR,
    };
    let user = login::check(&api, attempt, password).await?;
    if let Some(barred) = barred(&api, &user).await? {
        let reason = Some(barred.reason());
        login::record(&api, OPERATOR, Some(&user), &username, reason).await;
        return Err(match barred {
            Barred::Disabled => Failure::DISABLED,
            Barred::Expired => Failure::EXPIRED,
        });
    }
    login::record(&api, OPERATOR, Some(&user), &username, None).await;
    let host = api.registry().main_host(user.id).await?;
    let host = host.ok_or(Failure::NO_HOST)?;
    let by = format!("{REQUESTED_BY}{}", user.username);
    let queued = api
        .registry()
        .queue_task(host.id, TaskKind::StartHost, by)
        .await;
    let task = queued.map_err(|error| {
        tracing::warn!(%error, host = %host.short_id, "queue start of host");
        Failure::NOT_STARTED
    })?;
    api.0.parts.hosts.task_queued();
    let session = Session {
        task_id: task.id.to_string(),
        status_url: format!("/v1/bootstrap/tasks/{}", task.id),
        stage_code: "auth_passed",
        stage_text: "signed in, the host is starting",
    };
    Ok(json(StatusCode::OK, &session))
}

/// How far the start is.
pub(super) async fn status(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let task = find(&api, &id).await?;
    let latest = api.registry().latest_event_of_task(task.id).await?;
    let (stage_code, stage_text) = stage(latest.as_deref());
    let failed = (task.status == TaskStatus::Failed).then(|| Failure::of_task(&task.error_code));
    let (error_code, error_message) = failed.unzip();
    let status = Status {
        task_id: task.id.to_string(),
        task_status: task.status.as_str(),
        stage_code,
        stage_text,
        retryable: error_code.is_some().then_some(false),
        error_code,
        error_message,
    };
    Ok(json(StatusCode::OK, &status))
}

fn stage(latest_event: Option<&str>) -> (&'static str, &'static str) {
    match latest_event {
        Some("runtime.validating") => ("runtime_validating", "checking the runtime"),
        Some("ssh.ready" | "ssh.handoff.ready") => ("ssh_ready", "SSH is ready"),
        _ => ("host_starting", "the host is starting"),
    }
}

/// Where to log in, once the start has succeeded.
pub(super) async fn handoff(
    State(api): State<Api>,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let task = find(&api, &id).await?;
    match task.status {
        TaskStatus::Succeeded => {}
        TaskStatus::Failed => {
            let (code, message) = Failure::of_task(&task.error_code);
            let body = FailureBody {
                error_code: &code,
                message,
            };
            return Ok(json(StatusCode::SERVICE_UNAVAILABLE, &body));
        }
        TaskStatus::Pending | TaskStatus::Running | TaskStatus::Canceled => {
            return Err(Failure::NOT_READY);
        }
    }
    let host = match task.host {
        Some(id) => api.registry().host(id).await?,
        None => None,
    };
    let host = host.ok_or(Failure::NO_HOST)?;
    let identity = api.identity();
    let handoff = Handoff {
        ready: true,
        host: origin.host,
        port: identity.ssh_port,
        user: host.short_id,
        ssh_options: [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ],
        host_key: &identity.host_key,
    };
    Ok(json(StatusCode::OK, &handoff))
}

/// A task that a session here has made.
async fn find(api: &Api, id: &str) -> Result<Task, Failure> {
    let id = Uuid::try_parse(id).map_err(|_| Failure::NO_TASK)?;
    let task = api.registry().task(TaskId(id)).await?;
    task.filter(|task| task.requested_by.starts_with(REQUESTED_BY))
        .ok_or(Failure::NO_TASK)
}

/// Only what reads a body refuses in another shape.
impl From<Refusal> for Failure {
    fn from(_: Refusal) -> Self {
        Self::INTERNAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_the_latest_event() {
        for (event, code) in [
            (None, "host_starting"),
            (Some("net.ready"), "host_starting"),
            (Some("runtime.validating"), "runtime_validating"),
            (Some("ssh.ready"), "ssh_ready"),
            (Some("ssh.handoff.ready"), "ssh_ready"),
        ] {
            assert_eq!(stage(event).0, code, "{event:?}");
        }
    }

    #[test]
    fn texts_hold_no_quotes() {
        for failure in [
            Failure::AUTH_INVALID,
            Failure::DISABLED,
            Failure::EXPIRED,
            Failure::NO_HOST,
            Failure::NOT_STARTED,
            Failure::NOT_READY,
            Failure::NO_TASK,
            Failure::INTERNAL,
        ] {
            assert!(!failure.message.contains('"'), "{failure:?}");
        }
        for code in ["ssh_not_ready", "egress_binding_missing", "dns_leak"] {
            assert!(!Failure::of_task(code).1.contains('"'));
        }
    }
}
