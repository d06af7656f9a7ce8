//! The pages that a visitor of an HTTP name gets from the node itself.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

/// Why the device does not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The request's names contradict each other, or it cannot be passed on.
    Malformed,
    /// Nobody has the name.
    NoSuchName,
    /// `CONNECT`, which is for proxies.
    Method,
    /// The tunnel is down, or the device may not be reached now.
    Down,
    /// Sessions on the device have to be recorded, and this is none.
    Closed,
    /// The name has as many requests under way as it may have.
    Full,
    /// The device refused the connection or broke off.
    Broken,
    /// The device did not answer in time.
    Late,
    /// The registry does not answer.
    Internal,
}

impl Trouble {
    /// Status, heading, what it means.
    const fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "Bad request",
                "The request cannot be passed on to a device.",
            ),
            Self::NoSuchName => (
                StatusCode::NOT_FOUND,
                "No such name",
                "No device is reached under this name.",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "This is not a proxy.",
            ),
            Self::Down => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Device is not connected",
                "The device behind this name has no tunnel now. It comes back by itself; try again in a moment.",
            ),
            Self::Closed => (
                StatusCode::FORBIDDEN,
                "Recording is required",
                "The device behind this name is reached by recorded sessions only.",
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests at once",
                "The device behind this name is busy. Try again in a moment.",
            ),
            Self::Broken => (
                StatusCode::BAD_GATEWAY,
                "Device does not serve",
                "The device is connected, but its web server refused the connection or broke off.",
            ),
            Self::Late => (
                StatusCode::GATEWAY_TIMEOUT,
                "Device is too slow",
                "The device is connected, but it did not answer in time.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal error",
                "The server cannot look up this name now.",
            ),
        }
    }

    /// The page. Nothing of the request stands in it.
    pub(super) fn page(self) -> Response<Body> {
        let (status, heading, meaning) = self.words();
        let code = status.as_u16();
        let text = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{heading}</title></head>\n\
             <body><h1>{heading}</h1><p>{meaning}</p><p><small>{code} · Moorline</small></p></body></html>\n"
        );
        let mut page = Response::new(Body::from(text));
        *page.status_mut() = status;
        let headers = page.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self == Self::Down {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        page
    }
}
