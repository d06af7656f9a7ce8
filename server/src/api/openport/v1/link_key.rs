//! `POST /linkKey`: registers a key to an account (openport contract section 7).

use axum::extract::{Extension, Request, State};
use axum::response::Response;

use super::BAD_BINDINGS_PER_MINUTE;
use super::answer::{self, Refusal};
use super::form::Form;
use super::wish::{BadRequest, ClientFacts, public_key};
use crate::api::{Api, Peer};
use crate::rate_limit::address_key;
use crate::registry::model::{Account, PublicKey};

/// Why a key was not registered.
enum Failure {
    /// The token is unknown, or that of a suspended account.
    Token,
    /// Anything that a request for a port may be refused for as well.
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Moves a key into the account of the token.
pub(super) async fn link_key(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match serve(&api, peer, request).await {
        Ok(()) => answer::ok(),
        Err(Failure::Token) => {
            tracing::info!(peer = %peer.0.ip(), "wrong key binding token");
            answer::link_key_error("Invalid key binding token")
        }
        Err(Failure::Refused(Refusal::Bad(BadRequest::KeyMissing))) => {
            Refusal::Bad(BadRequest::KeyInvalid).into_link_key_response()
        }
        Err(Failure::Refused(refusal)) => refusal.into_link_key_response(),
    }
}

async fn serve(api: &Api, peer: Peer, request: Request) -> Result<(), Failure> {
    api.count_client(peer)?;
    let form = Form::of(request).await?;
    let account = account(api, peer, &form).await?;
    let key = public_key(&form)?;
    let name = form.get("key_name").map(str::to_owned);
    let linked = api
        .registry()
        .link_key(account.id, key.clone(), name)
        .await?;
    tracing::info!(device = %linked.device, account = account.id.0, "key registered");
    // Whoever had the device as a host in its old account is out.
    api.0.parts.hosts.changed();
    note(api, &key, &ClientFacts::parse(&form)).await
}

/// The account of the token. One that is wrong counts against the address, and while there were too many, none is
/// looked at.
async fn account(api: &Api, peer: Peer, form: &Form) -> Result<Account, Failure> {
    let address = address_key(peer.0.ip());
    let bad = &api.0.client_limits.bad_bindings;
    bad.take(&address, BAD_BINDINGS_PER_MINUTE)?;
    let token = form.get("key_binding_token").ok_or(Failure::Token)?;
    let account = api.registry().account_by_binding_token(token).await?;
    let account = account
        .filter(|account| !account.suspended)
        .ok_or(Failure::Token)?;
    bad.give_back(&address, BAD_BINDINGS_PER_MINUTE);
    Ok(account)
}

async fn note(api: &Api, key: &PublicKey, facts: &ClientFacts) -> Result<(), Failure> {
    // It may have been deleted again this very moment.
    if let Some(device) = api.registry().device_by_key(key).await? {
        let (version, platform) = (facts.version.as_deref(), facts.platform.as_deref());
        api.registry()
            .note_client(&device, version, platform)
            .await?;
    }
    Ok(())
}
