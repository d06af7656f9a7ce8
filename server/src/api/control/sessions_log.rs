//! `GET /v1/admin/sessions-log`: who reached which device or host over SSH, when and which way, and what was recorded
//! of it (an extension of the contract; `moorline_protocol::audit`).

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use moorline_protocol::audit::{SessionInfo, SessionList};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Refusal, json};
use super::audit::{self, Deed};
use super::path::Path;
use crate::api::Api;
use crate::registry::model::{
    AccountId, DeviceId, HostId, OperatorSession, SessionFilter, Timestamp, UserId,
};

/// Sessions in a page unless asked for fewer or more.
const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 200;
/// Bytes of a recording that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;
const NOT_FOUND: Refusal = Refusal::not_found("session not found");
const NOT_RECORDED: Refusal = Refusal::not_found("session was not recorded");

#[derive(Deserialize)]
pub(super) struct Page {
    user_id: Option<String>,
    user: Option<String>,
    since: Option<String>,
    open: Option<bool>,
    device: Option<String>,
    host_id: Option<String>,
    limit: Option<u64>,
    offset: Option<u64>,
}

pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(page) =
        page.map_err(|_| Refusal::bad("limit and offset must be numbers, open true or false"))?;
    let account = operator.0.account;
    // An id that is none has no sessions, as an unknown one.
    let parse = |text: &str| Uuid::try_parse(text).unwrap_or(Uuid::nil());
    // A UUID is no user name.
    let by_id = |text: &String| Uuid::try_parse(text).is_ok();
    let (id, username) = match page.user {
        Some(user) if by_id(&user) => (Some(user), None),
        username => (None, username),
    };
    let filter = SessionFilter {
        user: id.or(page.user_id).map(|text| UserId(parse(&text))),
        username,
        since: match page.since.as_deref() {
            Some(text) => {
                let bad = Refusal::bad("since must be RFC3339 format");
                Some(Timestamp::from_rfc3339(text).map_err(|_| bad)?)
            }
            None => None,
        },
        open_only: page.open.unwrap_or_default(),
        device: match page.device.as_deref() {
            Some(name) => Some(device(&api, account, name).await?),
            None => None,
        },
        host: page.host_id.as_deref().map(|text| HostId(parse(text))),
        limit: page.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
        offset: page.offset.unwrap_or(0).min(i64::MAX.unsigned_abs()),
    };
    let (sessions, total) = api.registry().sessions_of(account, &filter).await?;
    let list = SessionList {
        sessions: sessions.into_iter().map(info).collect(),
        total,
        limit: filter.limit,
        offset: filter.offset,
    };
    Ok(json(StatusCode::OK, &list))
}

/// The device that is meant, by UUID or name; one that is gone keeps its sessions under its UUID.
async fn device(api: &Api, account: AccountId, name: &str) -> Result<DeviceId, Refusal> {
    if let Ok(id) = Uuid::try_parse(name) {
        return Ok(DeviceId(id));
    }
    let found = api.registry().device_by_name(account, name).await?;
    Ok(found.map_or(DeviceId(Uuid::nil()), |device| device.id))
}

pub(super) async fn show(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let session = find(&api, &operator, &id).await?;
    Ok(json(StatusCode::OK, &info(session)))
}

/// The recording, asciicast v2. That it was looked at is noted.
pub(super) async fn recording(
    State(api): State<Api>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let session = find(&api, &operator, &id).await?;
    if session.recording_file.is_none() {
        return Err(NOT_RECORDED);
    }
    let opened = api.0.parts.recordings.open(session.id).await;
    let file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => NOT_RECORDED,
        _ => Refusal::internal(&error),
    })?;
    let deed = Deed {
        kind: "session.recording.read",
        user: Some(session.user),
        host: session.host,
        task: None,
        message: format!(
            "recording of {} on {} read",
            session.username, session.target
        ),
        metadata: json!({ "session_id": session.id.to_string() }),
    };
    audit::note(&api, &operator, deed).await;
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        let chunk = (read > 0).then(|| (Bytes::from(chunk), file));
        Ok::<_, std::io::Error>(chunk)
    });
    let kind = [
        (header::CONTENT_TYPE, "application/x-asciicast"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((StatusCode::OK, kind, Body::from_stream(chunks)).into_response())
}

async fn find(api: &Api, operator: &Operator, id: &str) -> Result<OperatorSession, Refusal> {
    let id = Uuid::try_parse(id).map_err(|_| NOT_FOUND)?;
    let account = operator.0.account;
    let session = api.registry().session_of(account, id).await?;
    session.ok_or(NOT_FOUND)
}

fn info(session: OperatorSession) -> SessionInfo {
    SessionInfo {
        id: session.id.to_string(),
        user_id: session.user.to_string(),
        username: session.username,
        device_id: session.device.map(|device| device.to_string()),
        host_id: session.host.map(|host| host.to_string()),
        target: session.target,
        way_in: session.way_in,
        node: session.node,
        peer: session.peer,
        began_at: session.began_at.to_rfc3339(),
        ended_at: session.ended_at.map(|at| at.to_rfc3339()),
        received_bytes: session.received_bytes,
        sent_bytes: session.sent_bytes,
        ending: session.ending,
        recorded: session.recording_file.is_some(),
    }
}
