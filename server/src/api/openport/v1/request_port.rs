//! `POST /api/v1/request-port` (openport contract section 5).

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use moorline_protocol::operator::DeviceState;

use super::answer::{Granted, Refusal, json};
use super::form::Form;
use super::wish::{BadRequest, Direction, Identity, RequestPort};
use super::{ADDRESS_REQUESTS_PER_MINUTE, KEY_REQUESTS_PER_MINUTE};
use crate::api::{Api, Peer};
use crate::rate_limit::address_key;
use crate::registry::model::{Account, AccountId, Device, ForwardId, ForwardKind, Node, Wanted};
use crate::registry::{ClientIdentity, NewClient, Restart, Session, SessionWish};
use crate::tunnels::Cut;

/// The account of keys that nobody registered.
const ANONYMOUS: AccountId = AccountId(0);

/// Gives a client its port.
pub(super) async fn request_port(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match serve(&api, peer, request).await {
        Ok(granted) => json(StatusCode::OK, &granted),
        Err(refusal) => {
            tracing::debug!(peer = %peer.0.ip(), ?refusal, "request for a port refused");
            refusal.into_response()
        }
    }
}

async fn serve(api: &Api, peer: Peer, request: Request) -> Result<Granted, Refusal> {
    api.count_client(peer)?;
    let wish = RequestPort::parse(&Form::of(request).await?)?;
    let device = find_or_make(api, &wish).await?;
    let facts = &wish.client;
    api.registry()
        .note_client(&device, facts.version.as_deref(), facts.platform.as_deref())
        .await?;
    match wish.direction {
        Direction::Forward => {
            in_service(api, &device).await?;
            api.forward_tunnel(&device, &wish).await
        }
        Direction::Reverse(kind) => reverse(api, device, &wish, kind).await,
    }
}

impl Api {
    /// Counts a request against the address it comes from.
    pub(super) fn count_client(&self, peer: Peer) -> Result<(), Refusal> {
        let address = address_key(peer.0.ip());
        Ok(self
            .0
            .client_limits
            .addresses
            .take(&address, ADDRESS_REQUESTS_PER_MINUTE)?)
    }

    fn count_calls_of(&self, key: &str) -> Result<(), Refusal> {
        let keys = &self.0.client_limits.keys;
        Ok(keys.take(&key.to_owned(), KEY_REQUESTS_PER_MINUTE)?)
    }
}

/// The device that asks; one that was never seen is made, unless it asks for what it cannot have.
async fn find_or_make(api: &Api, wish: &RequestPort) -> Result<Device, Refusal> {
    match &wish.identity {
        Identity::Key(key) => {
            api.count_calls_of(&key.fingerprint)?;
            let known = api.registry().device_by_key(key).await?;
            let registered = known
                .as_ref()
                .is_some_and(|device| device.account != ANONYMOUS);
            if !registered && !api.0.parts.clients.allow_anonymous_keys {
                return Err(Refusal::NotRegistered);
            }
            match known {
                Some(device) => Ok(device),
                None if wish.direction == Direction::Forward => {
                    Err(Refusal::NoSession(wish.port.unwrap_or(0)))
                }
                None => {
                    let identity = ClientIdentity::Key(key.clone());
                    make(api, ANONYMOUS, identity, None, wish).await
                }
            }
        }
        Identity::Small { token, id } => {
            let account = api.registry().account_by_binding_token(token.expose());
            let account = account.await?.ok_or(BadRequest::PairInvalid)?;
            api.count_calls_of(&format!("{} {id}", account.id))?;
            account_in_service(&account)?;
            match api.registry().device_by_client_id(account.id, id).await? {
                Some(device) => Ok(device),
                None => {
                    let identity = ClientIdentity::Id(id.clone());
                    make(api, account.id, identity, Some(id.clone()), wish).await
                }
            }
        }
    }
}

async fn make(
    api: &Api,
    account: AccountId,
    identity: ClientIdentity,
    name: Option<String>,
    wish: &RequestPort,
) -> Result<Device, Refusal> {
    let new = NewClient {
        account,
        identity,
        name,
        server: wish.server.clone(),
    };
    let device = api.registry().make_client(new).await?;
    tracing::info!(device = %device.id, account = account.0, "device made by its client");
    Ok(device)
}

async fn in_service(api: &Api, device: &Device) -> Result<(), Refusal> {
    match device.state {
        DeviceState::Active => {}
        DeviceState::Blocked => return Err(Refusal::Blocked),
        DeviceState::Inactive => return Err(Refusal::Inactive),
    }
    if device.wanted == Wanted::Closed {
        return Err(Refusal::Disconnected);
    }
    let account = api.registry().account(device.account).await?;
    account.map_or(Err(Refusal::AccountInactive), |account| {
        account_in_service(&account)
    })
}

const fn account_in_service(account: &Account) -> Result<(), Refusal> {
    if account.suspended {
        Err(Refusal::AccountInactive)
    } else {
        Ok(())
    }
}

async fn reverse(
    api: &Api,
    device: Device,
    wish: &RequestPort,
    kind: ForwardKind,
) -> Result<Granted, Refusal> {
    let wanted = session_wish(api, &device, wish, kind);
    // A client whose session was killed shall stop, whatever else is the matter.
    let earlier = api.registry().earlier_session(&device.forwards, &wanted);
    if wish.restart == Restart::ByItself && earlier.is_some_and(|earlier| earlier.killed) {
        return Err(Refusal::Killed);
    }
    in_service(api, &device).await?;
    let session = api.registry().open_session(&wanted).await?;
    // What is up already follows at once; the tunnel that comes next brings the same with it.
    api.ports()
        .set_link_protection(session.forward.id, session.forward.link_protection);
    if let Some(old) = session.gave_way {
        api.ports().forget(old);
        if !api
            .tunnels()
            .cut_forward(device.id, old, Cut::Displaced)
            .await
        {
            tracing::warn!(device = %device.id, forward = old.0, "tunnel still there after cut");
        }
    }
    tracing::info!(
        device = %device.id,
        forward = session.forward.id.0,
        port = session.forward.public_port,
        "session given to client"
    );
    Ok(granted(api, &device, session))
}

fn session_wish(api: &Api, device: &Device, wish: &RequestPort, kind: ForwardKind) -> SessionWish {
    let open = api.tunnels().open_forwards();
    let in_use: Vec<ForwardId> = open
        .into_iter()
        .filter_map(|(of, forward)| (of == device.id).then_some(forward))
        .collect();
    SessionWish {
        device: device.id,
        device_port: wish.local_port,
        port: wish.port,
        token: wish.token.clone(),
        server: wish.server.clone(),
        kind,
        link_protection: wish.link_protection,
        restart: wish.restart,
        in_use,
    }
}

fn granted(api: &Api, device: &Device, session: Session) -> Granted {
    let Session {
        forward,
        token,
        node,
        ..
    } = session;
    let protected = device.protects(&forward);
    let link = api.link(&forward).filter(|_| protected);
    let mut message = "You are now connected.".to_owned();
    if let Some(link) = &link {
        message.push_str(&format!(
            "\nBefore connecting, the visitor opens {link} to let their IP address in for 24 hours."
        ));
    }
    Granted {
        session_token: token.into_exposed(),
        server_port: forward.public_port,
        session_id: forward.id.0,
        http_forward_address: node.http_name(&forward),
        open_port_for_ip_link: link,
        ..api.granted_on(&node, device, message)
    }
}

impl Api {
    /// What all answers of a node have in common.
    pub(super) fn granted_on(&self, node: &Node, device: &Device, message: String) -> Granted {
        let clients = &self.0.parts.clients;
        let own = node.public_host == self.identity().public_host;
        let fallback = clients.fallback_host.clone().filter(|_| own);
        Granted {
            session_token: String::new(),
            server_ip: node.public_host.clone(),
            server_port: 0,
            fallback_ssh_server_ip: fallback.unwrap_or_else(|| node.public_host.clone()),
            fallback_ssh_server_port: clients.fallback_port,
            message,
            account_id: device.account.0,
            key_id: device.number,
            session_end_time: None,
            session_max_bytes: -1,
            session_id: 0,
            http_forward_address: None,
            open_port_for_ip_link: None,
        }
    }
}
