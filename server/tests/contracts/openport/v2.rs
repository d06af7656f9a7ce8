//! Short words for calls of `/api/v2/`.

use serde_json::Value;

use crate::bed::Bed;
use crate::http::{self, Reply, encode};

pub(crate) const JSON: Option<&str> = Some("application/json");
pub(crate) const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

/// `path` behind `/api/v2/` with a query of these parameters.
pub(crate) fn target(path: &str, query: &[(&str, &str)]) -> String {
    let query: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    format!("/api/v2/{path}?{}", query.join("&"))
}

/// `method` with exactly these parameters.
pub(crate) async fn bare(bed: &Bed, method: &str, path: &str, query: &[(&str, &str)]) -> Reply {
    let target = target(path, query);
    http::send(bed.http, bed.from, method, &target, None, b"").await
}

/// `GET` with this story's token.
pub(crate) async fn get(bed: &Bed, path: &str) -> Reply {
    with_token(bed, &bed.key, "GET", path, &Value::Null).await
}

/// `method` with that token, and with `body` as JSON unless it is null.
pub(crate) async fn with_token(
    bed: &Bed,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Reply {
    let target = target(path, &[("token", token)]);
    let (kind, body) = if body.is_null() {
        (None, String::new())
    } else {
        (JSON, body.to_string())
    };
    http::send(bed.http, bed.from, method, &target, kind, body.as_bytes()).await
}

/// `method` with this story's token and a JSON body.
pub(crate) async fn send(bed: &Bed, method: &str, path: &str, body: &Value) -> Reply {
    with_token(bed, &bed.key, method, path, body).await
}

/// `method` with this story's token and any body.
pub(crate) async fn raw(
    bed: &Bed,
    method: &str,
    path: &str,
    kind: Option<&str>,
    body: &[u8],
) -> Reply {
    let target = target(path, &[("token", &bed.key)]);
    http::send(bed.http, bed.from, method, &target, kind, body).await
}

/// Makes a key that has to succeed; gives its item.
pub(crate) async fn made(bed: &Bed, body: &Value) -> Value {
    let reply = send(bed, "POST", "keys/", body).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()
}

/// The item of a key.
pub(crate) async fn key(bed: &Bed, id: &Value) -> Value {
    let reply = get(bed, &format!("keys/{id}/")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

/// The results of a list.
pub(crate) async fn results(bed: &Bed, token: &str, path: &str) -> Vec<Value> {
    let reply = with_token(bed, token, "GET", path, &Value::Null).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let page = reply.json();
    let results = page["results"].as_array().unwrap().clone();
    assert!(page["count"].as_u64().unwrap() >= results.len() as u64);
    results
}

/// The number of the device with that `client_id`.
pub(crate) async fn number_of(bed: &Bed, client_id: &str) -> i64 {
    let id = crate::bed::device_id(client_id);
    bed.registry.device(id).await.unwrap().unwrap().number
}

/// Checks status and body of a refusal.
pub(crate) fn refused(reply: &Reply, status: u16, body: &Value) {
    assert_eq!(reply.json(), *body);
    assert_eq!(reply.status, status);
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

/// Checks status and text of a refusal.
pub(crate) fn detail(reply: &Reply, status: u16, text: &str) {
    refused(reply, status, &serde_json::json!({ "detail": text }));
}
