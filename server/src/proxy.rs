//! HTTP/1.1 passed on through a byte stream to a device, as HTTP names and the desktops of hosts need it.
//!
//! | module | holds |
//! |---|---|
//! | [`fields`] | header fields that concern one connection alone |
//! | [`body`] | bodies that tell of their progress, and hold their turn |
//! | [`turns`] | how many requests are under way |
//!
//! *Invariant:* who may send a request, whom it reaches and what the answer may say is decided by those who call.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::HeaderValue;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::time::timeout;
use tower::BoxError;
use tracing::debug;

pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod turns;

use body::{Progress, Uploaded};
use fields::Framing;

/// Longest head of an answer, in bytes; as long as that of a request may be.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a device may take from the last byte of a request to the head of its answer (openport contract section
/// 12). While the body still comes in, that is no silence of the device.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long both sides of an upgrade may take to hand over their connections once it was agreed on.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that an upgraded connection holds in each direction.
const RELAY_BYTES: usize = 32 * 1024;

/// Why a device does not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It broke off, or what it says is no HTTP.
    Broken,
    /// It was silent for too long.
    Late,
}

/// What a device answered.
pub(crate) enum Answer {
    /// A head whose body still comes in.
    Whole(Response<Incoming>),
    /// The connection goes over to another protocol, as was asked for.
    Switched(Response<Body>, Joint),
}

/// Both ends of an upgraded connection.
pub(crate) struct Joint {
    visitor: OnUpgrade,
    device: OnUpgrade,
}

/// A protocol that a visitor asked to go over to, and their connection.
pub(crate) struct Upgrade {
    protocol: HeaderValue,
    visitor: OnUpgrade,
}

/// A request as it goes to a device.
pub(crate) struct Outgoing {
    /// With the fields that hold for the connection to the device, and those that went through all the way.
    pub(crate) parts: Parts,
    pub(crate) body: Body,
    pub(crate) progress: Progress,
    pub(crate) upgrade: Option<Upgrade>,
    /// May be sent again over another connection: it changes nothing, and nothing of it is used up.
    pub(crate) repeatable: bool,
}

impl Outgoing {
    /// `request` with another target.
    pub(crate) fn new<B>(mut request: Request<B>, target: Uri) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let wanted = fields::wanted_upgrade(request.version(), request.method(), request.headers());
        let upgrade = wanted.map(|protocol| Upgrade {
            protocol,
            visitor: hyper::upgrade::on(&mut request),
        });
        let (theirs, body) = request.into_parts();
        let empty = body.is_end_stream();
        let framing = match body.size_hint().exact() {
            None if !empty => Framing::Chunked,
            _ => Framing::Known,
        };
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&theirs.method);
        let mut parts = Request::new(()).into_parts().0;
        parts.method = theirs.method;
        parts.uri = target;
        parts.headers = theirs.headers;
        let protocol = upgrade.as_ref().map(|upgrade| upgrade.protocol.clone());
        fields::towards_device(&mut parts.headers, framing, protocol);
        let progress = Progress::begin();
        Self {
            parts,
            body: match empty {
                true => Body::empty(),
                false => Body::new(Uploaded {
                    body,
                    progress: progress.clone(),
                }),
            },
            progress,
            repeatable: empty && safe && upgrade.is_none(),
            upgrade,
        }
    }
}

/// Begins HTTP over `stream`. The second part moves the bytes until the connection ends or is handed over.
///
/// # Errors
/// When the stream is gone.
pub(crate) async fn begin<S>(
    stream: S,
) -> Result<(SendRequest<Body>, impl Future<Output = ()> + Send), NoAnswer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // Small servers on devices are known to look for `Content-Length` in just these letters.
    let (requests, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| NoAnswer::Broken)?;
    let moving = async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "HTTP connection to device ended");
        }
    };
    Ok((requests, moving))
}

/// Sends a request and waits for the head of its answer.
///
/// # Errors
/// When none comes.
pub(crate) async fn send(
    requests: &mut SendRequest<Body>,
    request: Request<Body>,
    progress: &Progress,
) -> Result<Response<Incoming>, NoAnswer> {
    let sent = requests.try_send_request(request);
    tokio::select! {
        answer = sent => answer.map_err(|error: TrySendError<_>| {
            let error = error.into_error();
            debug!(%error, "no answer from device");
            NoAnswer::Broken
        }),
        () = progress.stalled(ANSWER_TIMEOUT) => Err(NoAnswer::Late),
    }
}

/// What becomes of an answer to a request that asked for `upgrade`.
///
/// # Errors
/// When it switches to what was not asked for: that ends the HTTP of its connection.
pub(crate) fn take(
    answer: Response<Incoming>,
    upgrade: Option<Upgrade>,
) -> Result<Answer, NoAnswer> {
    let (mut parts, body) = answer.into_parts();
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        fields::towards_visitor(&mut parts.headers, None);
        return Ok(Answer::Whole(bare(&parts, body)));
    }
    let Upgrade { visitor, .. } = upgrade.ok_or(NoAnswer::Broken)?;
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    let protocol = protocol.ok_or(NoAnswer::Broken)?;
    let device = hyper::upgrade::on(Response::from_parts(parts.clone(), body));
    fields::towards_visitor(&mut parts.headers, Some(protocol));
    let head = bare(&parts, Body::empty());
    Ok(Answer::Switched(head, Joint { visitor, device }))
}

/// Status and header fields alone: how the device's connection was made is no affair of the visitor's.
fn bare<B>(parts: &axum::http::response::Parts, body: B) -> Response<B> {
    let mut answer = Response::new(body);
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = parts.headers.clone();
    answer
}

impl Joint {
    /// Byte for byte in both directions, until both have ended or one broke.
    pub(crate) async fn run(self) {
        let both = async { tokio::try_join!(self.visitor, self.device) };
        match timeout(UPGRADE_TIMEOUT, both).await {
            Ok(Ok((visitor, device))) => {
                let (mut visitor, mut device) = (TokioIo::new(visitor), TokioIo::new(device));
                let copied = copy_bidirectional_with_sizes(
                    &mut visitor,
                    &mut device,
                    RELAY_BYTES,
                    RELAY_BYTES,
                );
                if let Err(error) = copied.await {
                    debug!(%error, "upgraded connection broke");
                }
            }
            Ok(Err(error)) => debug!(%error, "upgrade"),
            Err(_) => debug!("upgrade timed out"),
        }
    }
}
