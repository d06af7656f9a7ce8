//! What of a request may stand in a log.

use std::borrow::Cow;

/// Parameters whose values are secrets, on whatever surface.
const SECRETS: [&str; 12] = [
    "api_key",
    "dbid",
    "db_server_key",
    "token",
    "password",
    "old_password",
    "new_password",
    "secret",
    "session_token",
    "restart_session_token",
    "key_binding_token",
    "ws_key_token",
];
/// Longest query that is logged, in bytes; a log line is for people.
const MAX_QUERY_BYTES: usize = 512;

/// `query` with every secret value replaced. A name counts however it is escaped or spelled.
#[must_use]
pub fn without_secrets(query: &str) -> Cow<'_, str> {
    if query.is_empty() {
        return Cow::Borrowed("");
    }
    let mut line = String::with_capacity(query.len().min(MAX_QUERY_BYTES));
    for pair in query.split('&') {
        let cut = line.len() + pair.len() > MAX_QUERY_BYTES;
        if !line.is_empty() {
            line.push('&');
        }
        if cut {
            line.push('…');
            break;
        }
        match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                line.push_str(name);
                line.push_str("=<redacted>");
            }
            _ => line.push_str(pair),
        }
    }
    Cow::Owned(line)
}

/// `path` without the token of a link, which opens a port to whoever has it.
#[must_use]
pub fn path_without_secrets(path: &str) -> Cow<'_, str> {
    let link = path
        .strip_prefix("/l/")
        .and_then(|rest| rest.split_once('/'));
    match link {
        Some((port, token)) if !token.is_empty() => Cow::Owned(format!("/l/{port}/<redacted>")),
        _ => Cow::Borrowed(path),
    }
}

fn is_secret(name: &str) -> bool {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(name).unwrap_or_default();
    let decoded = pairs.first().map_or(name, |(name, _)| name.as_str());
    let decoded = decoded.trim().to_ascii_lowercase();
    SECRETS.contains(&decoded.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_the_log() {
        let query = "prefix=cam&api_key=0f6c2be1&api%5Fkey=0f6c2be1&DBID=0f6c2be1&token=0f6c2be1\
            &db_server_key=0f6c2be1&+api_key=0f6c2be1&limit=3";
        let line = without_secrets(query);
        assert!(!line.contains("0f6c2be1"), "{line}");
        assert!(line.starts_with("prefix=cam&api_key=<redacted>&"));
        assert!(line.ends_with("&limit=3"));
    }

    #[test]
    fn a_link_is_logged_without_its_token() {
        assert_eq!(path_without_secrets("/l/49482/9fQ2"), "/l/49482/<redacted>");
        assert_eq!(
            path_without_secrets("/l/49482/9fQ2/"),
            "/l/49482/<redacted>"
        );
        for path in ["/l/49482", "/l/49482/", "/api/v1/request-port", "/"] {
            assert_eq!(path_without_secrets(path), path);
        }
    }

    #[test]
    fn odd_queries_are_shortened_and_do_no_harm() {
        assert_eq!(without_secrets(""), "");
        assert_eq!(without_secrets("a&=&==&%"), "a&=&==&%");
        assert!(without_secrets(&format!("a={}", "x".repeat(9999))).len() < 600);
    }
}
