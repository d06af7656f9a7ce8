//! [`Origin`]: under which address a request reached us, for the links and commands in answers (control contract
//! section 8).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::api::{Api, Transport};

/// Longest `Host` that is believed: a DNS name and a port.
const MAX_HOST_BYTES: usize = 260;

/// Scheme and host name of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// `http://H:8080`, no trailing slash.
    pub(super) base: String,
    /// `H`.
    pub(super) host: String,
}

impl FromRequestParts<Api> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Infallible> {
        let named = parts.headers.get(header::HOST);
        let named = named.and_then(|value| value.to_str().ok());
        let authority = named.or_else(|| Some(parts.uri.authority()?.as_str()));
        let scheme = match parts.extensions.get() {
            Some(Transport::Tls) => "https",
            Some(Transport::Plain) | None => "http",
        };
        Ok(origin(authority, scheme, &api.identity().api_url))
    }
}

/// What is not a host name goes into no command; then it is the address that the server has for itself. That one
/// counts too where it names the same host: something in front of the server may add TLS.
fn origin(authority: Option<&str>, scheme: &str, own: &str) -> Origin {
    let (_, own_authority) = own.split_once("://").unwrap_or(("", own));
    let own_authority = own_authority.split('/').next().unwrap_or(own_authority);
    match authority.filter(|authority| is_authority(authority)) {
        Some(authority) if !authority.eq_ignore_ascii_case(own_authority) => Origin {
            base: format!("{scheme}://{authority}"),
            host: host_of(authority),
        },
        Some(_) | None => Origin {
            base: own.to_owned(),
            host: host_of(own_authority),
        },
    }
}

fn is_authority(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    (1..=MAX_HOST_BYTES).contains(&text.len())
        && text.chars().all(plain)
        && !text.starts_with(['-', ':'])
}

/// Without the port, and without the brackets of an IPv6 address.
fn host_of(authority: &str) -> String {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest).to_owned();
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => host.to_owned(),
        Some(_) | None => authority.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(authority: Option<&str>) -> (String, String) {
        let own = "https://moor.example.org:8443";
        let origin = origin(authority, "http", own);
        (origin.base, origin.host)
    }

    #[test]
    fn commands_name_the_host_that_was_asked_for() {
        let pair = |base: &str, host: &str| (base.to_owned(), host.to_owned());
        assert_eq!(
            of(Some("192.0.2.1:8080")),
            pair("http://192.0.2.1:8080", "192.0.2.1")
        );
        assert_eq!(of(Some("[::1]:8080")), pair("http://[::1]:8080", "::1"));
        assert_eq!(of(Some("other")), pair("http://other", "other"));
        assert_eq!(
            of(Some("Moor.example.org:8443")),
            pair("https://moor.example.org:8443", "moor.example.org"),
            "something in front of the server adds TLS"
        );
    }

    #[test]
    fn what_would_break_out_of_a_command_is_not_repeated() {
        let own = (
            "https://moor.example.org:8443".to_owned(),
            "moor.example.org".to_owned(),
        );
        for odd in [
            "h;rm -rf /",
            "$(x)",
            "a'b",
            "-oProxy",
            "",
            "h h",
            "h/../x",
            "h\"x",
        ] {
            assert_eq!(of(Some(odd)), own, "{odd}");
        }
        assert_eq!(of(None), own);
    }
}
