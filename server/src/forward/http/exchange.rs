//! A request on its way to the device, its answer, and a connection that was upgraded.

use axum::body::Body;
use axum::http::header::HeaderValue;
use axum::http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use tracing::debug;

use super::Visit;
use super::device::Connection;
use super::headers::{self, Origin};
use super::page::Trouble;
use crate::proxy::body::Answered;
use crate::proxy::turns::Turn;
use crate::proxy::{self, Answer, Joint, NoAnswer, Outgoing};
use crate::registry::model::{ForwardId, HttpName};

impl Visit {
    /// Sends `request` to the device and gives its answer, whose body still comes in.
    pub(super) async fn exchange(
        &self,
        name: HttpName,
        turn: Turn<ForwardId>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Trouble> {
        let mut outgoing = self.prepare(request)?;
        let upgrade = outgoing.upgrade.take();
        let (answer, connection) = self.send(name, outgoing).await?;
        match proxy::take(answer, upgrade)? {
            Answer::Switched(head, joint) => {
                self.relay(joint, turn);
                Ok(head)
            }
            Answer::Whole(answer) => {
                self.idle.keep(connection);
                Ok(answer.map(|body| Body::new(Answered { body, _turn: turn })))
            }
        }
    }

    fn prepare(&self, request: Request<Incoming>) -> Result<Outgoing, Trouble> {
        let origin = Origin {
            visitor: self.peer.0.ip(),
            transport: self.transport,
            host: host_of(&request).ok_or(Trouble::Malformed)?,
        };
        let target = target(request.uri()).ok_or(Trouble::Malformed)?;
        let mut outgoing = Outgoing::new(request, target);
        headers::say_whence(&mut outgoing.parts.headers, &origin);
        Ok(outgoing)
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
            match proxy::send(&mut connection.requests, again, &progress).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(NoAnswer::Broken) => {
                    debug!("device closed the connection; a new one is made");
                }
                Err(NoAnswer::Late) => return Err(Trouble::Late),
            }
        }
        let mut connection = self.connect(name).await?;
        let request = Request::from_parts(parts, body);
        let answer = proxy::send(&mut connection.requests, request, &progress).await?;
        Ok((answer, connection))
    }

    fn relay(&self, joint: Joint, turn: Turn<ForwardId>) {
        let shared = &self.names.0;
        let stop = shared.parts.stop.clone();
        shared.tasks.spawn(async move {
            tokio::select! {
                () = joint.run() => {}
                () = stop.cancelled() => {}
            }
            drop(turn);
        });
    }
}

impl From<NoAnswer> for Trouble {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Broken => Self::Broken,
            NoAnswer::Late => Self::Late,
        }
    }
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
