//! What a client of a device sends, in short words.

use serde_json::Value;

use crate::bed::{Bed, public_key};
use crate::http::{self, Reply, encode};

pub(crate) const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const REQUEST_PORT: &str = "/api/v1/request-port";

/// Pairs as a form.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

pub(crate) async fn post(bed: &Bed, path: &str, pairs: &[(&str, &str)]) -> Reply {
    let body = form(pairs);
    http::send(bed.http, bed.from, "POST", path, FORM, body.as_bytes()).await
}

pub(crate) async fn get(bed: &Bed, path: &str) -> Reply {
    http::send(bed.http, bed.from, "GET", path, None, b"").await
}

/// Asks for a port; whatever comes is 200 and an object.
pub(crate) async fn ask(bed: &Bed, pairs: &[(&str, &str)]) -> Value {
    let reply = post(bed, REQUEST_PORT, pairs).await;
    assert_eq!(reply.status, 200, "{pairs:?}: {}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let json = reply.json();
    assert!(json.is_object(), "{json}");
    json
}

/// Asks for a port that has to be given.
pub(crate) async fn granted(bed: &Bed, pairs: &[(&str, &str)]) -> Value {
    let json = ask(bed, pairs).await;
    assert!(json.get("error").is_none(), "{pairs:?}: {json}");
    json
}

/// Asks for a port that is not given: the text, and whether it is fatal.
pub(crate) async fn refused(bed: &Bed, pairs: &[(&str, &str)]) -> (String, bool) {
    let json = ask(bed, pairs).await;
    let text = json["error"].as_str().unwrap_or_else(|| panic!("{json}"));
    let fatal = json.get("fatal_error");
    assert!(fatal.is_none_or(|fatal| *fatal == true), "{json}");
    (text.to_owned(), fatal.is_some())
}

pub(crate) fn number(json: &Value, key: &str) -> u16 {
    let number = json[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key}: {json}"));
    u16::try_from(number).unwrap()
}

pub(crate) fn string(json: &Value, key: &str) -> String {
    let text = json[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key}: {json}"));
    text.to_owned()
}

/// A key that is registered to the account of the story.
pub(crate) async fn registered(bed: &Bed, name: &str) -> String {
    let key = public_key();
    link(bed, &key, name).await;
    key
}

/// Registers a key to the account of the story.
pub(crate) async fn link(bed: &Bed, key: &str, name: &str) {
    let token = binding_token(bed).await;
    let pairs = [
        ("public_key", key),
        ("key_binding_token", token.as_str()),
        ("key_name", name),
    ];
    let reply = post(bed, "/linkKey", &pairs).await;
    assert_eq!(reply.body, r#"{"status":"ok"}"#);
}

pub(crate) async fn binding_token(bed: &Bed) -> String {
    let token = bed.registry.binding_token(bed.account).await.unwrap();
    token.unwrap().into_exposed()
}

/// The device of a key.
pub(crate) async fn device(bed: &Bed, key: &str) -> moorline_server::registry::model::Device {
    let key = moorline_server::registry::model::PublicKey::parse(key).unwrap();
    bed.registry.device_by_key(&key).await.unwrap().unwrap()
}
