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
        let authority = authority(parts);
        let scheme = match parts.extensions.get() {
            Some(Transport::Tls) => "https",
            Some(Transport::Plain) | None => "http",
        };
        Ok(origin(authority, scheme, &api.identity().api_url))
    }
}

/// The name that a request was sent to, as it says.
fn authority(parts: &Parts) -> Option<&str> {
    let named = parts.headers.get(header::HOST);
    let named = named.and_then(|value| value.to_str().ok());
    named.or_else(|| Some(parts.uri.authority()?.as_str()))
}

/// The origins (RFC 6454) that our own pages may have in the browser that sent a request. Nothing in them needs
/// escaping.
pub(super) fn own_origins(parts: &Parts, api: &Api) -> Vec<String> {
    let transport = parts.extensions.get().copied();
    let transport = transport.unwrap_or(Transport::Plain);
    origins(authority(parts), transport, &api.identity().api_url)
}

fn origins(authority: Option<&str>, transport: Transport, own: &str) -> Vec<String> {
    let schemes: &[&str] = match transport {
        Transport::Tls => &["https"],
        // Something in front of the server may add TLS.
        Transport::Plain => &["http", "https"],
    };
    let mut origins: Vec<String> = authority
        .filter(|authority| is_authority(authority))
        .into_iter()
        .flat_map(|authority| {
            schemes
                .iter()
                .map(move |scheme| format!("{scheme}://{authority}"))
        })
        .collect();
    if let Some((scheme, rest)) = own.split_once("://") {
        let authority = rest.split('/').next().unwrap_or(rest);
        let own = format!("{scheme}://{authority}");
        if is_authority(authority) && !origins.contains(&own) {
            origins.push(own);
        }
    }
    origins
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
    fn our_pages_are_known_by_the_name_that_was_asked_for() {
        let own = "https://moor.example.org:8443/";
        let of = |authority, transport| origins(authority, transport, own).join(" ");
        assert_eq!(
            of(Some("192.0.2.1:8080"), Transport::Plain),
            "http://192.0.2.1:8080 https://192.0.2.1:8080 https://moor.example.org:8443"
        );
        assert_eq!(
            of(Some("moor.example.org:8443"), Transport::Tls),
            "https://moor.example.org:8443"
        );
        for odd in [None, Some("h; script-src *"), Some("h,h")] {
            assert_eq!(of(odd, Transport::Tls), "https://moor.example.org:8443");
        }
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
