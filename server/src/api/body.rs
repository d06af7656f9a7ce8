//! Bodies of requests whose sender gets to read the answer, even when it sends too much.

use axum::body::{Body, HttpBody as _};
use futures::StreamExt as _;

/// Longest body that is read, in bytes (provisioning, openport and API client contracts).
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Bytes of a body that is too long which are taken off the wire, so that its sender gets to read the answer.
const MAX_DRAINED_BYTES: usize = 1024 * 1024;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`].
    TooLarge,
    /// The connection broke; nobody will read the answer.
    Broken,
}

/// Takes a body off the wire. How long that may take is the caller's to say.
///
/// # Errors
/// [`BodyError`].
pub(super) async fn read(body: Body) -> Result<Vec<u8>, BodyError> {
    if body.is_end_stream() {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        length = length.saturating_add(chunk.len());
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if length > MAX_DRAINED_BYTES {
            break;
        }
    }
    if length > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    Ok(bytes)
}
