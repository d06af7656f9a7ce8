//! What a device is told of where a request comes from (openport contract section 12). Pure.

use std::net::IpAddr;

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::api::Transport;

/// Set by the node alone. A program behind CGI cannot tell `-` from `_`, so neither spelling passes; `Forwarded` is
/// the same in one field (RFC 7239).
const OURS: [&str; 4] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
];
/// Who a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Its address.
    pub(super) visitor: IpAddr,
    /// How it came.
    pub(super) transport: Transport,
    /// The name it asked for, as it wrote it.
    pub(super) host: HeaderValue,
}

/// Says in `headers` where a request comes from, in place of what they said.
pub(super) fn say_whence(headers: &mut HeaderMap, origin: &Origin) {
    let theirs: Vec<HeaderName> = headers
        .keys()
        .filter(|name| OURS.contains(&name.as_str().replace('_', "-").as_str()))
        .cloned()
        .collect();
    for name in theirs {
        headers.remove(name);
    }
    headers.insert(header::HOST, origin.host.clone());
    if let Ok(visitor) = HeaderValue::from_str(&origin.visitor.to_string()) {
        headers.insert("x-forwarded-for", visitor);
    }
    let scheme = match origin.transport {
        Transport::Plain => "http",
        Transport::Tls => "https",
    };
    headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme));
    headers.insert("x-forwarded-host", origin.host.clone());
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

    fn origin() -> Origin {
        Origin {
            visitor: IpAddr::from([192, 0, 2, 7]),
            transport: Transport::Tls,
            host: HeaderValue::from_static("Ab12cd34.u.example.net:8443"),
        }
    }

    #[test]
    fn the_node_alone_says_where_a_request_comes_from() {
        let mut headers = map(&[
            ("host", "Ab12cd34.u.example.net:8443"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.2"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=10.0.0.3"),
            ("cookie", "a=b"),
        ]);
        say_whence(&mut headers, &origin());
        let expected = map(&[
            ("host", "Ab12cd34.u.example.net:8443"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "Ab12cd34.u.example.net:8443"),
        ]);
        assert_eq!(headers, expected);
    }
}
