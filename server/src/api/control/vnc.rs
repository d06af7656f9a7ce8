//! The desktop of a host in the browser (control contract section 14): HTTP and WebSockets through the host's tunnel.
//!
//! | module | holds |
//! |---|---|
//! | [`fields`] | header fields that pass between browser and host |
//! | [`confine`] | what a page of a host may do in the browser |
//!
//! *Invariant:* a page of a host acts for nobody: it has the desktop that it belongs to, and nothing else of the
//! server.

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::access::{Operator, came_in_query};
use super::answer::Refusal;
use super::hosts::{self, own};
use super::origin::own_origins;
use crate::api::{Api, Peer};
use crate::live_sessions::Hold;
use crate::proxy::body::Answered;
use crate::proxy::turns::{Limits, Turn, Turns};
use crate::proxy::{self, Answer, NoAnswer, Outgoing};
use crate::registry::model::{Device, Host, HostStatus, User, UserId};
use crate::tunnels::{ForwardTarget, OpenError, Stream, TargetPort, Way};

mod confine;
mod fields;

/// Where the web server of a desktop listens.
const PORT: u16 = 6080;
/// Requests and WebSockets to desktops at once: of one user, over all hosts, and in all. A browser opens about six for
/// a desktop while it loads, and one for as long as it lasts.
const LIMITS: Limits = Limits { each: 64, all: 512 };
const NO_VNC: Refusal = Refusal::conflict("host has no VNC");
const NOT_RUNNING: Refusal = Refusal::conflict("host is not running");
const UNREACHED: Refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "cannot reach container");
const RECORDED: Refusal =
    Refusal::new(StatusCode::FORBIDDEN, "recording is required for this host");
const NO_ANSWER: Refusal = Refusal::new(StatusCode::BAD_GATEWAY, "cannot connect to VNC");
const NO_SERVICE_WORKERS: Refusal = Refusal::forbidden("forbidden");

/// Connections to desktops.
pub(in crate::api) struct Desktops {
    turns: Turns<UserId>,
    tasks: TaskTracker,
}

impl Default for Desktops {
    fn default() -> Self {
        Self {
            turns: Turns::new(LIMITS),
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
        let path = parts.uri.path().to_owned();
        let route = Route::of(&path).ok_or(hosts::NOT_FOUND)?;
        let host = match role {
            Role::Admin => hosts::find(api, operator.0.account, route.host).await?,
            Role::User => own::own(api, &operator, route.host).await?.host,
        };
        let device = desktop_of(api, &host).await?;
        if confine::is_for_service_worker(&parts.headers) {
            return Err(NO_SERVICE_WORKERS);
        }
        if came_in_query(&parts)
            && let Some(elsewhere) = confine::without_token(&parts)
        {
            return Ok(elsewhere);
        }
        let turn = api.0.desktops.turns.take(operator.0.id);
        let turn = turn.ok_or(UNREACHED)?;
        let stream = open(api, &device, peer).await?;
        let hold = hold(&operator.0, &host);
        let visit = Visit { route, hold, turn };
        visit.pass_on(api, stream, parts, body).await
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

/// `/v1/admin/hosts/{host}/vnc/{path}`.
struct Route<'a> {
    /// All of it up to the path, `/` included.
    prefix: &'a str,
    host: &'a str,
    path: &'a str,
}

impl<'a> Route<'a> {
    fn of(whole: &'a str) -> Option<Self> {
        let mut segments = whole.splitn(7, '/').skip(4);
        let (host, vnc) = (segments.next()?, segments.next()?);
        let path = segments.next().unwrap_or_default();
        // The prefix stands in policies and cookies.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let good = vnc == "vnc" && host.bytes().all(plain) && !fields::is_ambiguous(path);
        let prefix = whole.strip_suffix(path).filter(|_| good)?;
        Some(Self { prefix, host, path })
    }

    /// The same path and query for the desktop, without our token.
    fn target(&self, query: Option<&str>) -> Result<Uri, Refusal> {
        let query = kept_query(query);
        let mark = if query.is_empty() { "" } else { "?" };
        let text = format!("/{}{mark}{query}", self.path);
        text.parse().map_err(|_| hosts::NOT_FOUND)
    }
}

/// A query without our token.
fn kept_query(query: Option<&str>) -> String {
    let pairs = query.unwrap_or_default().split('&');
    let kept: Vec<&str> = pairs
        .filter(|pair| !pair.is_empty() && !is_token(pair))
        .collect();
    kept.join("&")
}

/// Whether a pair of a query is the token, however its name is escaped.
fn is_token(pair: &str) -> bool {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(pair).unwrap_or_default();
    pairs.iter().any(|(name, _)| name == "token")
}

/// The device whose forward leads to a desktop.
async fn desktop_of(api: &Api, host: &Host) -> Result<Device, Refusal> {
    let Some(device) = host.device else {
        // There is no engine that could lead there.
        return Err(match host.status {
            HostStatus::Running => UNREACHED,
            _ => NOT_RUNNING,
        });
    };
    let device = api.registry().device(device).await?;
    let device = device.filter(|device| device.account == host.account);
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

/// One request that may be passed on.
struct Visit<'a> {
    route: Route<'a>,
    hold: Hold,
    turn: Turn<UserId>,
}

impl Visit<'_> {
    async fn pass_on(
        self,
        api: &Api,
        stream: Stream,
        parts: Parts,
        body: Body,
    ) -> Result<Response, Refusal> {
        let Self { route, hold, turn } = self;
        let origins = own_origins(&parts, api);
        let target = route.target(parts.uri.query())?;
        let mut outgoing = Outgoing::new(Request::from_parts(parts, body), target.clone());
        fields::for_host(&mut outgoing.parts.headers);
        let (mut requests, moving) = proxy::begin(stream).await?;
        last(api, hold.clone(), moving);
        let request = Request::from_parts(outgoing.parts, outgoing.body);
        let answer = proxy::send(&mut requests, request, &outgoing.progress).await?;
        let mut answer = match proxy::take(answer, outgoing.upgrade)? {
            Answer::Switched(head, joint) => {
                last(api, hold, async move {
                    joint.run().await;
                    drop(turn);
                });
                head
            }
            Answer::Whole(answer) => answer.map(|body| Body::new(Answered { body, _turn: turn })),
        };
        let mut headers = fields::for_browser(answer.headers(), &route, &target);
        confine::confine(&mut headers, &route, &origins);
        *answer.headers_mut() = headers;
        Ok(answer.into_response())
    }
}

/// Goes on with `connection` for as long as `hold` lets it.
fn last(api: &Api, hold: Hold, connection: impl Future<Output = ()> + Send + 'static) {
    let live = api.0.parts.hosts.sessions().register(hold);
    api.0.desktops.tasks.spawn(async move {
        tokio::select! {
            () = connection => {}
            reason = live.ended() => debug!(reason, "desktop cut"),
        }
    });
}

impl From<NoAnswer> for Refusal {
    fn from(_: NoAnswer) -> Self {
        NO_ANSWER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_passed_on_and_tokens_are_not() {
        let of = |path| Route::of(path).map(|route| (route.prefix, route.host, route.path));
        assert_eq!(
            of("/v1/admin/hosts/h/vnc/app/ui.js"),
            Some(("/v1/admin/hosts/h/vnc/", "h", "app/ui.js"))
        );
        assert_eq!(
            of("/v1/user/hosts/h-1/vnc/"),
            Some(("/v1/user/hosts/h-1/vnc/", "h-1", ""))
        );
        for other in [
            "/v1/user/hosts/h/other/x",
            "/v1/user/hosts/h;x/vnc/x",
            "/v1/user/hosts/h/vnc/..%2F..%2fi/vnc/x",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let uri = |path, query| {
            let route = Route {
                prefix: "",
                host: "",
                path,
            };
            route.target(query).unwrap().to_string()
        };
        assert_eq!(uri("vnc.html", None), "/vnc.html");
        assert_eq!(uri("a/b", Some("x=1&token=abc&y=2")), "/a/b?x=1&y=2");
        assert_eq!(uri("", Some("t%6Fken=abc")), "/");
        assert_eq!(uri("", Some("tokens=abc")), "/?tokens=abc");
    }
}
