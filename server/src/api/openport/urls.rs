//! Addresses that answers lead to: back to this server, and to what devices offer.

use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;

use crate::api::{Api, Transport};

/// Base of URLs in the answer to this request, no slash at its end: as configured, else scheme and host of the
/// request (openport contract section 2).
pub(super) fn base_url(api: &Api, request: &Parts) -> String {
    let identity = api.identity();
    if let Some(configured) = &identity.public_url {
        return configured.clone();
    }
    let scheme = match request.extensions.get() {
        Some(Transport::Tls) => "https",
        Some(Transport::Plain) | None => "http",
    };
    match host(request) {
        Some(host) => format!("{scheme}://{host}"),
        None => identity.api_url.clone(),
    }
}

/// Host and port that the request was sent to, if it says so in a way that can stand in a URL.
fn host(request: &Parts) -> Option<String> {
    let named = request.headers.get(header::HOST);
    let named = named.and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    let authority = named.or_else(|| request.uri.authority().cloned())?;
    let authority = authority.as_str();
    // A user name in there would lead elsewhere than it looks.
    (!authority.is_empty() && !authority.contains('@')).then(|| authority.to_owned())
}

/// Of a key, by its number.
pub(super) fn key(base: &str, number: i64) -> String {
    format!("{base}/api/v2/keys/{number}/")
}

/// The link that opens a public port for the visitor who clicks it (section 8).
pub(super) fn ip_link(base: &str, port: u16, token: &str) -> String {
    format!("{base}/l/{port}/{token}")
}

/// Leads to the session of a device for a local port, wherever it is (section 8).
pub(super) fn redirect(base: &str, token: &str, local_port: u16) -> String {
    format!("{base}/r/{token}/{local_port}")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn host_of(uri: &str, header: Option<&str>) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        if let Some(value) = header {
            request = request.header(header::HOST, value);
        }
        host(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_host_of_a_request_is_taken_when_it_can_stand_in_a_url() {
        for good in ["api.example.net", "127.0.0.1:8080", "[2001:db8::1]:443"] {
            assert_eq!(host_of("/", Some(good)).as_deref(), Some(good));
        }
        for bad in [
            None,
            Some(""),
            Some("a b"),
            Some("x@evil.example"),
            Some("a/b"),
        ] {
            assert_eq!(host_of("/", bad), None, "{bad:?}");
        }
        let http2 = host_of("https://api.example.net:8443/api/v2/keys/", None);
        assert_eq!(http2.as_deref(), Some("api.example.net:8443"));
    }
}
