//! Whom a request is for, by the names it carries. Pure.

use axum::http::header::HOST;
use axum::http::request::Parts;

/// What stands between the label and the domain.
const BELOW: &str = ".u.";
/// Characters of a label (openport contract section 12).
const LABEL_LENGTH: usize = 8;

/// Label of an HTTP name: 8 lower-case letters and digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// Reads a label; case does not count, as in every DNS name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good =
            text.len() == LABEL_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        good.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The node itself, under whatever name.
    Node,
    /// An HTTP name.
    Name(Label),
    /// A name below the domain that is none.
    NoName,
    /// Several at once: its names contradict each other.
    Unclear,
}

/// Whom the request is for, where the names are `<label>.u.<domain>`. Every name that it carries counts, the `Host`
/// fields and the authority of its target: a request whose names differ is for nobody, since the next one to read it
/// may pick another one (RFC 9112 section 3.2).
#[must_use]
pub fn place_of(request: &Parts, domain: &str) -> Place {
    let fields = request.headers.get_all(HOST);
    let fields = fields.iter().map(|value| value.as_bytes());
    let authority = request.uri.authority();
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    let mut names = authority.into_iter().chain(fields);
    let Some(first) = names.next() else {
        return Place::Node;
    };
    let place = place(first, domain);
    let mut below = place != Place::Node;
    let mut differ = false;
    for name in names {
        differ |= !name.eq_ignore_ascii_case(first);
        below |= self::place(name, domain) != Place::Node;
    }
    // What is for the node alone is its router's affair, as it has always been.
    if differ && below {
        Place::Unclear
    } else {
        place
    }
}

/// Whom a name with or without a port is for.
#[must_use]
pub fn place(name: &[u8], domain: &str) -> Place {
    let Ok(name) = std::str::from_utf8(name) else {
        return Place::Node;
    };
    let host = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = strip_suffix_ignoring_case(host, domain)
        .and_then(|host| strip_suffix_ignoring_case(host, BELOW));
    match label {
        None => Place::Node,
        Some(label) => Label::parse(label).map_or(Place::NoName, Place::Name),
    }
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len())?;
    let (rest, end) = (text.get(..at)?, text.get(at..)?);
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const DOMAIN: &str = "eu1.example.net";

    fn named(label: &str) -> Place {
        Place::Name(Label::parse(label).unwrap())
    }

    fn place_of_text(name: &str) -> Place {
        place(name.as_bytes(), DOMAIN)
    }

    fn request(target: &str, hosts: &[&str]) -> Place {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        place_of(&request.body(()).unwrap().into_parts().0, DOMAIN)
    }

    #[test]
    fn names_are_read_without_case_port_and_final_dot() {
        for name in [
            "ab12cd34.u.eu1.example.net",
            "AB12cd34.U.eu1.Example.NET:8080",
            "ab12cd34.u.eu1.example.net.",
            "ab12cd34.u.eu1.example.net.:80",
            "ab12cd34.u.eu1.example.net:",
        ] {
            assert_eq!(place_of_text(name), named("ab12cd34"), "{name}");
        }
    }

    #[test]
    fn what_is_not_a_label_below_the_domain_is_no_name() {
        for name in [
            ".u.eu1.example.net",
            "ab12cd3.u.eu1.example.net",
            "ab12cd345.u.eu1.example.net",
            "x.ab12cd34.u.eu1.example.net",
            "ab12cd3_.u.eu1.example.net",
            "user@ab12cd34.u.eu1.example.net",
            "ab12cd34.u.eu1.example.net..u.eu1.example.net",
        ] {
            assert_eq!(place_of_text(name), Place::NoName, "{name}");
        }
        for name in [
            "",
            ":80",
            "eu1.example.net",
            "u.eu1.example.net",
            "ab12cd34.eu1.example.net",
            "ab12cd34.u.eu2.example.net",
            "ab12cd34.u.eu1.example.net.evil.org",
            "ab12cd34.u.eu1.example.net:80:80x",
            "[::1]:80",
            "äöü",
        ] {
            assert_eq!(place_of_text(name), Place::Node, "{name}");
        }
    }

    #[test]
    fn a_request_whose_names_differ_is_for_nobody() {
        let (one, other) = (
            "ab12cd34.u.eu1.example.net",
            "zz99zz99.u.eu1.example.net:80",
        );
        let target = format!("http://{one}/x");
        assert_eq!(request("/x", &[one]), named("ab12cd34"));
        assert_eq!(request(&target, &[one]), named("ab12cd34"));
        assert_eq!(request(&target, &[]), named("ab12cd34"));
        for (target, hosts) in [
            ("/x", vec![one, other]),
            ("/x", vec!["eu1.example.net", one]),
            (target.as_str(), vec![other]),
            (target.as_str(), vec!["eu1.example.net"]),
            ("http://eu1.example.net/x", vec![one]),
        ] {
            assert_eq!(
                request(target, &hosts),
                Place::Unclear,
                "{target} {hosts:?}"
            );
        }
        assert_eq!(request("/x", &["a", "b"]), Place::Node);
        assert_eq!(request("/x", &[]), Place::Node);
    }
}
