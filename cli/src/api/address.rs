//! [`Address`]: the URL of a server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// Base URL of a server: `http` or `https`, a host, perhaps a path in front of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    /// The URL of `path` below this address; nothing for a part that a URL cannot carry.
    pub(crate) fn join(&self, path: &[&str]) -> Option<Url> {
        if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return None;
        }
        let mut url = self.0.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(path);
        Some(url)
    }

    /// Whether passwords sent there can be read on the way.
    pub(crate) fn is_exposed(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().map_or_else(
            |_| bare == "localhost" || bare.ends_with(".localhost"),
            |address| address.is_loopback(),
        )
    }

    /// Host, and port where it is not the usual one: what a profile may be named after.
    pub(crate) fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = Url::parse(&with_scheme).map_err(|_| "not a URL, such as https://host")?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("a server's URL begins with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a server's URL holds no user name or password; use --username");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a server's URL holds no ? or #");
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a_bare_host_means_https() {
        assert_eq!(
            address("moor.example.com").to_string(),
            "https://moor.example.com"
        );
        assert_eq!(address("moor:8443/").to_string(), "https://moor:8443");
        assert_eq!(
            address("http://[::1]:8080").to_string(),
            "http://[::1]:8080"
        );
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for bad in [
            "",
            "ftp://a",
            "https://u:p@a",
            "https://a?b",
            "https://a#b",
            "https://",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_escaped_and_kept_below_the_base() {
        let base = address("https://a/moor/");
        let url = base.join(&["v1", "x/../y z"]).unwrap();
        assert_eq!(url.as_str(), "https://a/moor/v1/x%2F..%2Fy%20z");
        assert_eq!(base.join(&["v1", ".."]), None);
        assert_eq!(base.join(&["v1", ""]), None);
    }

    #[test]
    fn only_plain_http_across_a_network_is_exposed() {
        for (text, exposed) in [
            ("http://moor.example.com", true),
            ("https://moor.example.com", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]", false),
            ("http://localhost:1", false),
            ("http://10.0.0.1", true),
        ] {
            assert_eq!(address(text).is_exposed(), exposed, "{text}");
        }
    }
}
