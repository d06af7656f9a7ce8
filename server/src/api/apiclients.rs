//! API clients and their keys: `/v3/apiclients`, `/v3/accounts/{account}/apiclients`, `/v3/error/{code}`
//! (`contract/apiclients.md`).
//!
//! | module | holds |
//! |---|---|
//! | [`paths`] | what a path names, which verb is meant |
//! | [`access`] | HTTP Basic: key, rate, account, scope |
//! | [`attributes`], [`rules`] | bodies, checked: what attributes may be |
//! | [`filters`] | queries, checked: pages and filters |
//! | [`operations`] | what can be done, shared with `/v1/admin/api-clients` |
//! | [`objects`] | API clients and keys on the wire |
//! | [`answer`], [`error_page`] | JSON, error codes and the pages that explain them |

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::Response;
use axum::http::request::Parts;
use axum::routing::any;
use moorline_protocol::apiclients::Deleted;
use serde_json::{Map, Value};
use tokio::time::timeout;

use self::access::Holder;
use self::answer::{Failure, ok};
use self::operations::Trouble;
use self::paths::{Target, Verb};
use super::body::{self, BodyError};
use super::{Api, BODY_TIMEOUT, Peer, Transport};

mod access;
mod answer;
pub(super) mod attributes;
mod error_page;
pub mod filters;
mod objects;
pub(super) mod operations;
mod paths;
pub(crate) mod rules;

/// The routes of this surface.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3", any(call))
        .route("/v3/", any(call))
        .route("/v3/{*path}", any(call))
}

async fn call(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    Extension(transport): Extension<Transport>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // What is wrong with a body is told in its turn; it is off the wire before anything is answered.
    let body = read(body).await;
    let done = answer(&api, peer, transport, &parts, body).await;
    done.unwrap_or_else(|failure| {
        let code = failure.code().name;
        tracing::info!(code, peer = %peer.0.ip(), "API client call refused");
        metrics::counter!("moorline_apiclients_refused_total", "code" => code).increment(1);
        failure.into_response(docs(&api))
    })
}

/// Where the pages that explain codes are.
fn docs(api: &Api) -> &str {
    let identity = api.identity();
    match identity.docs_url.as_str() {
        "" => &identity.api_url,
        docs => docs,
    }
}

/// The order of checks is that of section 6: HTTPS, credentials, rate, account, path, scope, body, existence, lock, name.
async fn answer(
    api: &Api,
    peer: Peer,
    transport: Transport,
    parts: &Parts,
    body: Result<Vec<u8>, Failure>,
) -> Result<Response<Body>, Failure> {
    if api.identity().require_https && transport == Transport::Plain {
        return Err(Failure::HttpsRequired);
    }
    let (path, query) = (parts.uri.path(), parts.uri.query());
    if let Some(code) = paths::error_code(path) {
        return error_page::page(&parts.method, code);
    }
    let holder = Holder::of(api, peer, &parts.headers).await?;
    let caller = &holder.caller;
    let target = Target::parse(path, &caller.account).ok_or(Failure::NoEndpoint)?;
    let verb = target.verb(&parts.method, query)?;
    holder.may(verb)?;
    let reference = target.reference();
    Ok(match verb {
        Verb::Create => ok(&api.create_client(caller, &object(&body?)?).await?),
        Verb::List => ok(&api.list_clients(caller, query).await?),
        Verb::Read => ok(&api.client(caller, reference).await?),
        Verb::Update => ok(&api
            .change_client(caller, reference, &object(&body?)?)
            .await?),
        Verb::Delete => match api.delete_client(caller, reference).await {
            Ok(()) => ok(&Deleted { nr_of_items: 1 }),
            Err(Trouble::Unknown) => ok(&Deleted { nr_of_items: 0 }),
            Err(trouble) => return Err(trouble.into()),
        },
        Verb::ReadKey => ok(&api.client_key(caller, reference).await?),
        Verb::Regenerate => {
            // Whatever it says is ignored.
            body?;
            ok(&api.regenerate_client_key(caller, reference).await?)
        }
        Verb::UpdateKey => ok(&api
            .change_client_key(caller, reference, &object(&body?)?)
            .await?),
    })
}

/// The object in a body; an empty one counts as `{}`.
fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|_| Failure::InvalidBody)
}

async fn read(body: Body) -> Result<Vec<u8>, Failure> {
    match timeout(BODY_TIMEOUT, body::read(body)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BodyError::TooLarge)) => Err(Failure::BodyTooLarge),
        Ok(Err(BodyError::Broken)) | Err(_) => Err(Failure::InvalidBody),
    }
}
