//! A request as a flat map of parameters: query and body merged (provisioning contract section 2).
//!
//! *Invariant:* no I/O; what goes in are bytes, what comes out is a [`Fields`] or a [`WrongData`].

use std::collections::HashMap;

use serde_json::Value;

use super::parameters::WrongData;

/// Parameters by name. A name maps to what it was given last; an empty value counts as absent.
#[derive(Clone, Default)]
pub struct Fields(HashMap<String, String>);

/// How the body of a request is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`.
    Json,
    /// Anything else, or not said: JSON when it begins like an object, else a form.
    Unsaid,
}

impl BodyForm {
    /// The form that the value of `Content-Type` names.
    #[must_use]
    pub fn of_content_type(value: Option<&str>) -> Self {
        let kind = value.and_then(|value| value.split(';').next());
        match kind.map(|kind| kind.trim().to_ascii_lowercase()).as_deref() {
            Some("application/json") => Self::Json,
            Some("application/x-www-form-urlencoded") => Self::Form,
            _ => Self::Unsaid,
        }
    }
}

impl Fields {
    /// The parameters of a query alone.
    #[must_use]
    pub fn of_query(query: Option<&str>) -> Self {
        let mut fields = Self::default();
        fields.add_form(query.unwrap_or_default().as_bytes());
        fields
    }

    /// Lays the parameters of `body` over these. An empty body adds nothing.
    ///
    /// # Errors
    /// [`WrongData`] when the body is not the flat object the contract asks for; nothing was added then.
    pub fn add_body(&mut self, form: BodyForm, body: &[u8]) -> Result<(), WrongData> {
        let looks_like_json = body.trim_ascii_start().first() == Some(&b'{');
        let json = form == BodyForm::Json || (form == BodyForm::Unsaid && looks_like_json);
        if body.trim_ascii().is_empty() {
            Ok(())
        } else if json {
            self.add_json(body)
        } else {
            self.add_form(body);
            Ok(())
        }
    }

    /// The value of `name`; an empty one is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Sets `name` to `value`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    fn add_form(&mut self, bytes: &[u8]) {
        // Pairs of text always parse: bad escapes are taken as they stand.
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes).unwrap_or_default();
        self.0.extend(pairs);
    }

    fn add_json(&mut self, body: &[u8]) -> Result<(), WrongData> {
        let bad = || WrongData::new("body is not valid JSON");
        let object: serde_json::Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| bad())?;
        let pairs = object.into_iter().map(|(name, value)| {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Null => String::new(),
                Value::Object(_) if name == "hardware" => value.to_string(),
                Value::Object(_) | Value::Array(_) => return Err(bad()),
            };
            Ok((name, text))
        });
        let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
        self.0.extend(pairs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(query: &str, form: BodyForm, body: &str) -> Fields {
        let mut fields = Fields::of_query(Some(query));
        fields.add_body(form, body.as_bytes()).unwrap();
        fields
    }

    #[test]
    fn the_body_wins_and_the_last_one_counts() {
        let fields = merged("a=1&a=2&b=q&c=q&d=", BodyForm::Form, "b=x&b=y&c=");
        assert_eq!(fields.get("a"), Some("2"));
        assert_eq!(fields.get("b"), Some("y"));
        assert_eq!(fields.get("c"), None, "an empty value means absent");
        assert_eq!(fields.get("d"), None);
        let fields = merged("b=q", BodyForm::Json, r#"{"b":"x","b":"y"}"#);
        assert_eq!(fields.get("b"), Some("y"));
    }

    #[test]
    fn numbers_and_booleans_are_read_as_text() {
        let body = r#"{"n":22,"t":true,"s":"x","z":null,"hardware":{"a":{"b":1}}}"#;
        for form in [BodyForm::Json, BodyForm::Unsaid] {
            let fields = merged("", form, body);
            assert_eq!(fields.get("n"), Some("22"));
            assert_eq!(fields.get("t"), Some("true"));
            assert_eq!(fields.get("s"), Some("x"));
            assert_eq!(fields.get("z"), None);
            assert_eq!(fields.get("hardware"), Some(r#"{"a":{"b":1}}"#));
        }
    }

    #[test]
    fn what_is_no_flat_object_is_refused_whole() {
        for body in [
            "{",
            "[]",
            "1",
            "\"x\"",
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            "{}x",
            "\u{0}",
        ] {
            let mut fields = Fields::of_query(Some("a=1"));
            let refused = fields
                .add_body(BodyForm::Json, body.as_bytes())
                .unwrap_err();
            assert_eq!(refused.to_string(), "body is not valid JSON", "{body}");
            assert_eq!(fields.get("a"), Some("1"));
        }
        let mut fields = Fields::default();
        assert!(
            fields
                .add_body(BodyForm::Json, b"{\"a\":\"\xff\"}")
                .is_err()
        );
        assert!(fields.add_body(BodyForm::Json, b" \r\n").is_ok(), "no body");
    }

    #[test]
    fn escapes_are_undone_and_bad_ones_do_no_harm() {
        let fields = merged(
            "a=%20b%2B+c&b=%zz&=x&c&%61%62=1&d=%ff",
            BodyForm::Unsaid,
            "",
        );
        assert_eq!(fields.get("a"), Some(" b+ c"));
        assert_eq!(fields.get("b"), Some("%zz"));
        assert_eq!(fields.get("ab"), Some("1"));
        assert_eq!(fields.get("d"), Some("\u{fffd}"));
    }

    #[test]
    fn the_content_type_says_how_to_read() {
        let of = |text| BodyForm::of_content_type(Some(text));
        assert_eq!(of("Application/JSON; charset=utf-8"), BodyForm::Json);
        assert_eq!(of("application/x-www-form-urlencoded"), BodyForm::Form);
        assert_eq!(of("text/plain"), BodyForm::Unsaid);
        assert_eq!(BodyForm::of_content_type(None), BodyForm::Unsaid);
    }
}
