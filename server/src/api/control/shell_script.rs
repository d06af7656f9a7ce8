//! The two scripts that people pipe into bash (control contract sections 12 and 13): a fixed program, with what both
//! need and a few values put in at its head.
//!
//! *Invariant:* whatever a request says gets into a script inside single quotes only.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::origin::Origin;
use crate::api::Api;

const BOOTSTRAP: &str = include_str!("shell_script/bootstrap.sh");
const ENTRY: &str = include_str!("shell_script/entry.sh");
/// What both do alike.
const SESSION: &str = include_str!("shell_script/session.sh");
/// Where that goes.
const SESSION_HERE: &str = ". ./session.sh\n";

/// Which script.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script<'a> {
    /// Asks for name and password.
    Bootstrap,
    /// Asks for the password of a short id.
    Entry {
        /// The short id as it stood in the path.
        id: &'a str,
    },
}

/// The script as an answer.
pub(super) fn answer(script: Script<'_>, api: &Api, origin: &Origin) -> Response {
    let text = render(script, origin, api.identity().api_pin.as_deref());
    let kind = [
        (header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::OK, kind, text).into_response()
}

fn render(script: Script<'_>, origin: &Origin, pin: Option<&str>) -> String {
    // curl writes two slashes where we write one.
    let pin = pin.map_or_else(String::new, |pin| pin.replacen('/', "//", 1));
    let (program, id) = match script {
        Script::Bootstrap => (BOOTSTRAP, ""),
        Script::Entry { id } => (ENTRY, id),
    };
    // Its first line says what runs it.
    let session = SESSION.split_once('\n').map_or(SESSION, |(_, rest)| rest);
    program
        .replacen(SESSION_HERE, session, 1)
        .replacen("'@API@'", &quoted(&origin.base), 1)
        .replacen("'@PIN@'", &quoted(&pin), 1)
        .replacen("'@ID@'", &quoted(&path_segment(id)), 1)
}

/// A word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Percent-encoded, so that it is one segment of a path.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests;
