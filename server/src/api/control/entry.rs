//! `/entry/{id}` and `/v1/entry/{id}/auth`: from the short id of a user or host to a shell there (control contract
//! section 13).

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};

use super::access::barred;
use super::answer::{OptionalJson, Refusal, json};
use super::login::{self, Attempt};
use super::origin::Origin;
use super::path::Path;
use super::shell_script::{self, Script};
use crate::api::{Api, Peer};
use crate::random;
use crate::registry::model::{Host, HostStatus, Timestamp, User};

/// How long a one-time password is good.
const GOOD_FOR: Duration = Duration::from_secs(120);
/// In the audit an entry counts as a way to begin a session, as the bootstrap does (section 10 knows no other).
const OPERATOR: &str = "bootstrap";

/// The body.
#[derive(Default, Deserialize)]
pub(super) struct Credentials {
    password: Option<Secret<String>>,
}

#[derive(Serialize)]
struct Ready<'a> {
    ssh_user: &'a str,
    ssh_pass: &'a str,
    ssh_host: &'a str,
    ssh_port: u16,
    status: &'static str,
    ssh_host_key: &'a str,
}

#[derive(Serialize)]
struct NotReady {
    status: &'static str,
    message: &'static str,
}

#[derive(Serialize)]
struct NoHost {
    error: &'static str,
    status: &'static str,
}

/// The script. Any id gets one, so that nobody learns which there are.
pub(super) async fn script(
    State(api): State<Api>,
    origin: Origin,
    Path(id): Path<String>,
) -> Response {
    shell_script::answer(Script::Entry { id: &id }, &api, &origin)
}

/// A password for one login, for the password of the host's owner.
pub(super) async fn auth(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    origin: Origin,
    Path(id): Path<String>,
    OptionalJson(credentials): OptionalJson<Credentials>,
) -> Result<Response, Refusal> {
    let password = credentials
        .password
        .filter(|text| !text.expose().is_empty());
    let password = password.ok_or(Refusal::bad("password is required"))?;
    let (user, host) = meant(&api, &id).await?;
    let attempt = Attempt {
        peer,
        identifier: &id,
        user,
        operator: OPERATOR,
    };
    let user = login::check(&api, attempt, password).await?;
    if let Some(barred) = barred(&api, &user).await? {
        let reason = Some(barred.reason());
        login::record(&api, OPERATOR, Some(&user), &id, reason).await;
        return Err(Refusal::forbidden("account is not active"));
    }
    login::record(&api, OPERATOR, Some(&user), &id, None).await;
    let host = match host {
        Some(host) => Some(host),
        None => api.registry().main_host(user.id).await?,
    };
    let Some(host) = host else {
        let none = NoHost {
            error: "no host assigned",
            status: "no_host",
        };
        return Ok(json(StatusCode::NOT_FOUND, &none));
    };
    if host.status != HostStatus::Running {
        let not_ready = NotReady {
            status: "not_ready",
            message: "Your machine is not running. Please contact admin.",
        };
        return Ok(json(StatusCode::OK, &not_ready));
    }
    let password = Secret::new(random::one_time_password());
    let until = Timestamp::now().after(GOOD_FOR);
    let kept = api
        .registry()
        .add_one_time_password(host.id, &user, &password, until)
        .await?;
    if !kept {
        return Err(Refusal::unauthorized("invalid credentials"));
    }
    let identity = api.identity();
    let ready = Ready {
        ssh_user: &host.short_id,
        ssh_pass: password.expose(),
        ssh_host: &origin.host,
        ssh_port: identity.ssh_port,
        status: "ready",
        ssh_host_key: &identity.host_key,
    };
    Ok(json(StatusCode::OK, &ready))
}

/// Whom a short id names: a host with its owner, or a user. Usernames do not count here.
async fn meant(api: &Api, id: &str) -> Result<(Option<User>, Option<Host>), Refusal> {
    let registry = api.registry();
    let host = registry.host_by_short_id(id).await?;
    let user = match &host {
        Some(host) => registry.user(host.user).await?,
        None => registry.user_by_short_id(id).await?,
    };
    Ok((user, host))
}
