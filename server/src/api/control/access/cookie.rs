//! The cookie with a token: where it counts, and who may have it sent (control contract sections 1 and 14).
//!
//! A browser adds a cookie to whatever any page asks of us. So it counts where the pages of a host's desktop are
//! loaded, for our own pages and for people who follow a link; not for a page of another origin, even one of the same
//! site, as the HTTP name of a device may be.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::COOKIE;
use crate::api::Api;
use crate::api::control::origin;

/// Cookies of our name that are looked at: pages of hosts may add to ours.
const MAX_COOKIES: usize = 16;

/// The token that a request's cookie counts for.
pub(super) fn token(parts: &Parts, api: &Api) -> Option<String> {
    if !is_for_desktop(parts.uri.path()) || !may_have_it(parts, &origin::own_origins(parts, api)) {
        return None;
    }
    let tokens = &api.0.parts.tokens;
    choose(&parts.headers, |token| {
        tokens.read(token).map(|claims| claims.sub)
    })
}

/// The cookie counts where a browser loads the pages of a host's desktop, and nowhere else.
fn is_for_desktop(path: &str) -> bool {
    let rest = ["/v1/admin/hosts/", "/v1/user/hosts/"]
        .into_iter()
        .find_map(|root| path.strip_prefix(root));
    rest.is_some_and(|rest| rest.split('/').nth(1) == Some("vnc"))
}

/// Whether one of our own pages asks, or somebody opens a page; `own` are the origins of our pages.
fn may_have_it(parts: &Parts, own: &[String]) -> bool {
    let field = |name: &str| parts.headers.get(name).map(|value| value.as_bytes());
    // Browsers say it with every WebSocket, and with whatever is not GET.
    if let Some(origin) = field("origin") {
        let ours = |own: &String| origin.eq_ignore_ascii_case(own.as_bytes());
        return own.iter().any(ours);
    }
    match field("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => true,
        Some(_) => {
            field("sec-fetch-mode") == Some(b"navigate")
                && field("sec-fetch-dest") == Some(b"document")
                && [Method::GET, Method::HEAD].contains(&parts.method)
        }
    }
}

/// The token among cookies of our name. A page may have set some that only look like ours, or are somebody else's;
/// `read` tells whose a good one is. Those of several people count for nobody.
fn choose(headers: &HeaderMap, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let tokens: Vec<&str> = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .filter(|token| !token.is_empty())
        .take(MAX_COOKIES)
        .collect();
    let mut good = tokens
        .iter()
        .filter_map(|token| Some((*token, read(token)?)));
    let Some((token, user)) = good.next() else {
        return tokens.first().map(|&token| token.to_owned());
    };
    good.all(|(_, other)| other == user)
        .then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_cookie_counts_for_desktops_only() {
        for path in ["/v1/admin/hosts/1/vnc/vnc.html", "/v1/user/hosts/1/vnc/"] {
            assert!(is_for_desktop(path), "{path}");
        }
        for path in [
            "/v1/admin/users",
            "/v1/admin/hosts/vnc",
            "/v1/admin/hosts/1/start",
            "/v1/user/hosts/1/vncs/",
            "/x/v1/user/hosts/1/vnc/",
        ] {
            assert!(!is_for_desktop(path), "{path}");
        }
    }

    #[test]
    fn other_pages_do_not_have_the_cookie_sent() {
        let own = ["http://s.example:8080".to_owned()];
        let may =
            |method: &str, headers: &[(&str, &str)]| may_have_it(&parts(method, headers), &own);
        assert!(may("GET", &[]), "no browser");
        assert!(may("POST", &[("origin", "http://S.example:8080")]));
        for site in ["same-origin", "none"] {
            assert!(may("GET", &[("sec-fetch-site", site)]));
        }
        for origin in [
            "null",
            "http://s.example",
            "https://s.example:8080",
            "http://ab12cd34.u.s.example:8080",
            "http://s.example:8080.evil.org",
        ] {
            assert!(!may("GET", &[("origin", origin)]), "{origin}");
        }
        let site = ("sec-fetch-site", "same-site");
        let mode = ("sec-fetch-mode", "navigate");
        assert!(may("GET", &[site, mode, ("sec-fetch-dest", "document")]));
        assert!(!may("POST", &[site, mode, ("sec-fetch-dest", "document")]));
        assert!(!may("GET", &[site, mode, ("sec-fetch-dest", "iframe")]));
        assert!(!may("GET", &[site, ("sec-fetch-mode", "no-cors")]));
    }

    #[test]
    fn cookies_that_pages_added_do_not_count() {
        let read = |token: &str| Some(token.strip_prefix("good-")?.get(..1)?.to_owned());
        let chosen = |cookies| choose(&parts("GET", &[("cookie", cookies)]).headers, read);
        assert_eq!(chosen("a=1; my_admin_token=good-a; admin_token="), None);
        assert_eq!(chosen("admin_token=x").as_deref(), Some("x"));
        let own = "admin_token=x; admin_token=good-a1; b=2";
        assert_eq!(chosen(own).as_deref(), Some("good-a1"));
        let twice = "admin_token=good-a2; admin_token=good-a1";
        assert_eq!(chosen(twice).as_deref(), Some("good-a2"));
        assert_eq!(chosen("admin_token=good-a1; admin_token=good-b1"), None);
    }
}
