//! The desktop of a host in the browser (control contract section 14): HTTP and WebSockets through the host's tunnel.
//!
//! *Invariant:* neither our token nor our cookie reaches a host, and a host sets no cookie of ours.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::access::{COOKIE, Operator};
use super::answer::Refusal;
use super::hosts::{self, own};
use crate::api::{Api, Peer};
use crate::live_sessions::Hold;
use crate::registry::model::{Device, Host, HostStatus, User};
use crate::tunnels::{ForwardTarget, OpenError, Stream, TargetPort, Way};

/// Where the web server of a desktop listens.
const PORT: u16 = 6080;
/// Connections to desktops at once, over all hosts; a browser opens about six for one.
const MAX_CONNECTIONS: usize = 512;
/// How long a desktop may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Headers that hold for one connection only (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const NO_VNC: Refusal = Refusal::conflict("host has no VNC");
const NOT_RUNNING: Refusal = Refusal::conflict("host is not running");
const UNREACHED: Refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "cannot reach container");
const RECORDED: Refusal =
    Refusal::new(StatusCode::FORBIDDEN, "recording is required for this host");
const NO_ANSWER: Refusal = Refusal::new(StatusCode::BAD_GATEWAY, "cannot connect to VNC");

/// Connections to desktops.
pub(in crate::api) struct Desktops {
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Default for Desktops {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: TaskTracker::new(),
        }
    }
}

/// Under `/v1/admin/`.
pub(super) async fn admin(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    serve(&api, peer, request, Role::Admin).await
}

/// Under `/v1/user/`: own hosts.
pub(super) async fn user(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    serve(&api, peer, request, Role::User).await
}

#[derive(Clone, Copy)]
enum Role {
    Admin,
    User,
}

async fn serve(api: &Api, peer: Peer, request: Request, role: Role) -> Response {
    let (mut parts, body) = request.into_parts();
    let served = async {
        let operator = Operator::from_request_parts(&mut parts, api).await?;
        let (id, path) = split(parts.uri.path()).ok_or(hosts::NOT_FOUND)?;
        let host = match role {
            Role::Admin => hosts::find(api, operator.0.account, id).await?,
            Role::User => own::own(api, &operator, id).await?.host,
        };
        let device = desktop_of(api, &host).await?;
        let target = target(path, parts.uri.query())?;
        let stream = open(api, &device, peer).await?;
        let hold = hold(&operator.0, &host);
        pass_on(api, hold, stream, target, parts, body).await
    };
    served.await.unwrap_or_else(Refusal::into_plain)
}

/// What a connection that lasts hangs on.
fn hold(caller: &User, host: &Host) -> Hold {
    if caller.id == host.user {
        Hold::on_host(host, caller)
    } else {
        Hold::on_host_of_another(host, caller)
    }
}

/// Host and rest of `/v1/admin/hosts/{host}/vnc/{path}`.
fn split(path: &str) -> Option<(&str, &str)> {
    let mut segments = path.splitn(7, '/').skip(4);
    let (host, vnc) = (segments.next()?, segments.next()?);
    (vnc == "vnc").then(|| (host, segments.next().unwrap_or_default()))
}

/// The device whose forward leads to a desktop.
async fn desktop_of(api: &Api, host: &Host) -> Result<Device, Refusal> {
    let Some(device) = host.device else {
        // No container runs without an engine.
        return Err(NOT_RUNNING);
    };
    let device = api.registry().device(device).await?;
    let device = device.ok_or(hosts::NOT_FOUND)?;
    if !device.forwards.iter().any(|one| one.device_port == PORT) {
        return Err(NO_VNC);
    }
    if host.status == HostStatus::Running {
        Ok(device)
    } else {
        Err(NOT_RUNNING)
    }
}

/// The same path and query for the desktop, without our token.
fn target(path: &str, query: Option<&str>) -> Result<Uri, Refusal> {
    let kept: Vec<&str> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_token(pair))
        .collect();
    let text = if kept.is_empty() {
        format!("/{path}")
    } else {
        format!("/{path}?{}", kept.join("&"))
    };
    text.parse().map_err(|_| hosts::NOT_FOUND)
}

/// Whether a pair of a query is the token, however its name is escaped.
fn is_token(pair: &str) -> bool {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(pair).unwrap_or_default();
    pairs.iter().any(|(name, _)| name == "token")
}

async fn open(api: &Api, device: &Device, peer: Peer) -> Result<Stream, Refusal> {
    let target = ForwardTarget {
        port: TargetPort::Device(PORT),
        originator: peer.0,
        way: Way::Desktop,
    };
    let opened = api.tunnels().open_stream(device.id, &target).await;
    opened.map_err(|error| {
        debug!(device = %device.id, %error, "desktop not reached");
        match error {
            OpenError::RecordingDemanded => RECORDED,
            OpenError::NotConnected | OpenError::NoForward => UNREACHED,
            OpenError::Refused(_) | OpenError::TimedOut | OpenError::Ended => NO_ANSWER,
        }
    })
}

async fn pass_on(
    api: &Api,
    hold: Hold,
    stream: Stream,
    target: Uri,
    mut parts: Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let desktops = &api.0.desktops;
    let turn = desktops.turns.clone().try_acquire_owned();
    // Shared by all that carries this request's bytes: it is free again when the last of them has ended.
    let turn = Arc::new(turn.map_err(|_| UNREACHED)?);
    let sessions = api.0.parts.hosts.sessions().clone();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| NO_ANSWER)?;
    let (live, held) = (sessions.register(hold.clone()), turn.clone());
    desktops.tasks.spawn(async move {
        tokio::select! {
            done = connection.with_upgrades() => if let Err(error) = done {
                debug!(%error, "connection to desktop ended");
            },
            reason = live.ended() => debug!(reason, "desktop cut"),
        }
        drop(held);
    });
    let ours = parts.extensions.remove::<OnUpgrade>();
    let wanted = parts.headers.get(header::UPGRADE).cloned();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = target;
    *request.headers_mut() = for_host(parts.headers, wanted);
    let answer = timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
    let mut answer = answer.map_err(|_| NO_ANSWER)?.map_err(|error| {
        debug!(%error, "desktop does not answer");
        NO_ANSWER
    })?;
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        let theirs = hyper::upgrade::on(&mut answer);
        let ours = ours.ok_or(NO_ANSWER)?;
        let live = sessions.register(hold);
        desktops.tasks.spawn(async move {
            tokio::select! {
                () = relay(ours, theirs, turn) => {}
                reason = live.ended() => debug!(reason, "desktop cut"),
            }
        });
    }
    let (mut head, body) = answer.into_parts();
    head.headers = for_browser(head.headers, switched);
    Ok(Response::from_parts(head, Body::new(body)).into_response())
}

/// Bytes both ways, until both ends have ended.
async fn relay(ours: OnUpgrade, theirs: OnUpgrade, turn: Arc<OwnedSemaphorePermit>) {
    let (ours, theirs) = match tokio::try_join!(ours, theirs) {
        Ok(both) => both,
        Err(error) => {
            debug!(%error, "upgrade of connection to desktop");
            return;
        }
    };
    let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
    if let Err(error) = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await {
        debug!(%error, "WebSocket of desktop ended");
    }
    drop(turn);
}

fn without_hops(mut headers: HeaderMap) -> HeaderMap {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    headers
}

/// What of a request's headers a host gets to see.
fn for_host(headers: HeaderMap, upgrade: Option<HeaderValue>) -> HeaderMap {
    let mut headers = without_hops(headers);
    headers.remove(header::AUTHORIZATION);
    // The address of the page that loads the others has the token in it.
    headers.remove(header::REFERER);
    let cookies: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|cookie| !is_ours(cookie))
        .map(str::to_owned)
        .collect();
    headers.remove(header::COOKIE);
    if !cookies.is_empty()
        && let Ok(value) = HeaderValue::from_str(&cookies.join("; "))
    {
        headers.insert(header::COOKIE, value);
    }
    headers.insert(header::HOST, HeaderValue::from_static("localhost:6080"));
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    headers
}

/// What of an answer's headers a browser gets to see.
fn for_browser(headers: HeaderMap, switched: bool) -> HeaderMap {
    let upgrade = headers.get(header::UPGRADE).cloned().filter(|_| switched);
    let mut headers = without_hops(headers);
    let cookies: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter(|value| !is_ours(&String::from_utf8_lossy(value.as_bytes())))
        .cloned()
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    // These reach beyond the pages of the host.
    for name in [
        "clear-site-data",
        "service-worker-allowed",
        "strict-transport-security",
    ] {
        headers.remove(name);
    }
    // Nor does a page tell others the token that it was loaded with.
    let none = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, none);
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    headers
}

/// Whether `cookie`, as either side writes it, is the one with a token. Of a cookie without a name browsers send the
/// value alone, which may look like one with a name.
fn is_ours(cookie: &str) -> bool {
    let named = cookie.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
    let name = named.split(['=', ';']).next().unwrap_or_default();
    name.trim() == COOKIE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_passed_on_and_tokens_are_not() {
        assert_eq!(
            split("/v1/admin/hosts/h/vnc/app/ui.js"),
            Some(("h", "app/ui.js"))
        );
        assert_eq!(split("/v1/user/hosts/h/vnc/"), Some(("h", "")));
        assert_eq!(split("/v1/user/hosts/h/other/x"), None);
        let uri = |path, query| target(path, query).unwrap().to_string();
        assert_eq!(uri("vnc.html", None), "/vnc.html");
        assert_eq!(uri("a/b", Some("x=1&token=abc&y=2")), "/a/b?x=1&y=2");
        assert_eq!(uri("", Some("t%6Fken=abc")), "/");
        assert_eq!(uri("", Some("tokens=abc")), "/?tokens=abc");
    }

    #[test]
    fn secrets_stay_here() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        let page = "http://h/v1/admin/hosts/1/vnc/vnc.html?token=x";
        headers.insert(header::REFERER, HeaderValue::from_static(page));
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; admin_token=secret;b=2"),
        );
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("admin_token=secret"),
        );
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade, x"));
        let seen = for_host(headers, Some(HeaderValue::from_static("websocket")));
        assert_eq!(seen.get(header::AUTHORIZATION), None);
        assert_eq!(seen.get(header::REFERER), None);
        assert_eq!(seen.get(header::COOKIE).unwrap(), "a=1; b=2");
        assert_eq!(seen.get(header::CONNECTION).unwrap(), "Upgrade");
        assert_eq!(seen.get(header::UPGRADE).unwrap(), "websocket");
        let mut headers = HeaderMap::new();
        headers.append(
            header::SET_COOKIE,
            HeaderValue::from_static("own=1; Path=/"),
        );
        for evil in [
            "admin_token=evil",
            " =admin_token=evil",
            "admin_token=\u{e4}",
        ] {
            let evil = HeaderValue::from_bytes(evil.as_bytes()).unwrap();
            headers.append(header::SET_COOKIE, evil);
        }
        let seen = for_browser(headers, false);
        let cookies: Vec<_> = seen.get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["own=1; Path=/"]);
    }
}
