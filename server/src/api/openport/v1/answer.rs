//! What clients are answered (openport contract sections 4 to 7): HTTP 200 and one JSON object, refusals included.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::form::Unreadable;
use super::wish::BadRequest;
use crate::rate_limit::Exceeded;
use crate::registry::error::{ClientError, RegistryError, SessionError};

/// A session, or a forward tunnel.
#[derive(Debug, Serialize)]
pub(super) struct Granted {
    pub(super) session_token: String,
    pub(super) server_ip: String,
    pub(super) server_port: u16,
    pub(super) fallback_ssh_server_ip: String,
    pub(super) fallback_ssh_server_port: u16,
    pub(super) message: String,
    pub(super) account_id: i64,
    pub(super) key_id: i64,
    /// Unix seconds; sessions have no end.
    pub(super) session_end_time: Option<i64>,
    /// -1: no limit.
    pub(super) session_max_bytes: i64,
    pub(super) session_id: i64,
    pub(super) http_forward_address: Option<String>,
    pub(super) open_port_for_ip_link: Option<String>,
}

/// Why a client gets no port.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The session was killed.
    Killed,
    /// The device is blocked.
    Blocked,
    /// The device is out of service.
    Inactive,
    /// An operator wants its tunnel closed.
    Disconnected,
    /// The account is suspended.
    AccountInactive,
    /// No such public port in the account.
    NoSession(u16),
    /// No active node, or no free port.
    NoServer,
    /// Keys that nobody registered are not served.
    NotRegistered,
    /// The request lacks something.
    Bad(BadRequest),
    /// The body is no form and no JSON object.
    Unreadable,
    /// Too many requests.
    Limited(Exceeded),
    /// The cause goes to the log.
    Registry(RegistryError),
}

impl Refusal {
    fn text(&self) -> String {
        match self {
            Self::Killed => "Session killed".into(),
            Self::Blocked => "Client blocked".into(),
            Self::Inactive => "Client inactive".into(),
            Self::Disconnected => "Client disconnected by the operator".into(),
            Self::AccountInactive => "Account is inactive".into(),
            Self::NoSession(port) => format!("No session found for port {port}"),
            Self::NoServer => "No forwarding server is available".into(),
            Self::NotRegistered => "Key is not registered".into(),
            Self::Bad(bad) => bad.to_string(),
            Self::Unreadable => "Request body cannot be read".into(),
            Self::Limited(_) => "Too many requests".into(),
            Self::Registry(_) => "Internal error".into(),
        }
    }

    /// Whether the client shall stop for good.
    const fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Killed | Self::Bad(BadRequest::KeyMissing | BadRequest::KeyInvalid)
        )
    }

    /// The refusal in the words of `POST /linkKey`.
    pub(super) fn into_link_key_response(self) -> Response {
        self.log();
        self.finish(link_key_error(&self.text()))
    }

    fn log(&self) {
        if let Self::Registry(error) = self {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "client call failed"
            );
        }
    }

    fn finish(&self, mut response: Response) -> Response {
        if let Self::Limited(exceeded) = self {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            let seconds = HeaderValue::from(exceeded.retry_after_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Refused {
            error: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            fatal_error: Option<bool>,
        }
        self.log();
        let body = Refused {
            error: self.text(),
            fatal_error: self.is_fatal().then_some(true),
        };
        self.finish(json(StatusCode::OK, &body))
    }
}

/// `{"status":"ok"}`.
pub(super) fn ok() -> Response {
    #[derive(Serialize)]
    struct Done {
        status: &'static str,
    }
    json(StatusCode::OK, &Done { status: "ok" })
}

/// `{"status":"error","error":"text"}`.
pub(super) fn link_key_error(text: &str) -> Response {
    #[derive(Serialize)]
    struct Failed<'a> {
        status: &'static str,
        error: &'a str,
    }
    let body = Failed {
        status: "error",
        error: text,
    };
    json(StatusCode::OK, &body)
}

/// `value` as JSON that nobody keeps.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Texts and numbers always serialise.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let kind = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, kind, text).into_response()
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoServer => Self::NoServer,
            ClientError::Registry(error) => Self::Registry(error),
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match error {
            // It was deleted this very moment; its client asks again and is then a new one.
            SessionError::UnknownDevice => Self::Inactive,
            SessionError::Killed => Self::Killed,
            SessionError::NoServer => Self::NoServer,
            SessionError::Registry(error) => Self::Registry(error),
        }
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl From<Unreadable> for Refusal {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self::Limited(exceeded)
    }
}
