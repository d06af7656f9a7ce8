//! What a page of a host may do in a browser. Pure.
//!
//! Such a page has the server's own origin, so nothing but its policy keeps it from the rest of the server. The policy
//! lets it load, ask and post beneath the host's route alone, and gives it no windows, frames and service workers,
//! through which it would get around the policy or outlive its tab. The token never stands in an address that a
//! script of the page can read.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::{Route, kept_query};

/// Named by neither `default-src` nor paths.
const REST_OF_POLICY: &str = "frame-src 'none'; object-src 'none'; frame-ancestors 'none'; \
     sandbox allow-scripts allow-same-origin allow-forms allow-downloads allow-pointer-lock";
/// What an origin was allowed once, all its pages are; those of hosts shall not have it.
const PERMISSIONS: &str = "bluetooth=(), camera=(), display-capture=(), geolocation=(), hid=(), microphone=(), \
     midi=(), payment=(), publickey-credentials-create=(), publickey-credentials-get=(), serial=(), usb=()";

/// Whether a browser asks for the script of a service worker, which it says with every such request.
pub(super) fn is_for_service_worker(headers: &HeaderMap) -> bool {
    headers.contains_key("service-worker")
}

/// Leads a browser that opens a page with the token in its address to the same address without it. Its next request
/// brings the cookie that this answer sets.
pub(super) fn without_token(parts: &Parts) -> Option<Response> {
    if !is_navigation(parts) {
        return None;
    }
    let mut place = parts.uri.path().to_owned();
    let query = kept_query(parts.uri.query());
    if !query.is_empty() {
        place.push('?');
        place.push_str(&query);
    }
    let place = HeaderValue::try_from(place).ok()?;
    let headers = [
        (header::LOCATION, place),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    Some((StatusCode::SEE_OTHER, headers).into_response())
}

/// Whether a browser opens a page. To servers whose address is no secure one it does not say so, but tells what it
/// would like to get.
fn is_navigation(parts: &Parts) -> bool {
    let field = |name: &str| parts.headers.get(name)?.to_str().ok();
    let opens = match field("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => field("accept").is_some_and(|accept| accept.contains("text/html")),
    };
    opens && parts.method == Method::GET && !parts.headers.contains_key(header::UPGRADE)
}

/// Adds to the fields of a page what holds for it in the browser. `origins` are those that our pages may have.
pub(super) fn confine(headers: &mut HeaderMap, route: &Route<'_>, origins: &[String]) {
    // Each policy of several holds: the host's own may forbid more, never less.
    if let Ok(policy) = HeaderValue::try_from(policy(route, origins)) {
        headers.append(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn policy(route: &Route<'_>, origins: &[String]) -> String {
    let mut pages = String::new();
    let mut sockets = String::new();
    // A policy cannot name a bare IPv6 address.
    for origin in origins.iter().filter(|origin| !origin.contains('[')) {
        let socket = origin.replacen("http", "ws", 1);
        pages.extend([" ", origin, route.prefix]);
        sockets.extend([" ", &socket, route.prefix]);
    }
    if pages.is_empty() {
        pages.push_str(" 'none'");
    }
    format!(
        "default-src{pages}; script-src{pages} 'unsafe-inline' blob:; style-src{pages} 'unsafe-inline'; \
         img-src{pages} data: blob:; font-src{pages} data:; media-src{pages} data: blob:; worker-src{pages} blob:; \
         connect-src{pages}{sockets}; form-action{pages}; base-uri{pages}; {REST_OF_POLICY}"
    )
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn asked(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Response> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        without_token(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_browser_that_opens_a_page_loses_the_token() {
        let page = "/v1/user/hosts/h/vnc/vnc.html?a=1&token=secret&path=v1/x";
        let by_mode = [("sec-fetch-mode", "navigate"), ("accept", "*/*")];
        let by_wish = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        for headers in [&by_mode[..], &by_wish[..]] {
            let answer = asked("GET", page, headers).unwrap();
            assert_eq!(answer.status(), StatusCode::SEE_OTHER);
            assert_eq!(
                answer.headers()[header::LOCATION],
                "/v1/user/hosts/h/vnc/vnc.html?a=1&path=v1/x"
            );
        }
        let bare = asked("GET", "/v1/user/hosts/h/vnc/?token=x", &by_mode).unwrap();
        assert_eq!(bare.headers()[header::LOCATION], "/v1/user/hosts/h/vnc/");
        let script = [("sec-fetch-mode", "cors"), ("accept", "text/html")];
        let socket = [("accept", "text/html"), ("upgrade", "websocket")];
        for (method, headers) in [
            ("GET", &script[..]),
            ("GET", &socket[..]),
            ("GET", &[("accept", "*/*")]),
            ("GET", &[]),
            ("POST", &by_mode),
        ] {
            assert!(asked(method, page, headers).is_none(), "{headers:?}");
        }
    }

    #[test]
    fn a_policy_names_one_route() {
        let route = Route {
            prefix: "/v1/user/hosts/h/vnc/",
            host: "h",
            path: "",
        };
        let origins = ["https://s:8443".to_owned(), "http://[::1]:80".to_owned()];
        let text = policy(&route, &origins);
        let here = "https://s:8443/v1/user/hosts/h/vnc/";
        assert!(
            text.starts_with(&format!("default-src {here}; script-src {here} 'un")),
            "{text}"
        );
        let sockets = format!("connect-src {here} wss://s:8443/v1/user/hosts/h/vnc/; ");
        assert!(text.contains(&sockets), "{text}");
        assert!(
            !text.contains("'self'") && !text.contains("[::1]"),
            "{text}"
        );
        let none = policy(&route, &["http://[::1]:80".to_owned()]);
        assert!(none.starts_with("default-src 'none'; "), "{none}");
    }
}
