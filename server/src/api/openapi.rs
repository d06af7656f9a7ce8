//! `/openapi.json`.

use axum::http::header;
use axum::response::IntoResponse;

/// The document.
#[must_use]
pub fn text() -> String {
    "{}".to_owned()
}

/// Serves the document.
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text())
}
