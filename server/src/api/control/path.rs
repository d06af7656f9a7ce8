//! [`Path`]: what the path of a request names (control contract section 2).

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path as Parsed};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// The names in a path. What is no text, or none that a database keeps, is empty and so the name of nothing: a malformed
/// id answers as an unknown one.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let names = match Parsed::<T>::from_request_parts(parts, state).await {
            Ok(Parsed(names)) if !parts.uri.path().contains("%00") => names,
            Ok(_) | Err(_) => T::default(),
        };
        Ok(Self(names))
    }
}
