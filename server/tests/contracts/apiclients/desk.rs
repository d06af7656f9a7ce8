//! Short words for what the stories do.

use data_encoding::BASE64;
use moorline_protocol::scope::Scope;
use moorline_server::registry::model::{AccountId, KeyContext, KeyLimits, NewApiClient};
use serde_json::Value;

use crate::bed::{Bed, text};
use crate::http::{self, Reply};

pub(crate) const ALL: &str = "/v3/apiclients";

/// Whoever calls: id and secret of a key.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Holder {
    /// Of a key as the API shows it.
    pub(crate) fn of(key: &Value) -> Self {
        Self {
            id: text(key, "id"),
            secret: text(key, "secret"),
        }
    }
}

/// A key with all scopes of the account of the story.
pub(crate) async fn root(bed: &Bed) -> Holder {
    root_of(bed, bed.account).await
}

pub(crate) async fn root_of(bed: &Bed, account: AccountId) -> Holder {
    let all = Scope::ALL.map(Scope::as_str);
    holder(bed, account, &all, KeyContext::Account, -1).await
}

/// A key with these scopes.
pub(crate) async fn scoped(bed: &Bed, scopes: &[&str]) -> Holder {
    holder(bed, bed.account, scopes, KeyContext::Account, -1).await
}

pub(crate) async fn holder(
    bed: &Bed,
    account: AccountId,
    scopes: &[&str],
    context: KeyContext,
    rate_limit: i64,
) -> Holder {
    let new = NewApiClient {
        name: None,
        context,
        scope: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        rate_limit,
        limits: KeyLimits::default(),
    };
    let (key, secret) = bed.registry.create_api_client(account, new).await.unwrap();
    Holder {
        id: key.id,
        secret: secret.into_exposed(),
    }
}

/// A call with a body, unless that is `null`.
pub(crate) async fn ask(bed: &Bed, by: &Holder, method: &str, path: &str, body: Value) -> Reply {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    send(bed, Some(by), method, path, body.as_bytes()).await
}

pub(crate) async fn get(bed: &Bed, by: &Holder, path: &str) -> Reply {
    ask(bed, by, "GET", path, Value::Null).await
}

pub(crate) async fn send(
    bed: &Bed,
    by: Option<&Holder>,
    method: &str,
    path: &str,
    body: &[u8],
) -> Reply {
    let authorization = by.map(|by| {
        let credentials = format!("{}:{}", by.id, by.secret);
        format!("Basic {}", BASE64.encode(credentials.as_bytes()))
    });
    with_authorization(bed, authorization.as_deref(), method, path, body).await
}

pub(crate) async fn with_authorization(
    bed: &Bed,
    authorization: Option<&str>,
    method: &str,
    path: &str,
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    if let Some(value) = authorization {
        head.push_str(&format!("Authorization: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    http::raw(bed.http, bed.from, &[head.as_bytes(), body].concat()).await
}

/// What a success answers.
pub(crate) fn good(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

/// An API client that has to be made.
pub(crate) async fn make(bed: &Bed, by: &Holder, body: Value) -> Value {
    good(&ask(bed, by, "POST", ALL, body).await)
}

/// Status, codes and messages of a refusal; checks the shape that each has.
pub(crate) fn problems(reply: &Reply) -> (u16, Vec<(String, String)>) {
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let json = reply.json();
    let found = json.as_array().unwrap().iter().map(|problem| {
        let keys: Vec<&str> = problem
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys.len(), 4, "{problem}");
        let code = text(problem, "code");
        let page = format!("/v3/error/{}", code.to_lowercase());
        assert!(text(problem, "moreInfoUrl").ends_with(&page), "{problem}");
        assert!(!text(problem, "cause").is_empty());
        (code, text(problem, "message"))
    });
    let found: Vec<_> = found.collect();
    assert!(!found.is_empty());
    let status = reply.status;
    assert_eq!(status == 401, reply.header("www-authenticate").is_some());
    assert_eq!(status == 405, reply.header("allow").is_some());
    assert_eq!(status == 429, reply.header("retry-after").is_some());
    (status, found)
}

/// Status, code and message of a refusal with one problem.
pub(crate) fn problem(reply: &Reply) -> (u16, String, String) {
    let (status, mut found) = problems(reply);
    assert_eq!(found.len(), 1, "{found:?}");
    let (code, message) = found.remove(0);
    (status, code, message)
}

/// Status and code of a refusal with one problem.
pub(crate) fn code(reply: &Reply) -> (u16, String) {
    let (status, code, _) = problem(reply);
    (status, code)
}

/// What [`code`] is compared with.
pub(crate) fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub(crate) fn at(reference: &str) -> String {
    format!("{ALL}/{reference}")
}

pub(crate) fn key_at(reference: &str) -> String {
    format!("{ALL}/{reference}/apikey")
}

/// Names of a page, in its order.
pub(crate) fn names(page: &Value) -> Vec<String> {
    let results = page["results"].as_array().unwrap();
    results.iter().map(|client| text(client, "name")).collect()
}
