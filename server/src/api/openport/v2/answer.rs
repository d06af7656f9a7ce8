//! What a call answers: JSON, or `{"detail"}` or `{"<field>":[…]}` with its status (openport contract section 2).

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;

use super::fields::FieldErrors;
use crate::rate_limit::Exceeded;
use crate::registry::error::RegistryError;

/// Why a call failed; the one place that turns a cause into the documented shape.
#[derive(Debug)]
pub(super) enum Failure {
    /// 400 with all bad fields.
    Fields(FieldErrors),
    /// 400: the body does not parse.
    Unparsable,
    /// 401.
    NoToken,
    /// 401: unknown, expired or deleted.
    InvalidToken,
    /// 403: scope missing.
    NotPermitted,
    /// 403.
    AccountInactive,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed {
        /// The one that was tried.
        method: Method,
        /// For `Allow`.
        allowed: &'static str,
    },
    /// 413.
    TooLarge,
    /// 415, with the media type of the body.
    UnsupportedMedia(String),
    /// 429.
    Throttled(Exceeded),
    /// 500; the cause goes to the log.
    Registry(RegistryError),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self::Throttled(exceeded)
    }
}

impl From<FieldErrors> for Failure {
    fn from(errors: FieldErrors) -> Self {
        Self::Fields(errors)
    }
}

impl Failure {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Fields(_) | Self::Unparsable => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::NotPermitted | Self::AccountInactive => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Registry(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Fields(_) => String::new(),
            Self::Unparsable => "JSON parse error".into(),
            Self::NoToken => "Authentication credentials were not provided.".into(),
            Self::InvalidToken => "Invalid token.".into(),
            Self::NotPermitted => "You do not have permission to perform this action.".into(),
            Self::AccountInactive => "Account is inactive.".into(),
            Self::NotFound => "Not found.".into(),
            Self::MethodNotAllowed { method, .. } => format!("Method \"{method}\" not allowed."),
            Self::TooLarge => "Request body is too large.".into(),
            Self::UnsupportedMedia(kind) => {
                format!("Unsupported media type \"{kind}\" in request.")
            }
            Self::Throttled(exceeded) => format!(
                "Request was throttled. Expected available in {} seconds.",
                exceeded.retry_after_secs()
            ),
            Self::Registry(_) => "A server error occurred.".into(),
        }
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response {
        if let Self::Registry(error) = &self {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "openport call failed");
        }
        let mut response = match &self {
            Self::Fields(errors) => json(self.status(), errors),
            _ => json(self.status(), &json!({"detail": self.detail()})),
        };
        let header = match self {
            Self::NoToken | Self::InvalidToken => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Token")))
            }
            Self::MethodNotAllowed { allowed, .. } => {
                Some((header::ALLOW, HeaderValue::from_static(allowed)))
            }
            Self::Throttled(exceeded) => Some((
                header::RETRY_AFTER,
                HeaderValue::from(exceeded.retry_after_secs()),
            )),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// `value` as JSON. Answers are for the holder of the token alone.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Texts, numbers, lists and objects always serialise.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let head = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, head, text).into_response()
}

/// 200 with `value`.
pub(super) fn ok(value: &impl Serialize) -> Response {
    json(StatusCode::OK, value)
}
