//! A request on its way to the device, its answer, and a connection that was upgraded.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::HeaderValue;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::time::timeout;
use tracing::debug;

use super::Visit;
use super::body::{Answered, Progress, Uploaded};
use super::device::Connection;
use super::headers::{self, Framing, Origin};
use super::page::Trouble;
use super::turn::Turn;
use crate::registry::model::HttpName;

/// How long a device may take from the last byte of a request to the head of its answer (openport contract section
/// 12). While the body still comes in, that is no silence of the device.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long both sides of an upgrade may take to hand over their connections once it was agreed on.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that an upgraded connection holds in each direction.
const RELAY_BYTES: usize = 32 * 1024;

/// A request as it goes to the device.
struct Outgoing {
    parts: Parts,
    body: Body,
    progress: Progress,
    /// May be sent again over another connection: it changes nothing, and nothing of it is used up.
    repeatable: bool,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
}

impl Visit {
    /// Sends `request` to the device and gives its answer, whose body still comes in.
    pub(super) async fn exchange(
        &self,
        name: HttpName,
        turn: Turn,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Trouble> {
        let mut outgoing = self.prepare(request)?;
        let upgrade = outgoing.upgrade.take();
        let (answer, connection) = self.send(name, outgoing).await?;
        let (mut parts, body) = answer.into_parts();
        // An answer that switches ends the HTTP of its connection, and so must have been asked for.
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let (_, visitor) = upgrade.ok_or(Trouble::Broken)?;
            let protocol = parts.headers.get(header::UPGRADE).cloned();
            let protocol = protocol.ok_or(Trouble::Broken)?;
            let device = hyper::upgrade::on(Response::from_parts(parts.clone(), body));
            headers::towards_visitor(&mut parts.headers, Some(protocol));
            self.relay(visitor, device, turn);
            return Ok(switched(parts));
        }
        self.idle.keep(connection);
        headers::towards_visitor(&mut parts.headers, None);
        let mut answer = Response::new(Body::new(Answered { body, _turn: turn }));
        *answer.status_mut() = parts.status;
        *answer.headers_mut() = parts.headers;
        Ok(answer)
    }

    fn prepare(&self, mut request: Request<Incoming>) -> Result<Outgoing, Trouble> {
        let host = host_of(&request).ok_or(Trouble::Malformed)?;
        let wanted =
            headers::wanted_upgrade(request.version(), request.method(), request.headers());
        let upgrade = wanted.map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
        let (theirs, body) = request.into_parts();
        let empty = body.is_end_stream();
        let framing = match body.size_hint().exact() {
            None if !empty => Framing::Chunked,
            _ => Framing::Known,
        };
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&theirs.method);
        let origin = Origin {
            visitor: self.peer.0.ip(),
            transport: self.transport,
            host,
        };
        let mut parts = Request::new(()).into_parts().0;
        parts.method = theirs.method;
        parts.uri = target(&theirs.uri).ok_or(Trouble::Malformed)?;
        parts.headers = theirs.headers;
        let protocol = upgrade.as_ref().map(|(protocol, _)| protocol.clone());
        headers::towards_device(&mut parts.headers, &origin, framing, protocol);
        let progress = Progress::begin();
        Ok(Outgoing {
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
        })
    }

    /// Over a connection that this visitor used before only where the request may be sent once more: the device may
    /// just be closing it.
    async fn send(
        &self,
        name: HttpName,
        outgoing: Outgoing,
    ) -> Result<(Response<Incoming>, Connection), Trouble> {
        let Outgoing {
            parts,
            body,
            progress,
            repeatable,
            ..
        } = outgoing;
        let used = repeatable.then(|| self.idle.take(name.forward)).flatten();
        if let Some(mut connection) = used {
            let again = Request::from_parts(parts.clone(), Body::empty());
            match send_over(&mut connection, again, &progress).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(Trouble::Broken) => debug!("device closed the connection; a new one is made"),
                Err(trouble) => return Err(trouble),
            }
        }
        let mut connection = self.connect(name).await?;
        let request = Request::from_parts(parts, body);
        let answer = send_over(&mut connection, request, &progress).await?;
        Ok((answer, connection))
    }

    fn relay(&self, visitor: OnUpgrade, device: OnUpgrade, turn: Turn) {
        let shared = &self.names.0;
        let stop = shared.parts.stop.clone();
        shared.tasks.spawn(async move {
            tokio::select! {
                () = join(visitor, device) => {}
                () = stop.cancelled() => {}
            }
            drop(turn);
        });
    }
}

async fn send_over(
    connection: &mut Connection,
    request: Request<Body>,
    progress: &Progress,
) -> Result<Response<Incoming>, Trouble> {
    let sent = connection.requests.try_send_request(request);
    tokio::select! {
        answer = sent => answer.map_err(|error: TrySendError<_>| {
            let error = error.into_error();
            debug!(%error, "no answer from device");
            Trouble::Broken
        }),
        () = progress.stalled(ANSWER_TIMEOUT) => Err(Trouble::Late),
    }
}

/// Byte for byte in both directions, until both have ended or one broke.
async fn join(visitor: OnUpgrade, device: OnUpgrade) {
    let both = async { tokio::try_join!(visitor, device) };
    match timeout(UPGRADE_TIMEOUT, both).await {
        Ok(Ok((visitor, device))) => {
            let (mut visitor, mut device) = (TokioIo::new(visitor), TokioIo::new(device));
            let copied =
                copy_bidirectional_with_sizes(&mut visitor, &mut device, RELAY_BYTES, RELAY_BYTES);
            if let Err(error) = copied.await {
                debug!(%error, "upgraded connection broke");
            }
        }
        Ok(Err(error)) => debug!(%error, "upgrade"),
        Err(_) => debug!("upgrade timed out"),
    }
}

fn switched(parts: axum::http::response::Parts) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = parts.headers;
    answer
}

/// The name that was asked for, as the visitor wrote it.
fn host_of(request: &Request<Incoming>) -> Option<HeaderValue> {
    if let Some(host) = request.headers().get(header::HOST) {
        return Some(host.clone());
    }
    HeaderValue::from_str(request.uri().authority()?.as_str()).ok()
}

/// The target of a request as a server that is no proxy gets it.
fn target(uri: &Uri) -> Option<Uri> {
    match uri.path_and_query() {
        Some(path) => path.as_str().parse().ok(),
        None => Some(Uri::from_static("/")),
    }
}
