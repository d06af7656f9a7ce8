//! Header fields between a browser and a host. Pure.
//!
//! *Invariant:* neither our token nor our cookie reaches a host, and a host sets no cookie of ours.
//! *Invariant:* a host's answer says nothing that holds beyond its own pages: what is not known to be harmless stays
//! behind, and what names a place names one beneath the host's route.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use url::Url;

use super::Route;
use crate::api::control::access::COOKIE;

/// What a host's web server is told that it is called.
const HOST: &str = "localhost:6080";
/// Fields of an answer that pass. Not among them, since they hold for all pages of a server or mean something to a
/// proxy in front of it: `Clear-Site-Data`, `Service-Worker-Allowed`, `NEL` and `Report-To` (which would tell a host the
/// addresses of our own pages), `Strict-Transport-Security`, `Alt-Svc`, `Refresh`, `Link`, `WWW-Authenticate`, `X-Accel-…`.
const PASSED: [&str; 25] = [
    "accept-ranges",
    "age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-embedder-policy",
    "date",
    "etag",
    "expires",
    "last-modified",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "server",
    "upgrade",
    "vary",
];
/// Attributes of a host's cookie that pass. `Path` becomes one beneath the host's route; `Domain` never passes.
const COOKIE_ATTRIBUTES: [&str; 5] = ["expires", "httponly", "max-age", "samesite", "secure"];

/// Makes the fields of a browser's request those that a host gets to see.
pub(super) fn for_host(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    // It may hold a token, as the address of the page before does.
    headers.remove(header::REFERER);
    let cookies: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|cookie| !is_ours(cookie))
        .map(str::to_owned)
        .collect();
    headers.remove(header::COOKIE);
    if !cookies.is_empty()
        && let Ok(value) = HeaderValue::from_str(&cookies.join("; "))
    {
        headers.insert(header::COOKIE, value);
    }
    headers.insert(header::HOST, HeaderValue::from_static(HOST));
}

/// What of the fields of a host's answer to a request for `target` a browser gets to see.
pub(super) fn for_browser(theirs: &HeaderMap, route: &Route<'_>, target: &Uri) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in theirs {
        if PASSED.contains(&name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    let mut rewritten = |name: HeaderName, rewrite: &dyn Fn(&str) -> Option<String>| {
        for value in theirs.get_all(&name) {
            let value = value.to_str().ok().and_then(rewrite);
            let value = value.and_then(|value| HeaderValue::try_from(value).ok());
            if let Some(value) = value {
                headers.append(&name, value);
            }
        }
    };
    rewritten(header::SET_COOKIE, &|cookie| own_cookie(cookie, route));
    // A browser follows it wherever it leads, whatever the policy of the page says of paths.
    rewritten(header::LOCATION, &|place| own_place(place, route, target));
    headers
}

/// A host's cookie as one for its own pages alone.
fn own_cookie(cookie: &str, route: &Route<'_>) -> Option<String> {
    let mut parts = cookie.split(';').map(str::trim);
    let (name, value) = parts.next()?.split_once('=')?;
    let name = name.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    // Browsers give names that begin with two underscores a meaning for a whole server.
    let good = !name.is_empty() && name.chars().all(plain) && !name.starts_with("__");
    if !good || name.eq_ignore_ascii_case(COOKIE) {
        return None;
    }
    let mut path = "";
    let mut kept = String::new();
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let key = key.trim().to_ascii_lowercase();
        if key == "path" {
            path = value.trim().strip_prefix('/').unwrap_or("");
        } else if COOKIE_ATTRIBUTES.contains(&key.as_str()) {
            kept.push_str("; ");
            kept.push_str(attribute);
        }
    }
    let prefix = route.prefix;
    Some(format!(
        "{name}={}; Path={prefix}{path}{kept}",
        value.trim()
    ))
}

/// The place that a host means by `Location`, beneath its route; none for any other.
fn own_place(place: &str, route: &Route<'_>, target: &Uri) -> Option<String> {
    let base = Url::parse(&format!("http://{HOST}/")).ok()?;
    let meant = base.join(target.path()).ok()?.join(place).ok()?;
    let path = meant.path().strip_prefix('/')?;
    if meant.origin() != base.origin() || is_ambiguous(path) {
        return None;
    }
    let mut own = format!("{}{path}", route.prefix);
    for (sign, part) in [('?', meant.query()), ('#', meant.fragment())] {
        if let Some(part) = part {
            own.push(sign);
            own.push_str(part);
        }
    }
    Some(own)
}

/// Whether a path leads out of its folder for those who read escaped slashes as slashes, as something between browser
/// and server may.
pub(super) fn is_ambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let slashes = ["%2f", "%5c", "\\"];
    let upwards = ["..", ".%2e", "%2e.", "%2e%2e"];
    slashes.iter().any(|slash| path.contains(slash)) && upwards.iter().any(|up| path.contains(up))
}

/// Whether `cookie`, as a browser writes it, is the one with a token.
fn is_ours(cookie: &str) -> bool {
    let named = cookie.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
    let name = named.split(['=', ';']).next().unwrap_or_default();
    name.trim().eq_ignore_ascii_case(COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route<'_> = Route {
        prefix: "/v1/user/hosts/h/vnc/",
        host: "h",
        path: "a/b.html",
    };

    #[test]
    fn secrets_stay_here() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        headers.insert(
            header::REFERER,
            HeaderValue::from_static("http://s/?token=x"),
        );
        for cookies in ["a=1; admin_token=secret;b=2", "admin_token=secret"] {
            headers.append(header::COOKIE, HeaderValue::from_static(cookies));
        }
        for_host(&mut headers);
        let mut expected = HeaderMap::new();
        expected.insert(header::COOKIE, HeaderValue::from_static("a=1; b=2"));
        expected.insert(header::HOST, HeaderValue::from_static("localhost:6080"));
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_host_sets_cookies_for_its_own_pages_alone() {
        let own = |cookie| own_cookie(cookie, &ROUTE);
        let cookie = |text: &str| Some(text.to_owned());
        let here = "/v1/user/hosts/h/vnc/";
        assert_eq!(own("own=1"), cookie(&format!("own=1; Path={here}")));
        assert_eq!(
            own("a=b=c; Path=/; Domain=example.org; HttpOnly; Max-Age=5; Partitioned"),
            cookie(&format!("a=b=c; Path={here}; HttpOnly; Max-Age=5"))
        );
        assert_eq!(
            own("a=; path=/sub; secure; SameSite=None"),
            cookie(&format!("a=; Path={here}sub; secure; SameSite=None"))
        );
        for refused in [
            "admin_token=evil",
            " Admin_Token =evil; Path=/",
            "=admin_token=evil",
            "admin_token",
            "__Host-a=1; Secure; Path=/",
            "__secure-a=1; Secure",
            "a b=1",
            "",
        ] {
            assert_eq!(own(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_host_leads_to_its_own_pages_alone() {
        let target = Uri::from_static("/a/b.html?x=1");
        let own = |place| own_place(place, &ROUTE, &target);
        for (place, expected) in [
            ("c.html?y=2#z", "/v1/user/hosts/h/vnc/a/c.html?y=2#z"),
            ("/", "/v1/user/hosts/h/vnc/"),
            ("/v1/user/hosts", "/v1/user/hosts/h/vnc/v1/user/hosts"),
            ("../../../../x", "/v1/user/hosts/h/vnc/x"),
            ("%2e%2e/%2e%2e/x", "/v1/user/hosts/h/vnc/x"),
            ("http://localhost:6080/d", "/v1/user/hosts/h/vnc/d"),
            ("/\tx\\y", "/v1/user/hosts/h/vnc/x/y"),
            ("?q", "/v1/user/hosts/h/vnc/a/b.html?q"),
        ] {
            assert_eq!(own(place).as_deref(), Some(expected), "{place}");
        }
        for elsewhere in [
            "http://localhost/d",
            "https://localhost:6080/d",
            "//server/v1/user/hosts",
            "\\\\server\\x",
            "http:\\\\server/x",
            "javascript:alert(1)",
            "data:text/html,x",
            "/..%2f..%2fx",
            "/x/.%2e%5cy",
        ] {
            assert_eq!(own(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_holds_for_the_whole_server_stays_behind() {
        let mut theirs = HeaderMap::new();
        for (name, value) in [
            ("clear-site-data", "\"*\""),
            ("service-worker-allowed", "/"),
            ("strict-transport-security", "max-age=1"),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("alt-svc", "h2=\":1\""),
            ("refresh", "0;url=/"),
            ("link", "</>; rel=preload"),
            ("www-authenticate", "Basic"),
            ("x-accel-redirect", "/"),
            ("location", "//elsewhere/"),
            ("set-cookie", "admin_token=evil"),
            ("content-type", "text/html"),
            ("content-security-policy", "img-src 'none'"),
        ] {
            theirs.append(name, HeaderValue::from_static(value));
        }
        let seen = for_browser(&theirs, &ROUTE, &Uri::from_static("/"));
        let mut names: Vec<_> = seen.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-security-policy", "content-type"]);
    }
}
