//! What a device's connection may ask for beside its forwards: session channels, which stock clients hold open, and
//! forward tunnels to other devices of its account (openport contract section 10).
//!
//! A request that is not listed here is refused.

use std::collections::VecDeque;
use std::sync::Arc;

use moorline_protocol::control;
use russh::server::{ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::Shared;
use super::backlog::{Room, backlog, beside};
use super::device::DeviceLink;
use super::login;
use super::relay;
use crate::live_sessions::{LiveSession, Passage};
use crate::registry::model::{Device, DeviceId, Forward};
use crate::tunnels::{ForwardTarget, Hold, OpenError, Stream, TargetPort, Way};

/// Session channels that one connection holds open; the oldest of more is closed.
const MAX_SESSIONS: usize = 16;
/// Connections through the forward tunnels of one connection at once; what comes beyond is refused.
const MAX_STREAMS: usize = 256;
/// Exit status of a session that does nothing here.
const NOT_SERVED: u32 = 1;
/// What somebody who asks for a shell reads.
const NO_SHELL: &str = "There is no shell here: this connection carries forwards only.\r\n";
/// Where a forward tunnel may say it leads to: from the client's side it is this node.
const OWN_HOSTS: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// A device that is logged in, as `open` or by its id.
pub(super) struct Client {
    link: Arc<DeviceLink>,
    hold: Hold,
    sessions: Sessions,
    streams: Arc<Semaphore>,
    waiting: Room,
}

impl Client {
    pub(super) fn new(link: Arc<DeviceLink>, hold: Hold) -> Self {
        Self {
            link,
            hold,
            sessions: Sessions::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            waiting: Room::new(),
        }
    }

    pub(super) const fn link(&self) -> &Arc<DeviceLink> {
        &self.link
    }

    /// A `cancel-tcpip-forward`. Shells are held for the sake of the forwards only.
    pub(super) fn cancel_forward(
        &mut self,
        port: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.link.cancel_forward(port);
        if !self.link.has_forward() {
            for shell in self.sessions.take_shells() {
                end(shell, session)?;
            }
        }
        Ok(())
    }

    pub(super) async fn open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let oldest = self.sessions.open(channel);
        reply.accept().await;
        match oldest {
            Some(oldest) => session.close(oldest),
            None => Ok(()),
        }
    }

    /// The client closed a channel.
    pub(super) fn closed(&mut self, channel: ChannelId) {
        self.sessions.forget(channel);
    }

    /// Our agent's control channel, for a device that is here as a whole; nothing else.
    pub(super) fn subsystem(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let agents = name == control::SUBSYSTEM && self.hold == Hold::Device;
        match agents.then(|| self.sessions.take(channel)).flatten() {
            Some(control) => {
                session.channel_success(channel)?;
                self.link.clone().control(control);
                Ok(())
            }
            None => session.channel_failure(channel),
        }
    }

    /// A session token of this key is a sign of life, and its channel stays open, silent.
    pub(super) async fn exec(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let token = std::str::from_utf8(command).unwrap_or_default().trim();
        let held = self.link.knows_token(token).await && self.sessions.hold(channel, Held::Token);
        session.channel_success(channel)?;
        if !held {
            self.sessions.forget(channel);
            end(channel, session)?;
        }
        Ok(())
    }

    /// A shell stays open, silent, beside a forward: so a client that was not told `-N` keeps its tunnel.
    pub(super) fn shell(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let held = self.link.has_forward() && self.sessions.hold(channel, Held::Shell);
        session.channel_success(channel)?;
        if !held {
            self.sessions.forget(channel);
            session.data(channel, NO_SHELL)?;
            end(channel, session)?;
        }
        Ok(())
    }

    /// Serves `direct-tcpip`: a forward tunnel.
    pub(super) async fn open_forward_tunnel(
        &self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        host: &str,
        port: u32,
    ) {
        let prohibited = ChannelOpenFailure::AdministrativelyProhibited;
        let own = OWN_HOSTS.iter().any(|own| host.eq_ignore_ascii_case(own));
        let Some(port) = u16::try_from(port).ok().filter(|_| own) else {
            reply.reject(prohibited).await;
            return;
        };
        let Ok(permit) = self.streams.clone().try_acquire_owned() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return;
        };
        let (link, waiting) = (self.link.clone(), self.waiting.clone());
        self.link.spawn(async move {
            let _permit = permit;
            let (device, forward) = match link.reachable(port).await {
                Some(found) => found,
                None => {
                    info!(device = %link.name(), port, "forward tunnel refused");
                    reply.reject(prohibited).await;
                    return;
                }
            };
            match link.open_stream(device, &forward).await {
                Ok(stream) => {
                    let passage = Passage {
                        caller: link.device(),
                        target: device,
                    };
                    let Some(live) = link.hold_on_to(passage).await else {
                        reply.reject(prohibited).await;
                        return;
                    };
                    reply.accept().await;
                    let through = (stream, waiting);
                    link.relay(channel, through, &forward, (passage, live))
                        .await;
                }
                Err(OpenError::RecordingDemanded) => reply.reject(prohibited).await,
                Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });
    }
}

impl DeviceLink {
    /// Whether `token` belongs to this device now.
    async fn knows_token(&self, token: &str) -> bool {
        let registry = &self.shared().registry;
        match registry.device(self.device()).await {
            Ok(device) => device.is_some_and(|device| registry.is_token_of_device(&device, token)),
            Err(error) => {
                warn!(%error, "look up session token");
                false
            }
        }
    }

    /// The session on that public port of this node, if this device may reach it by a forward tunnel.
    async fn reachable(&self, port: u16) -> Option<(DeviceId, Forward)> {
        let shared = self.shared();
        let look = async {
            let caller = shared.registry.device(self.device()).await?;
            let found = shared
                .registry
                .session_at(&shared.config.node, port)
                .await?;
            Ok::<_, crate::registry::error::RegistryError>((caller, found))
        };
        let (caller, found) = look
            .await
            .inspect_err(|error| warn!(%error, "look up port of forward tunnel"))
            .ok()?;
        let allowed = |caller: Device, device: &Device| {
            let active = login::judge_state(caller.state).is_ok();
            active && self.is_by_key_of(&caller) && device.reached_by(&caller)
        };
        let (device, forward) = found?;
        allowed(caller?, &device).then_some((device.id, forward))
    }

    async fn open_stream(&self, device: DeviceId, forward: &Forward) -> Result<Stream, OpenError> {
        let target = ForwardTarget {
            port: TargetPort::Forward(forward.id),
            originator: self.peer(),
            way: Way::ForwardTunnel,
        };
        let opened = self.shared().tunnels.open_stream(device, &target).await;
        opened.inspect_err(|error| debug!(port = forward.public_port, %error, "port not reached"))
    }

    /// Binds a stream to both devices as they were found, if they still are.
    async fn hold_on_to(&self, passage: Passage) -> Option<LiveSession> {
        let Shared { live, registry, .. } = &**self.shared();
        let held = live.register_passage(passage);
        match live.judge(registry, &held).await {
            Ok(None) => Some(held),
            Ok(Some(reason)) => {
                info!(device = %self.name(), reason, "forward tunnel refused");
                None
            }
            Err(error) => {
                warn!(%error, "look up devices of forward tunnel once more");
                None
            }
        }
    }

    /// Carries until either side ends, or one of the two devices leaves the account of the other.
    async fn relay(
        &self,
        channel: Channel<Msg>,
        (stream, waiting): (Stream, Room),
        forward: &Forward,
        (passage, live): (Passage, LiveSession),
    ) {
        let traffic = self.shared().ports.traffic();
        let counter = traffic.counter(passage.target, forward.id);
        let (read, write) = channel.split();
        let (pump, backlog) = backlog(read, &waiting);
        let carry = async {
            tokio::select! {
                () = relay::carry(stream, backlog, &write, &*counter) => {}
                reason = live.ended() => {
                    info!(device = %self.name(), port = forward.public_port, reason, "forward tunnel cut");
                }
            }
            // The client may be gone already.
            write.close().await.unwrap_or_default();
        };
        beside(pump, carry).await;
    }
}

fn end(channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
    session.exit_status_request(channel, NOT_SERVED)?;
    session.eof(channel)?;
    session.close(channel)
}

/// What a session channel is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Token,
    Shell,
}

/// What an open session channel is.
enum State {
    /// Nothing was asked for on it yet. What comes in before that waits in the channel.
    Fresh(Channel<Msg>),
    /// Whatever comes in on it is dropped.
    Held(Held),
}

/// The session channels of one connection, oldest first.
#[derive(Default)]
struct Sessions {
    open: VecDeque<(ChannelId, State)>,
}

impl Sessions {
    /// Adds a channel; gives the one that has to go for it.
    fn open(&mut self, channel: Channel<Msg>) -> Option<ChannelId> {
        self.open.push_back((channel.id(), State::Fresh(channel)));
        if self.open.len() > MAX_SESSIONS {
            self.open.pop_front().map(|(oldest, _)| oldest)
        } else {
            None
        }
    }

    /// Takes a channel on which nothing was asked for yet.
    fn take(&mut self, id: ChannelId) -> Option<Channel<Msg>> {
        let index = self.open.iter().position(|(open, _)| *open == id)?;
        let (_, state) = self.open.get(index)?;
        if !matches!(state, State::Fresh(_)) {
            return None;
        }
        match self.open.remove(index)? {
            (_, State::Fresh(channel)) => Some(channel),
            (_, State::Held(_)) => None,
        }
    }

    /// Holds a channel; false when it is not open.
    fn hold(&mut self, id: ChannelId, held: Held) -> bool {
        let found = self.open.iter_mut().find(|(open, _)| *open == id);
        found.is_some_and(|(_, state)| {
            *state = State::Held(held);
            true
        })
    }

    fn forget(&mut self, id: ChannelId) {
        self.open.retain(|(open, _)| *open != id);
    }

    fn take_shells(&mut self) -> Vec<ChannelId> {
        let is_shell = |state: &State| matches!(state, State::Held(Held::Shell));
        let shells = self.open.iter().filter(|(_, state)| is_shell(state));
        let shells: Vec<_> = shells.map(|(id, _)| *id).collect();
        self.open.retain(|(_, state)| !is_shell(state));
        shells
    }
}
