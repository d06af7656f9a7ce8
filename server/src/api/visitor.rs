//! Where a request really came from when proxies stand in front of the server (openport contract section 8).

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::{Api, Peer};

/// Puts the visitor's address in place of that of a trusted proxy, for every surface: limits by address and the links
/// of sessions see visitors, not proxies.
pub(super) async fn behind_proxies(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(Peer(peer)) = request.extensions().get().copied() {
        let proxies = &api.0.parts.clients.trusted_proxies;
        let visitor = proxies.visitor(peer.ip(), request.headers());
        let visitor = Peer(SocketAddr::new(visitor, peer.port()));
        request.extensions_mut().insert(visitor);
    }
    next.run(request).await
}
