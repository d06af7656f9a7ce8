//! Bodies of requests: a form, or one flat JSON object (openport contract section 4).

use std::collections::HashMap;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use crate::api::BODY_TIMEOUT;
use crate::api::provisioning::request::BodyForm;

/// Longest body, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A body that is none of both, too long, or did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("body cannot be read")]
pub struct Unreadable;

/// The fields of a request; of a repeated one the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(HashMap<String, String>);

impl Form {
    /// Reads the body of a request, 64 KiB at most.
    pub(super) async fn of(request: Request) -> Result<Self, Unreadable> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let form = BodyForm::of_content_type(kind.and_then(|kind| kind.to_str().ok()));
        let bytes = timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
        let bytes = bytes.map_err(|_| Unreadable)?.map_err(|_| Unreadable)?;
        Self::parse(form, &bytes)
    }

    /// Reads `body`. A field that is `null` in JSON is absent.
    ///
    /// # Errors
    /// [`Unreadable`] for JSON that is no flat object.
    pub fn parse(form: BodyForm, body: &[u8]) -> Result<Self, Unreadable> {
        let looks_like_json = body.trim_ascii_start().first() == Some(&b'{');
        if body.trim_ascii().is_empty() {
            Ok(Self::default())
        } else if form == BodyForm::Json || (form == BodyForm::Unsaid && looks_like_json) {
            Self::of_json(body)
        } else {
            let pairs: Vec<(String, String)> =
                serde_urlencoded::from_bytes(body).map_err(|_| Unreadable)?;
            Ok(Self(pairs.into_iter().collect()))
        }
    }

    fn of_json(body: &[u8]) -> Result<Self, Unreadable> {
        let object: serde_json::Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Unreadable)?;
        let mut fields = HashMap::with_capacity(object.len());
        for (name, value) in object {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Null => continue,
                Value::Object(_) | Value::Array(_) => return Err(Unreadable),
            };
            fields.insert(name, text);
        }
        Ok(Self(fields))
    }

    /// The value of `name` without blanks at its ends; an empty one is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// Whether `name` says yes: `true`, `on`, `1`, `yes` in any case. `None` when it was not sent at all.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        let value = self.0.get(name)?.trim();
        let yes = ["true", "on", "1", "yes"];
        Some(yes.iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    }

    /// The port that `name` holds; 0, -1 and what is no port are none.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.get(name)?.parse().ok().filter(|port| *port > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_json_say_the_same() {
        let form = b"a=+x+&port=22&yes=oN&no=nope&empty=&p=0&q=-1&a=y%0Az";
        let json =
            br#"{"a":"y\nz","port":22,"yes":true,"no":false,"empty":"","p":0,"q":-1,"n":null}"#;
        for (kind, body) in [
            (BodyForm::Form, &form[..]),
            (BodyForm::Json, &json[..]),
            (BodyForm::Unsaid, &json[..]),
        ] {
            let form = Form::parse(kind, body).unwrap();
            assert_eq!(form.get("a"), Some("y\nz"));
            assert_eq!(form.port("port"), Some(22));
            assert_eq!((form.port("p"), form.port("q")), (None, None));
            let flags = ["yes", "no", "empty", "n"].map(|name| form.flag(name));
            assert_eq!(flags, [Some(true), Some(false), Some(false), None]);
            assert_eq!(form.get("empty"), None);
        }
    }

    #[test]
    fn what_is_no_flat_object_cannot_be_read() {
        for body in ["{", "[]", "1", r#"{"a":[]}"#, r#"{"a":{}}"#, "{}x"] {
            assert_eq!(
                Form::parse(BodyForm::Json, body.as_bytes()),
                Err(Unreadable)
            );
        }
        assert_eq!(Form::parse(BodyForm::Json, b" \n"), Ok(Form::default()));
    }
}
