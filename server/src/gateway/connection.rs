//! One SSH connection: `Unauthenticated -> Device | Operator`. A request that is not listed for a state is refused.
//!
//! *Invariant:* the callbacks carry no policy; they look things up and ask [`super::login`].
//!
//! *Invariant:* what they wait for is boxed. The session keeps room for the largest callback as long as it lives, and a
//! look-up takes several KiB for a moment.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use russh::keys::Algorithm;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Shared;
use super::backlog::Room;
use super::client::Client;
use super::device::DeviceLink;
use super::handshakes::Turn;
use super::host_login::{self, HostLogin};
use super::login::Login;
use super::operator::{Goal, Operator, OperatorLogin};
use super::socket::Life;
use crate::live_sessions::Hold as LoginHold;
use crate::presence;
use crate::registry::model::{Device, User};
use crate::tunnels::{Carrier as _, Hold};

mod authentication;
mod hosts;

use authentication::{parse_key, prompts, reject};
use hosts::Proof;

/// The handler of one connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    peer: SocketAddr,
    life: Arc<Life>,
    /// Given back when authenticated.
    handshake: Option<Turn>,
    accepted: Option<Accepted>,
    /// Failed logins under the name of a host.
    tries: u32,
    phase: Phase,
    ended: Arc<Ended>,
}

enum Accepted {
    Device(Box<Device>, Hold),
    Operator(Box<OperatorEntry>),
    Host(Box<HostLogin>),
}

/// An operator who may come in.
struct OperatorEntry {
    user: User,
    /// What the login hangs on.
    hold: LoginHold,
    /// A device, or the user's own name.
    name: String,
}

enum Phase {
    Unauthenticated,
    Device(Client),
    Operator(Operator),
}

/// What the task around the session needs of it.
#[derive(Default)]
pub(super) struct Ended {
    authenticated: CancellationToken,
    device: OnceLock<Arc<DeviceLink>>,
    gone: CancellationToken,
}

impl Ended {
    /// Cancelled once somebody is logged in.
    pub(super) fn authenticated(&self) -> CancellationToken {
        self.authenticated.clone()
    }

    /// Call it when the session is over.
    pub(super) async fn clean_up(&self) {
        self.gone.cancel();
        if let Some(link) = self.device.get() {
            link.gone().await;
        }
    }
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        peer: SocketAddr,
        life: Arc<Life>,
        handshake: Turn,
    ) -> (Self, Arc<Ended>) {
        let ended = Arc::new(Ended::default());
        let connection = Self {
            shared,
            peer,
            life,
            handshake: Some(handshake),
            accepted: None,
            tries: 0,
            phase: Phase::Unauthenticated,
            ended: ended.clone(),
        };
        (connection, ended)
    }

    fn device(&self) -> Option<&Arc<DeviceLink>> {
        match &self.phase {
            Phase::Device(client) => Some(client.link()),
            Phase::Unauthenticated | Phase::Operator(_) => None,
        }
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        if host_login::is_short_id(user) && self.shut_out(user) {
            return Ok(host_login::reject_for_good());
        }
        Ok(reject(user))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let key = parse_key(offer.public_key).filter(|_| !self.too_weak(offer.algorithm));
        let Some(key) = key else {
            return Ok(reject(user));
        };
        if host_login::is_short_id(user) {
            return Ok(Box::pin(self.host_key(user, &key, Proof::Offered)).await);
        }
        match Box::pin(self.judge_key(user, &key)).await {
            Ok(Ok(_)) => Ok(Auth::Accept),
            Ok(Err(refusal)) => Ok(Box::pin(self.conclude(user, Err(refusal))).await),
            Err(error) => {
                warn!(%error, "look up key");
                Ok(reject(user))
            }
        }
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let key = parse_key(key.public_key).filter(|_| !self.too_weak(key.algorithm));
        let Some(key) = key else {
            return Ok(reject(user));
        };
        if host_login::is_short_id(user) {
            return Ok(Box::pin(self.host_key(user, &key, Proof::Signed)).await);
        }
        match Box::pin(self.judge_key(user, &key)).await {
            Ok(judged) => Ok(Box::pin(self.conclude(user, judged)).await),
            Err(error) => {
                warn!(%error, "look up key");
                Ok(reject(user))
            }
        }
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        if host_login::is_short_id(user) {
            return Ok(Box::pin(self.host_password(user, password)).await);
        }
        let Login::Operator { username, name } = Login::parse(user) else {
            return Ok(reject(user));
        };
        let username = username.unwrap_or_else(|| name.clone());
        let judged = Box::pin(self.judge_password(&username, &name, password)).await;
        Ok(Box::pin(self.conclude(user, judged)).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        if host_login::is_short_id(user) {
            return Ok(host_login::reject());
        }
        let Login::Operator { username, name } = Login::parse(user) else {
            return Ok(reject(user));
        };
        let Some(response) = response else {
            return Ok(prompts(username.is_some()));
        };
        let mut answers = response.map(|answer| String::from_utf8_lossy(&answer).into_owned());
        let username = username.or_else(|| answers.next());
        let (Some(username), Some(password)) = (username, answers.next()) else {
            return Ok(reject(user));
        };
        drop(answers);
        let judged = Box::pin(self.judge_password(username.trim(), &name, &password)).await;
        Ok(Box::pin(self.conclude(user, judged)).await)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        self.handshake = None;
        self.ended.authenticated.cancel();
        match self.accepted.take() {
            Some(Accepted::Device(device, hold)) => {
                let client = String::from_utf8_lossy(session.remote_sshid()).into_owned();
                let link = DeviceLink::register(
                    self.shared.clone(),
                    &device,
                    self.peer,
                    session.handle(),
                    self.life.clone(),
                    client,
                    hold,
                );
                self.ended.device.get_or_init(|| link.clone());
                let Shared {
                    registry, tunnels, ..
                } = &*self.shared;
                Box::pin(presence::learn_recording(registry, tunnels, device.id)).await;
                if let Err(cut) = Box::pin(link.look_again()).await {
                    link.cut(cut);
                }
                self.phase = Phase::Device(Client::new(link, hold));
            }
            Some(Accepted::Operator(entry)) => {
                let OperatorEntry { user, hold, name } = *entry;
                info!(user = %user.username, device = name, "operator logged in");
                self.enter(user, Goal::Device(name), hold, session);
            }
            Some(Accepted::Host(login)) => {
                info!(user = %login.owner.username, host = %login.host.short_id, "logged in to host");
                let (goal, hold) = (Goal::Host(login.host.id), login.hold());
                self.enter(login.owner, goal, hold, session);
            }
            None => return Err(russh::Error::NotAuthenticated),
        }
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _session: &mut Session,
    ) -> Result<bool, Self::Error> {
        match self.device() {
            Some(link) => Ok(Box::pin(link.forward(address, *port)).await),
            None => Ok(false),
        }
    }

    async fn cancel_tcpip_forward(
        &mut self,
        _address: &str,
        port: u32,
        session: &mut Session,
    ) -> Result<bool, Self::Error> {
        let Phase::Device(client) = &mut self.phase else {
            return Ok(false);
        };
        client.cancel_forward(port, session)?;
        Ok(true)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match &mut self.phase {
            Phase::Device(client) => {
                return Box::pin(client.open_session(channel, reply, session)).await;
            }
            Phase::Operator(operator) if operator.has_room() => {
                reply.accept().await;
                operator.open_session(channel);
            }
            Phase::Operator(_) => {
                reply.reject(ChannelOpenFailure::ResourceShortage).await;
            }
            Phase::Unauthenticated => {
                reply
                    .reject(ChannelOpenFailure::AdministrativelyProhibited)
                    .await;
            }
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        match (&self.phase, u16::try_from(port)) {
            (Phase::Device(client), _) => {
                Box::pin(client.open_forward_tunnel(channel, reply, host, port)).await;
            }
            (Phase::Operator(operator), Ok(port)) if operator.has_room() => {
                operator.open_jump(channel, reply, host.to_owned(), port);
            }
            _ => {
                reply
                    .reject(ChannelOpenFailure::AdministrativelyProhibited)
                    .await
            }
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Phase::Device(client) = &mut self.phase {
            client.closed(channel);
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match &mut self.phase {
            Phase::Device(client) => client.subsystem(channel, name, session),
            // The session's own task passes it on; see there why it is answered here.
            Phase::Operator(_) => session.channel_success(channel),
            Phase::Unauthenticated => session.channel_failure(channel),
        }
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match &mut self.phase {
            Phase::Device(client) => client.shell(channel, session),
            Phase::Operator(_) | Phase::Unauthenticated => self.answer(channel, session),
        }
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match &mut self.phase {
            Phase::Device(client) => Box::pin(client.exec(channel, command, session)).await,
            Phase::Operator(_) | Phase::Unauthenticated => self.answer(channel, session),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.answer(channel, session)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.answer(channel, session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.answer(channel, session)
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        _signal: Sig,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.answer(channel, session)
    }
}

impl Connection {
    /// Somebody is logged in, for as long as what the login hangs on stays as it is.
    fn enter(&mut self, user: User, goal: Goal, hold: LoginHold, session: &Session) {
        let live = Arc::new(self.shared.live.register(hold));
        self.shared.tasks.spawn(hosts::cut_when_ended(
            live.clone(),
            session.handle(),
            self.life.clone(),
            self.ended.gone.clone(),
        ));
        self.phase = Phase::Operator(Operator::new(OperatorLogin {
            shared: self.shared.clone(),
            user,
            goal,
            peer: self.peer,
            handle: session.handle(),
            live,
            waiting: Room::new(),
        }));
    }

    /// Answers a request of a session at once: yes to an operator, whose session task passes it on, and to a device,
    /// where it means nothing.
    fn answer(&self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        match self.phase {
            Phase::Operator(_) | Phase::Device(_) => session.channel_success(channel),
            Phase::Unauthenticated => session.channel_failure(channel),
        }
    }

    /// Signatures with SHA-1 are taken only where the server was told so.
    fn too_weak(&self, algorithm: &Algorithm) -> bool {
        matches!(algorithm, Algorithm::Rsa { hash: None }) && !self.shared.config.legacy_ssh_rsa
    }
}
