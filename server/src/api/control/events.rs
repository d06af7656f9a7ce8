//! `GET /v1/admin/events` (control contract section 10).

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::access::Operator;
use super::answer::{Refusal, json};
use crate::api::Api;
use crate::registry::model::{
    AccountId, DeviceId, Event, EventFilter, EventPage, HostId, Timestamp, UserId,
};

const DEFAULT_LIMIT: u64 = 50;
/// More in a page are cut to that.
const MAX_LIMIT: u64 = 200;

#[derive(Serialize)]
struct EventInfo {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    level: String,
    r#type: String,
    message: String,
    metadata: Value,
    created_at: String,
}

impl From<Event> for EventInfo {
    fn from(event: Event) -> Self {
        Self {
            id: event.uuid.to_string(),
            task_id: event.task.map(|id| id.to_string()),
            host_id: event.host.map(|id| id.to_string()),
            user_id: event.user.map(|id| id.to_string()),
            device_id: event.device.map(|id| id.to_string()),
            level: event.level,
            r#type: event.kind,
            message: event.message,
            metadata: event.metadata,
            created_at: event.at.to_rfc3339(),
        }
    }
}

#[derive(Serialize)]
struct Page {
    events: Vec<EventInfo>,
    total: u64,
    limit: u64,
    offset: u64,
}

pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let asked = Asked::parse(query.as_deref(), operator.0.account)?;
    let (limit, offset) = (asked.filter.limit, asked.filter.offset);
    let page = if asked.names_nothing {
        EventPage {
            events: Vec::new(),
            total: 0,
        }
    } else {
        api.registry().event_page(asked.filter).await?
    };
    let page = Page {
        events: page.events.into_iter().map(EventInfo::from).collect(),
        total: page.total,
        limit,
        offset,
    };
    Ok(json(StatusCode::OK, &page))
}

/// What the query asks for.
struct Asked {
    filter: EventFilter,
    /// An id was given that none can have.
    names_nothing: bool,
}

impl Asked {
    fn parse(query: Option<&str>, account: AccountId) -> Result<Self, Refusal> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
        let mut asked = Self {
            filter: EventFilter {
                account: Some(account),
                limit: DEFAULT_LIMIT,
                ..EventFilter::default()
            },
            names_nothing: false,
        };
        for (name, value) in pairs {
            if !value.is_empty() {
                asked.take(&name, value)?;
            }
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        match name {
            "type" => {
                // No database keeps a NUL.
                self.names_nothing |= value.contains('\0');
                self.filter.kind = Some(value);
            }
            "user_id" => self.filter.user = self.id(&value).map(UserId),
            "host_id" => self.filter.host = self.id(&value).map(HostId),
            "device_id" => self.filter.device = self.id(&value).map(DeviceId),
            "since" => {
                let bad = Refusal::bad("since must be RFC3339 format");
                self.filter.since = Some(time(&value).ok_or(bad)?);
            }
            "until" => {
                let bad = Refusal::bad("until must be RFC3339 format");
                self.filter.until = Some(time(&value).ok_or(bad)?);
            }
            "limit" => {
                let limit = number(&value).filter(|limit| *limit > 0);
                let bad = Refusal::bad("limit must be a positive integer");
                self.filter.limit = limit.ok_or(bad)?.min(MAX_LIMIT);
            }
            "offset" => {
                let bad = Refusal::bad("offset must be a non-negative integer");
                self.filter.offset = number(&value).ok_or(bad)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn id(&mut self, text: &str) -> Option<Uuid> {
        let id = Uuid::try_parse(text).ok();
        self.names_nothing |= id.is_none();
        id
    }
}

/// A `+` that was not escaped arrives as a blank.
fn time(text: &str) -> Option<Timestamp> {
    Timestamp::from_rfc3339(&text.replace(' ', "+")).ok()
}

fn number(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|number| *number <= i64::MAX.unsigned_abs())
}
