//! `/api/v2/…`: keys (devices), sessions (open forwards), nodes and clicks for scripts (openport contract part 1).
//!
//! | module | holds |
//! |---|---|
//! | [`access`] | the token: key, scope, limits, what it sees |
//! | [`answer`] | JSON and errors on the wire |
//! | [`body`], [`fields`] | a body read in its three forms, and its fields checked |
//! | [`page`] | parts of lists, with links to the next and the previous one |
//! | [`keys`], [`settings`], [`sessions`], [`nodes`], [`clicks`] | one endpoint each |
//!
//! *Invariant:* checks come in one order: path 404, token 401, rate 429, method 405, scope 403, account 403, then the
//! endpoint's own.

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use moorline_protocol::scope::Scope;

use self::answer::Failure;
use self::body::RawBody;
use self::fields::Presence;
use super::urls;
use crate::api::{Api, Peer, openapi};

mod access;
mod answer;
mod body;
pub(in crate::api) mod clicks;
mod fields;
pub(in crate::api) mod keys;
pub(in crate::api) mod nodes;
pub(in crate::api) mod page;
pub(in crate::api) mod sessions;
pub(in crate::api) mod settings;

/// Where all of it is.
pub(in crate::api) const ROOT: &str = "/api/v2/";

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Sessions,
    Keys,
    Key(i64),
    Settings(i64),
    Nodes,
    Clicks,
    Specs,
}

impl Resource {
    /// `path` without [`ROOT`] and without the slash at its end.
    fn parse(path: &str) -> Option<Self> {
        Some(match path {
            "sessions" => Self::Sessions,
            "keys" => Self::Keys,
            "nodes" => Self::Nodes,
            "openforiplinkclicks" => Self::Clicks,
            "specs" => Self::Specs,
            _ => {
                let rest = path.strip_prefix("keys/")?;
                match rest.strip_suffix("/settings") {
                    Some(number) => Self::Settings(id(number)?),
                    None => Self::Key(id(rest)?),
                }
            }
        })
    }

    /// For `Allow`.
    const fn methods(self) -> &'static str {
        match self {
            Self::Keys => "GET, HEAD, POST",
            Self::Key(_) => "GET, HEAD, PUT, PATCH, DELETE",
            Self::Settings(_) => "GET, HEAD, PUT, PATCH",
            Self::Sessions | Self::Nodes | Self::Clicks | Self::Specs => "GET, HEAD",
        }
    }

    const fn needs_token(self) -> bool {
        !matches!(self, Self::Nodes | Self::Specs)
    }

    /// The scope that a method which is allowed needs.
    fn scope(self, method: &Method) -> Scope {
        match *method {
            Method::POST => Scope::DeviceCreate,
            Method::PUT | Method::PATCH => Scope::DeviceModify,
            Method::DELETE => Scope::DeviceDelete,
            _ if matches!(self, Self::Settings(_)) => Scope::DeviceModify,
            _ => Scope::DeviceRead,
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|one| one == method.as_str())
    }
}

/// A request as it came in.
struct Call {
    method: Method,
    path: String,
    /// In their order.
    query: Vec<(String, String)>,
    body: Result<RawBody, Failure>,
    /// Base of URLs in the answer.
    base: String,
}

impl Call {
    /// Whether every field has to be there: for `PUT` yes, for `PATCH` none.
    fn presence(&self) -> Presence {
        if self.method == Method::PUT {
            Presence::Required
        } else {
            Presence::Optional
        }
    }
}

/// The routes of this surface.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v2", any(serve))
        .route(ROOT, any(serve))
        .route("/api/v2/{*path}", any(serve))
}

async fn serve(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path().strip_prefix(ROOT).unwrap_or_default();
    let resource = match path.strip_suffix('/') {
        Some(path) => Resource::parse(path),
        None if reading && Resource::parse(path).is_some() => return with_slash(&request),
        None => None,
    };
    let Some(resource) = resource else {
        return Failure::NotFound.into_response();
    };
    let (parts, body) = request.into_parts();
    let call = Call {
        base: urls::base_url(&api, &parts),
        query: query(parts.uri.query()),
        path: parts.uri.path().to_owned(),
        body: body::read(&parts.headers, body).await,
        method: parts.method,
    };
    let done = answer(&api, peer, resource, call).await;
    done.unwrap_or_else(|failure| {
        let response = failure.into_response();
        let status = response.status().as_u16();
        tracing::info!(?resource, status, peer = %peer.0.ip(), "openport call refused");
        metrics::counter!("moorline_openport_refused_total", "status" => status.to_string())
            .increment(1);
        response
    })
}

async fn answer(
    api: &Api,
    peer: Peer,
    resource: Resource,
    call: Call,
) -> Result<Response, Failure> {
    let key = if resource.needs_token() {
        Some(api.key_of_token(peer, &call.query).await?)
    } else {
        None
    };
    if !resource.allows(&call.method) {
        return Err(Failure::MethodNotAllowed {
            method: call.method,
            allowed: resource.methods(),
        });
    }
    let Some(key) = key else {
        return match resource {
            Resource::Specs => Ok(specs()),
            _ => nodes::list(api, &call).await,
        };
    };
    let scope = resource.scope(&call.method);
    let caller = api.caller(key, scope).await?;
    match (resource, call.method.as_str()) {
        (Resource::Sessions, _) => sessions::list(api, &caller, &call).await,
        (Resource::Clicks, _) => clicks::list(api, &caller, &call).await,
        (Resource::Keys, "POST") => keys::create(api, &caller, call).await,
        (Resource::Keys, _) => keys::list(api, &caller, &call).await,
        (Resource::Key(id), "PUT" | "PATCH") => keys::change(api, &caller, call, id).await,
        (Resource::Key(id), "DELETE") => keys::remove(api, &caller, id).await,
        (Resource::Key(id), _) => keys::show(api, &caller, &call, id).await,
        (Resource::Settings(id), "PUT" | "PATCH") => settings::change(api, &caller, call, id).await,
        (Resource::Settings(id), _) => settings::show(api, &caller, id).await,
        (Resource::Nodes | Resource::Specs, _) => Err(Failure::NotFound),
    }
}

/// The OpenAPI document of this surface.
fn specs() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, openapi::openport_v2::text()).into_response()
}

/// Sends to the same path with a slash at its end, query kept.
fn with_slash(request: &Request) -> Response {
    let uri = request.uri();
    let mut place = format!("{}/", uri.path());
    if let Some(query) = uri.query() {
        place.push('?');
        place.push_str(query);
    }
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, place)]).into_response()
}

fn query(text: Option<&str>) -> Vec<(String, String)> {
    // Pairs of text always parse: bad escapes are taken as they stand.
    serde_urlencoded::from_str(text.unwrap_or_default()).unwrap_or_default()
}

/// A number in a path; one that no row can have is as unknown as text.
fn id(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        for (path, resource) in [
            ("sessions", Some(Resource::Sessions)),
            ("keys", Some(Resource::Keys)),
            ("keys/7", Some(Resource::Key(7))),
            ("keys/7/settings", Some(Resource::Settings(7))),
            ("nodes", Some(Resource::Nodes)),
            ("openforiplinkclicks", Some(Resource::Clicks)),
            ("specs", Some(Resource::Specs)),
            ("", None),
            ("keys/", None),
            ("keys/x", None),
            ("keys/-7", None),
            ("keys/+7", None),
            ("keys/99999999999999999999", None),
            ("keys/7/settings/x", None),
            ("keys//settings", None),
            ("Keys", None),
        ] {
            assert_eq!(Resource::parse(path), resource, "{path}");
        }
    }
}
