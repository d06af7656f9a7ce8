//! The pages that links lead to (openport contract section 8).

use axum::extract::{Extension, Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::{CLICKS_PER_MINUTE, WRONG_LINKS_PER_MINUTE};
use crate::api::{Api, Peer};
use crate::rate_limit::address_key;
use crate::registry::error::RegistryError;
use crate::registry::model::{ForwardId, ForwardKind, Timestamp};

/// Nothing is loaded from anywhere, and the token in the address goes nowhere else.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::HeaderName::from_static("x-robots-tag"),
        "noindex, nofollow",
    ),
];

/// `GET /l/{port}/{token}`: lets the visitor's address in for 24 hours.
pub(super) async fn link(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    method: Method,
    Path((port, token)): Path<(String, String)>,
) -> Response {
    opened(&api, peer, &method, &port, &token)
        .await
        .unwrap_or_else(failed)
}

async fn opened(
    api: &Api,
    peer: Peer,
    method: &Method,
    port: &str,
    token: &str,
) -> Result<Response, RegistryError> {
    let visitor = peer.0.ip().to_canonical();
    let address = address_key(visitor);
    let limits = &api.0.client_limits;
    // Counted as wrong until it turns out to be right, so that many tries at once cannot pass the limit.
    if limits
        .wrong_links
        .take(&address, WRONG_LINKS_PER_MINUTE)
        .is_err()
    {
        return Ok(too_many());
    }
    let session = match port.parse() {
        Ok(port) => api.registry().session_of_link(port, token).await?,
        Err(_) => None,
    };
    let Some((device, forward)) = session else {
        tracing::debug!(%visitor, port, "wrong link");
        let text = "This link is not valid. Ask the person who sent it for a new one.";
        return Ok(page(StatusCode::FORBIDDEN, "Not allowed", text));
    };
    limits
        .wrong_links
        .give_back(&address, WRONG_LINKS_PER_MINUTE);
    if *method == Method::GET {
        if limits.clicks.take(&address, CLICKS_PER_MINUTE).is_err() {
            return Ok(too_many());
        }
        api.registry()
            .record_click(&device, &forward, visitor, Timestamp::now())
            .await?;
        tracing::info!(device = %device.id, port = forward.public_port, %visitor, "port opened by its link");
    }
    let text = format!(
        "Port {} is now available from your IP address {visitor} for 24 hours.",
        forward.public_port
    );
    let title = format!("Port {} is now available from your IP", forward.public_port);
    Ok(page(StatusCode::OK, &title, &text))
}

/// `GET /l/{port}`: a link without its token.
pub(super) async fn no_token() -> Response {
    missing("This link is not complete.")
}

/// `GET /r/{redirect_token}/{local_port}`: leads to the session that is up for that port of the device.
pub(super) async fn redirect(
    State(api): State<Api>,
    Path((token, local_port)): Path<(String, String)>,
) -> Response {
    let target = match local_port.parse() {
        Ok(local_port) => target(&api, &token, local_port).await,
        Err(_) => Ok(None),
    };
    match target {
        Ok(Some(target)) => {
            let headers = [
                (header::LOCATION, target.as_str()),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (StatusCode::FOUND, headers).into_response()
        }
        Ok(None) => missing("Nothing is connected here at the moment."),
        Err(error) => failed(error),
    }
}

async fn target(api: &Api, token: &str, local_port: u16) -> Result<Option<String>, RegistryError> {
    let Some(device) = api.registry().device_by_redirect(token).await? else {
        return Ok(None);
    };
    let open: Vec<ForwardId> = api
        .tunnels()
        .open_forwards()
        .into_iter()
        .filter_map(|(of, forward)| (of == device.id).then_some(forward))
        .collect();
    let newest = device
        .forwards
        .iter()
        .filter(|forward| forward.device_port == local_port && open.contains(&forward.id))
        .max_by_key(|forward| forward.id.0);
    let Some(forward) = newest else {
        return Ok(None);
    };
    let Some(node) = api.registry().node(&forward.node).await? else {
        return Ok(None);
    };
    Ok(match forward.kind {
        ForwardKind::Http => node
            .http_name(forward)
            .map(|name| format!("http://{name}/")),
        ForwardKind::Tcp => Some(format!(
            "http://{}:{}/",
            node.public_host, forward.public_port
        )),
    })
}

fn missing(text: &str) -> Response {
    page(StatusCode::NOT_FOUND, "Not found", text)
}

fn too_many() -> Response {
    let text = "Too many tries from your address. Wait a minute.";
    page(StatusCode::TOO_MANY_REQUESTS, "Too many requests", text)
}

fn failed(error: RegistryError) -> Response {
    tracing::error!(error = &error as &dyn std::error::Error, "page failed");
    let text = "Something went wrong. Try again later.";
    page(StatusCode::INTERNAL_SERVER_ERROR, "Error", text)
}

/// `title` and `text` are our own words, numbers and addresses, which need no escaping.
fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:1.1rem system-ui;max-width:34rem;margin:20vh auto;padding:0 1rem}}</style>\n\
         <h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    );
    (status, HEADERS, Html(html)).into_response()
}
