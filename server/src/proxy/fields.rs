//! Header fields that concern one connection alone, on their way through ours. Pure.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Version};

/// Fields that concern one connection alone (RFC 9110 section 7.6.1), beside those that `Connection` names. `Trailer`
/// stays, as the fields it tells of are passed on.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Would let the visitor speak HTTP/2 to the device past everything here.
const NEVER_UPGRADED_TO: [&str; 2] = ["h2c", "h2"];

/// How the body of a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has none, or its length is known.
    Known,
    /// In chunks.
    Chunked,
}

/// The protocol that a request asks to go over to, if it may.
pub(super) fn wanted_upgrade(
    version: Version,
    method: &Method,
    headers: &HeaderMap,
) -> Option<HeaderValue> {
    let asked = version == Version::HTTP_11
        && method != Method::CONNECT
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let protocol = protocols.next().filter(|_| asked)?;
    let safe = tokens(headers, &header::UPGRADE).all(|name| {
        !NEVER_UPGRADED_TO
            .iter()
            .any(|never| name.eq_ignore_ascii_case(never))
    });
    (safe && protocols.next().is_none()).then(|| protocol.clone())
}

/// Makes the fields of a visitor's request those that go on to a device.
pub(super) fn towards_device(
    headers: &mut HeaderMap,
    framing: Framing,
    upgrade: Option<HeaderValue>,
) {
    remove_hop_by_hop(headers);
    // The node has answered it already, by reading the body.
    headers.remove(header::EXPECT);
    if framing == Framing::Chunked {
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    join_cookies(headers);
    set_upgrade(headers, upgrade);
}

/// HTTP/2 may bring cookies in several fields, HTTP/1.1 knows one alone (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(cookie) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, cookie);
    }
}

/// Makes the fields of a device's answer those that go to the visitor.
pub(super) fn towards_visitor(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    // A length beside chunks does not count (RFC 9112 section 6.3), and must not count for the next one to read it.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
    set_upgrade(headers, upgrade);
}

fn set_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter_map(|token| token.parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The members of a list field.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn fields_of_one_connection_stay_on_it() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("connection", "host"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "websocket"),
            ("trailer", "x-sum"),
        ]);
        towards_device(&mut headers, Framing::Chunked, None);
        for gone in [
            "connection",
            "x-private",
            "keep-alive",
            "te",
            "upgrade",
            "content-length",
            "host",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["transfer-encoding"], "chunked");
        assert_eq!(headers["trailer"], "x-sum");
        let mut answer = map(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("etag", "e"),
        ]);
        towards_visitor(&mut answer, None);
        assert_eq!(answer, map(&[("etag", "e")]));
        let mut answer = map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        towards_visitor(&mut answer, None);
        assert!(answer.is_empty());
    }

    #[test]
    fn upgrades_pass_but_for_those_that_would_pass_by() {
        let asks = |connection: &'static str, protocol: &'static str| {
            let headers = map(&[("connection", connection), ("upgrade", protocol)]);
            wanted_upgrade(Version::HTTP_11, &Method::GET, &headers)
        };
        assert_eq!(
            asks("keep-alive, Upgrade", "websocket").unwrap(),
            "websocket"
        );
        assert_eq!(asks("upgrade", "tcp").unwrap(), "tcp");
        for (connection, protocol) in [
            ("keep-alive", "websocket"),
            ("upgrade, HTTP2-Settings", "h2c"),
            ("upgrade", "websocket, H2C"),
        ] {
            assert_eq!(asks(connection, protocol), None, "{connection} {protocol}");
        }
        let headers = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        let old = wanted_upgrade(Version::HTTP_10, &Method::GET, &headers);
        assert_eq!(old, None);
    }
}
