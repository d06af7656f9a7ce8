//! JSON and errors of the control surface (control contract section 2), and its bodies.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::access::LetIn;
use crate::api::{Api, BODY_TIMEOUT};
use crate::passwords::PasswordError;
use crate::rate_limit::Exceeded;
use crate::registry::error::RegistryError;

/// Told when more passwords are to be checked at once than the machine can bear.
pub(super) const BUSY: Exceeded = Exceeded {
    retry_after: Duration::from_secs(1),
};
/// Longest body, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// `value` as compact JSON that ends in a line break.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let Ok(mut text) = serde_json::to_vec(value) else {
        return Refusal::internal(&"serialise answer").into_response();
    };
    text.push(b'\n');
    let kind = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, kind, text).into_response()
}

/// `{"error":"text"}` with its status.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: Cow<'static, str>,
    retry_after: Option<u64>,
}

impl Refusal {
    /// With a text of the contract.
    pub(super) const fn new(status: StatusCode, text: &'static str) -> Self {
        Self {
            status,
            text: Cow::Borrowed(text),
            retry_after: None,
        }
    }

    /// 400 with a text that names what was sent.
    pub(super) const fn bad_value(text: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            text: Cow::Owned(text),
            retry_after: None,
        }
    }

    /// 400.
    pub(super) const fn bad(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404.
    pub(super) const fn not_found(text: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 409.
    pub(super) const fn conflict(text: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }

    /// 401.
    pub(super) const fn unauthorized(text: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    /// 403.
    pub(super) const fn forbidden(text: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// 500; the cause goes to the log.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "control call failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }
}

impl Refusal {
    /// The same as plain text, as the pages of a host's desktop have it (control contract section 14).
    pub(super) fn into_plain(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (self.status, kind, format!("{}\n", self.text)).into_response()
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::internal(&error)
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::from(BUSY),
            PasswordError::Failed => Self::internal(&error),
        }
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            text: Cow::Borrowed("too many attempts, try again later"),
            retry_after: Some(exceeded.retry_after_secs()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Error<'a> {
            error: &'a str,
        }
        let mut response = json(self.status, &Error { error: &self.text });
        if let Some(seconds) = self.retry_after {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, api: &Api) -> Result<Self, Self::Rejection> {
        parse(&bytes(request, api).await?).map(Self)
    }
}

/// A JSON body that may be left out: then it is the default.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for OptionalJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, api: &Api) -> Result<Self, Self::Rejection> {
        let bytes = bytes(request, api).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self)
    }
}

const INVALID: Refusal = Refusal::bad("invalid request body");

/// Whoever was disabled while their body was on its way is refused.
async fn bytes(request: Request<Body>, api: &Api) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request body too large");
    let let_in = request.extensions().get::<LetIn>().copied();
    let bytes = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY_BYTES))
        .await
        .map_err(|_| INVALID)?
        .map_err(|_| too_large())?;
    if let Some(let_in) = let_in {
        let_in.still(api).await?;
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // The character of code 0 can be kept in no text of PostgreSQL.
    let suspect = bytes.windows(6).any(|six| six == br"\u0000");
    if suspect && serde_json::from_slice(bytes).is_ok_and(|value| holds_nul(&value)) {
        return Err(INVALID);
    }
    serde_json::from_slice(bytes).map_err(|_| INVALID)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Tells a member that is `null` from one that is absent (`#[serde(default)]` on the field).
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
