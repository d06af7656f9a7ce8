//! Parts of lists, with links to the next and the previous part (openport contract section 2, Pages).

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Call;
use super::answer;
use crate::registry::model::Slice;

const DEFAULT_LIMIT: u64 = 100;
/// More is cut to this.
const MAX_LIMIT: u64 = 1000;
/// The registry counts in signed 64 bits.
const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Page<T> {
    /// How many there are in all.
    count: u64,
    /// URL of the next part.
    #[schema(required)]
    next: Option<String>,
    /// URL of the part before.
    #[schema(required)]
    previous: Option<String>,
    results: Vec<T>,
}

/// The part that a query asks for.
pub(super) fn slice(query: &[(String, String)]) -> Slice {
    Slice {
        limit: number(query, "limit")
            .filter(|limit| *limit > 0)
            .map_or(DEFAULT_LIMIT, |limit| limit.min(MAX_LIMIT)),
        offset: number(query, "offset").map_or(0, |offset| offset.min(MAX_OFFSET)),
    }
}

/// The last value of that name, if it is a whole number.
fn number(query: &[(String, String)], name: &str) -> Option<u64> {
    let (_, text) = query.iter().rev().find(|(given, _)| given == name)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits alone fail to parse only when they are too many.
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The answer: `results` are those of `slice`, out of `count`.
pub(super) fn page<T: Serialize>(
    call: &Call,
    slice: Slice,
    count: u64,
    results: Vec<T>,
) -> Response {
    let Slice { limit, offset } = slice;
    let url = |offset| url(call, limit, offset);
    let following = offset.saturating_add(limit);
    answer::ok(&Page {
        count,
        next: (following < count).then(|| url(following)),
        previous: (offset > 0).then(|| url(offset.saturating_sub(limit))),
        results,
    })
}

/// `limit`, `offset` unless it is 0, then the other parameters of the request in alphabetical order.
fn url(call: &Call, limit: u64, offset: u64) -> String {
    let mut others: Vec<_> = call
        .query
        .iter()
        .filter(|(name, _)| name != "limit" && name != "offset")
        .cloned()
        .collect();
    others.sort_by(|one, other| one.0.cmp(&other.0));
    let mut query = vec![("limit".to_owned(), limit.to_string())];
    if offset > 0 {
        query.push(("offset".to_owned(), offset.to_string()));
    }
    query.extend(others);
    // Pairs of text always serialise.
    let query = serde_urlencoded::to_string(query).unwrap_or_default();
    format!("{}{}?{query}", call.base, call.path)
}

#[cfg(test)]
mod tests {
    use super::super::body::RawBody;
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        serde_urlencoded::from_str(text).unwrap()
    }

    #[test]
    fn values_that_are_no_whole_numbers_in_range_are_as_absent() {
        for (query, limit, offset) in [
            ("", 100, 0),
            ("limit=5&offset=7", 5, 7),
            ("limit=0&offset=-1", 100, 0),
            ("limit=x&offset=1.5", 100, 0),
            ("limit=+5&offset=", 100, 0),
            ("limit=1001&offset=0", 1000, 0),
            ("limit=99999999999999999999", 1000, 0),
            ("limit=2&limit=3", 3, 0),
        ] {
            assert_eq!(slice(&pairs(query)), Slice { limit, offset }, "{query}");
        }
        let far = slice(&pairs("offset=99999999999999999999"));
        assert_eq!(far.offset, MAX_OFFSET);
    }

    #[test]
    fn urls_keep_the_other_parameters_in_alphabetical_order() {
        let call = Call {
            method: axum::http::Method::GET,
            path: "/api/v2/keys/".into(),
            query: pairs("token=S+E%26&offset=3&b=2&a=1&limit=x&b=1"),
            body: Ok(RawBody::default()),
            base: "https://api.example.net".into(),
        };
        assert_eq!(
            url(&call, 100, 200),
            "https://api.example.net/api/v2/keys/?limit=100&offset=200&a=1&b=2&b=1&token=S+E%26"
        );
        assert!(url(&call, 100, 0).contains("?limit=100&a=1"));
    }
}
