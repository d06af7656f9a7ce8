//! Fields of a body, checked: values, or the documented texts of all that are bad at once (openport contract sections
//! 2 and 3).
//!
//! *Invariant:* pure. No I/O, no clock.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;

/// Of a field that has to be there and is not.
pub(super) const REQUIRED: &str = "This field is required.";
const BLANK: &str = "This field may not be blank.";
const NULL: &str = "This field may not be null.";
const NOT_TEXT: &str = "Not a valid string.";
const NOT_A_BOOLEAN: &str = "Must be a valid boolean.";

/// A value as it was given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// In a JSON object.
    Json(Value),
    /// In a form.
    Text(String),
}

/// Fields by name; of a repeated one the last counts.
#[derive(Debug, Default)]
pub(super) struct Fields(HashMap<String, Given>);

/// Texts by field.
#[derive(Debug, Default, Serialize)]
pub(super) struct FieldErrors(BTreeMap<&'static str, Vec<String>>);

/// Whether a field has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Yes.
    Required,
    /// No; absent means unchanged, or made up.
    Optional,
}

impl FieldErrors {
    /// Adds what is wrong with a field.
    pub(super) fn add(&mut self, field: &'static str, text: impl Into<String>) {
        self.0.entry(field).or_default().push(text.into());
    }

    /// The value of `checked`; what is wrong with it is noted.
    pub(super) fn note<T>(
        &mut self,
        field: &'static str,
        checked: Result<Option<T>, String>,
    ) -> Option<T> {
        checked.unwrap_or_else(|text| {
            self.add(field, text);
            None
        })
    }

    /// `value`, if nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// One field, one text.
    pub(super) fn one(field: &'static str, text: &str) -> Self {
        let mut errors = Self::default();
        errors.add(field, text);
        errors
    }
}

impl Fields {
    pub(super) const fn new(fields: HashMap<String, Given>) -> Self {
        Self(fields)
    }

    /// The value as it was given.
    #[cfg(test)]
    pub(super) fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// A text without blanks at its ends.
    pub(super) fn text(&self, name: &str, presence: Presence) -> Result<Option<String>, String> {
        let Some(text) = self.blank_text(name, presence)? else {
            return Ok(None);
        };
        if text.is_empty() {
            return Err(BLANK.into());
        }
        Ok(Some(text))
    }

    /// As [`Self::text`], but it may be empty.
    pub(super) fn blank_text(
        &self,
        name: &str,
        presence: Presence,
    ) -> Result<Option<String>, String> {
        let text = match self.present(name, presence)? {
            None => return Ok(None),
            Some(Given::Text(text) | Given::Json(Value::String(text))) => text.clone(),
            Some(Given::Json(Value::Number(number))) => number.to_string(),
            Some(Given::Json(_)) => return Err(NOT_TEXT.into()),
        };
        Ok(Some(text.trim().to_owned()))
    }

    /// `true` or `false`; in a form also `on`, `1`, `yes` and their opposites.
    pub(super) fn boolean(&self, name: &str, presence: Presence) -> Result<Option<bool>, String> {
        let value = match self.present(name, presence)? {
            None => return Ok(None),
            Some(Given::Json(Value::Bool(value))) => Some(*value),
            Some(Given::Json(_)) => None,
            Some(Given::Text(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "on" | "1" | "yes" => Some(true),
                "false" | "off" | "0" | "no" => Some(false),
                _ => None,
            },
        };
        value.map(Some).ok_or_else(|| NOT_A_BOOLEAN.into())
    }

    /// A whole number from 0 to `highest`.
    pub(super) fn number(
        &self,
        name: &str,
        highest: u32,
        presence: Presence,
    ) -> Result<Option<u32>, String> {
        let value = match self.present(name, presence)? {
            None => return Ok(None),
            Some(Given::Json(value)) => value.as_u64(),
            Some(Given::Text(text)) => text.trim().parse().ok(),
        };
        value
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| *value <= highest)
            .map(Some)
            .ok_or_else(|| format!("Ensure this value is between 0 and {highest}."))
    }

    /// What `parse` makes of a text.
    pub(super) fn choice<T>(
        &self,
        name: &str,
        presence: Presence,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let text = match self.present(name, presence)? {
            None => return Ok(None),
            Some(Given::Text(text) | Given::Json(Value::String(text))) => text.clone(),
            Some(Given::Json(value)) => value.to_string(),
        };
        let choice = parse(&text).map(Some);
        choice.ok_or_else(|| format!("\"{text}\" is not a valid choice."))
    }

    fn present(&self, name: &str, presence: Presence) -> Result<Option<&Given>, String> {
        match self.0.get(name) {
            None if presence == Presence::Required => Err(REQUIRED.into()),
            None => Ok(None),
            Some(Given::Json(Value::Null)) => Err(NULL.into()),
            given => Ok(given),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_json(value: Value) -> Fields {
        Fields::new(HashMap::from([("f".to_owned(), Given::Json(value))]))
    }

    fn of_form(text: &str) -> Fields {
        Fields::new(HashMap::from([("f".to_owned(), Given::Text(text.into()))]))
    }

    #[test]
    fn texts_are_trimmed_and_checked() {
        let text = |fields: Fields| fields.text("f", Presence::Required);
        assert_eq!(text(of_json(json!(" a b "))), Ok(Some("a b".into())));
        assert_eq!(text(of_form(" a b ")), Ok(Some("a b".into())));
        assert_eq!(text(of_json(json!(5))), Ok(Some("5".into())));
        assert_eq!(text(of_json(json!(""))), Err(BLANK.into()));
        assert_eq!(text(of_form("  ")), Err(BLANK.into()));
        assert_eq!(text(of_json(Value::Null)), Err(NULL.into()));
        assert_eq!(text(Fields::default()), Err(REQUIRED.into()));
        for odd in [json!(true), json!(["a"]), json!({})] {
            assert_eq!(text(of_json(odd)), Err(NOT_TEXT.into()));
        }
        assert_eq!(Fields::default().text("f", Presence::Optional), Ok(None));
    }

    #[test]
    fn booleans_and_numbers_are_checked() {
        let boolean = |fields: Fields| fields.boolean("f", Presence::Required);
        assert_eq!(boolean(of_json(json!(false))), Ok(Some(false)));
        assert_eq!(boolean(of_form("On")), Ok(Some(true)));
        for odd in [json!("true"), json!(1), json!("maybe"), json!([])] {
            assert_eq!(boolean(of_json(odd)), Err(NOT_A_BOOLEAN.into()));
        }
        assert_eq!(boolean(of_form("")), Err(NOT_A_BOOLEAN.into()));
        assert_eq!(boolean(of_json(Value::Null)), Err(NULL.into()));
        let number = |fields: Fields| fields.number("f", 10_000, Presence::Required);
        assert_eq!(number(of_json(json!(0))), Ok(Some(0)));
        assert_eq!(number(of_form("10000")), Ok(Some(10_000)));
        for odd in [
            json!(10_001),
            json!(-1),
            json!(1.5),
            json!("x"),
            json!(true),
        ] {
            let told = number(of_json(odd)).unwrap_err();
            assert_eq!(told, "Ensure this value is between 0 and 10000.");
        }
    }
}
