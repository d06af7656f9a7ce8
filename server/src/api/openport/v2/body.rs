//! Bodies: JSON, form or multipart, at most 64 KiB, as fields by name (openport contract section 2).
//!
//! *Invariant:* nothing of a body is judged before the token is; what is wrong with it is kept until somebody asks.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde_json::Value;
use tokio::time::timeout;

use super::answer::Failure;
use super::fields::{Fields, Given};
use crate::api::BODY_TIMEOUT;
use crate::api::body::{self, BodyError};

/// A body as it came, with its `Content-Type`.
#[derive(Debug, Default)]
pub(super) struct RawBody {
    kind: String,
    bytes: Vec<u8>,
}

/// Takes the body off the wire.
///
/// # Errors
/// [`Failure::TooLarge`], and [`Failure::Unparsable`] for one that broke off.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<RawBody, Failure> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let kind = kind.unwrap_or_default();
    let bytes = match timeout(BODY_TIMEOUT, body::read(body)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(BodyError::TooLarge)) => return Err(Failure::TooLarge),
        Ok(Err(BodyError::Broken)) | Err(_) => return Err(Failure::Unparsable),
    };
    Ok(RawBody { kind, bytes })
}

impl RawBody {
    /// The fields in it; none in an empty one, whatever its type.
    ///
    /// # Errors
    /// [`Failure::UnsupportedMedia`] and [`Failure::Unparsable`].
    pub(super) fn fields(self) -> Result<Fields, Failure> {
        if self.bytes.is_empty() {
            return Ok(Fields::default());
        }
        let (media, parameters) = self.kind.split_once(';').unwrap_or((&self.kind, ""));
        let fields = match media.trim().to_ascii_lowercase().as_str() {
            "application/json" => json(&self.bytes),
            "application/x-www-form-urlencoded" => form(&self.bytes),
            "multipart/form-data" => multipart(&self.bytes, parameters),
            _ => return Err(Failure::UnsupportedMedia(self.kind)),
        };
        fields.map(Fields::new).ok_or(Failure::Unparsable)
    }
}

type ByName = HashMap<String, Given>;

fn json(bytes: &[u8]) -> Option<ByName> {
    let object: serde_json::Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let fields = object.into_iter();
    Some(
        fields
            .map(|(name, value)| (name, Given::Json(value)))
            .collect(),
    )
}

fn form(bytes: &[u8]) -> Option<ByName> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes).ok()?;
    let fields = pairs.into_iter();
    Some(
        fields
            .map(|(name, text)| (name, Given::Text(text)))
            .collect(),
    )
}

/// `multipart/form-data` (RFC 7578) that is in memory already: parts between lines of `--boundary`, each with headers,
/// an empty line and its text. The text of a file counts like any other.
fn multipart(bytes: &[u8], parameters: &str) -> Option<ByName> {
    let boundary = parameter(parameters, "boundary").filter(|text| !text.is_empty())?;
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter may stand at the very beginning, without its line break.
    let whole = [b"\r\n", bytes].concat();
    let (_, mut rest) = split_at(&whole, &delimiter)?;
    let mut fields = ByName::new();
    while !rest.starts_with(b"--") {
        // Blanks may follow the boundary.
        let (_, part) = split_at(rest, b"\r\n")?;
        let (part, following) = split_at(part, &delimiter)?;
        rest = following;
        let (head, text) = match part.strip_prefix(b"\r\n") {
            Some(text) => (&[][..], text),
            None => split_at(part, b"\r\n\r\n")?,
        };
        let name = part_name(std::str::from_utf8(head).ok()?)?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        fields.insert(name, Given::Text(text));
    }
    Some(fields)
}

/// What stands before and after the first `separator`.
fn split_at<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(separator.len())
        .position(|window| window == separator)?;
    let (before, after) = bytes.split_at(at);
    Some((before, after.get(separator.len()..)?))
}

fn part_name(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    kind.trim()
        .eq_ignore_ascii_case("form-data")
        .then(|| parameter(parameters, "name"))
        .flatten()
}

/// The value of a parameter in `a=b; c="d;e"`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, following) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value, after.trim_start())
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (value.trim(), after)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        rest = following.strip_prefix(';').unwrap_or(following);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(kind: &str, bytes: &str) -> Result<Fields, Failure> {
        let raw = RawBody {
            kind: kind.into(),
            bytes: bytes.into(),
        };
        raw.fields()
    }

    fn text(fields: &Fields, name: &str) -> Option<String> {
        match fields.get(name) {
            Some(Given::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    #[test]
    fn multipart_is_read_as_browsers_and_curl_write_it() {
        let body = "--X y\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\ncam 1\r\n\
            --X y\r\ncontent-type: text/plain\r\n\
            content-disposition: form-data; filename=\"a;name=b.pub\"; name=\"public_key\"\r\n\r\n\
            ssh-ed25519 AAAA\r\nc\r\n\r\n--X y\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--X y--\r\n";
        for kind in [
            "multipart/form-data; boundary=\"X y\"",
            "Multipart/Form-Data; charset=utf-8; BOUNDARY=X y",
        ] {
            let fields = fields(kind, body).unwrap();
            assert_eq!(text(&fields, "name").as_deref(), Some("cam 1"));
            let key = text(&fields, "public_key");
            assert_eq!(key.as_deref(), Some("ssh-ed25519 AAAA\r\nc\r\n"));
            assert_eq!(text(&fields, "empty").as_deref(), Some(""));
        }
        let none = fields("multipart/form-data; boundary=X", "--X--\r\n").unwrap();
        assert!(none.get("name").is_none());
    }

    #[test]
    fn bodies_that_do_not_parse_are_refused() {
        let multipart = "multipart/form-data; boundary=X";
        let named = "Content-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n";
        for (kind, bytes) in [
            ("application/json", "{"),
            ("application/json", "[]"),
            ("application/json", "\"a\""),
            ("application/json; charset=utf-8", "{}x"),
            ("multipart/form-data", "--X--\r\n"),
            ("multipart/form-data; boundary=", "--\r\n"),
            (multipart, "x"),
            (multipart, "--X"),
            (multipart, "--X\r\n"),
            (multipart, "--X\r\n\r\nno name\r\n--X--"),
            (multipart, &format!("--X\r\n{named}")),
            (multipart, &format!("--X\r\n{named}--Y--")),
        ] {
            let refused = fields(kind, bytes).unwrap_err();
            assert!(matches!(refused, Failure::Unparsable), "{kind}: {bytes}");
        }
    }

    #[test]
    fn every_cut_of_a_body_ends_in_fields_or_a_refusal() {
        let kind = "multipart/form-data; boundary=X";
        let body = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--X--\r\n";
        let mut whole = 0;
        for from in 0..body.len() {
            for to in from..=body.len() {
                whole += usize::from(
                    fields(kind, &body[from..to])
                        .is_ok_and(|fields| text(&fields, "a").is_some_and(|text| text == "b")),
                );
            }
        }
        assert_eq!(whole, 3, "with its last delimiter, whatever comes after");
    }

    #[test]
    fn other_types_are_refused_unless_there_is_nothing_in_them() {
        for kind in ["text/plain", "", "application/xml; charset=utf-8"] {
            match fields(kind, "x").unwrap_err() {
                Failure::UnsupportedMedia(told) => assert_eq!(told, kind),
                other => panic!("{other:?}"),
            }
            assert!(fields(kind, "").is_ok());
        }
    }
}
