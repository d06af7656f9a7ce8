//! A person's connection: sessions on a device through the gateway, and `ssh -J` end to end.
//!
//! | module | holds |
//! |---|---|
//! | [`reach`] | the device that is meant, whether it may be reached, and the way there |
//! | [`audit`] | who reached what, noted and recorded |
//!
//! Every session has its own stream and its own login on the device, so that one whose reader is slow holds up
//! nobody but itself. Requests of a session are answered by [`super::connection`] before they are passed on: russh
//! remembers the wish for an answer of the last request only, so that a late answer would be lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelOpenFailure};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::info;

use super::Shared;
use super::backlog::{Room, backlog, beside};
use super::relay::{self, Relay};
use crate::live_sessions::LiveSession;
use crate::registry::model::{Device, HostId, User};
use crate::tunnels::TargetPort;

mod audit;
mod reach;

use audit::WayIn;
use reach::Unreached;

/// Channels that one connection has open at once.
const MAX_CHANNELS: usize = 64;
/// What somebody reads whose session is cut because it is not recorded.
const NOW_RECORDED: &str = "Session ended: recording is required for this device now.";
/// How long somebody has to read why their session is cut.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// A user who is logged in.
pub(super) struct Operator {
    login: Arc<OperatorLogin>,
    room: Arc<Semaphore>,
}

/// What somebody logged in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// An operator: a device by its name or UUID, or nothing yet when the connection only carries `-J`.
    Device(String),
    /// A user's host (control contract section 13).
    Host(HostId),
}

/// Who it is and what for.
pub(super) struct OperatorLogin {
    pub(super) shared: Arc<Shared>,
    /// An operator, or the owner of the host.
    pub(super) user: User,
    pub(super) goal: Goal,
    pub(super) peer: SocketAddr,
    pub(super) handle: Handle,
    /// Ended when the login may not go on.
    pub(super) live: Arc<LiveSession>,
    /// For what waits on its channels.
    pub(super) waiting: Room,
}

impl Operator {
    pub(super) fn new(login: OperatorLogin) -> Self {
        Self {
            login: Arc::new(login),
            room: Arc::new(Semaphore::new(MAX_CHANNELS)),
        }
    }

    /// Whether one more channel may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.room.available_permits() > 0
    }

    /// Serves a session on the device that the user name asked for.
    pub(super) fn open_session(&self, channel: Channel<Msg>) {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            return;
        };
        let login = self.login.clone();
        self.login
            .shared
            .tasks
            .spawn(login.session(channel, permit));
    }

    /// Serves `direct-tcpip`: to a device by its name (`ssh -J`), or from a user's host.
    pub(super) fn open_jump(
        &self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        host: String,
        port: u16,
    ) {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            return;
        };
        let login = self.login.clone();
        let tasks = &self.login.shared.tasks;
        match self.login.goal {
            Goal::Device(_) => tasks.spawn(login.jump(channel, reply, host, port, permit)),
            Goal::Host(_) => tasks.spawn(login.from_host(channel, reply, host, port, permit)),
        };
    }
}

impl OperatorLogin {
    async fn session(self: Arc<Self>, channel: Channel<Msg>, _permit: OwnedSemaphorePermit) {
        let id = channel.id();
        let (read, write) = channel.split();
        let (pump, backlog) = backlog(read, &self.waiting);
        let serve = async {
            match Box::pin(self.reach_session()).await {
                Ok((target, upstream, audited)) => {
                    let (channel, connection) = upstream.split();
                    let relay = Relay {
                        id,
                        handle: &self.handle,
                        write: &write,
                        tap: &audited.tap,
                    };
                    let run = Box::pin(relay.run(channel, backlog));
                    let cut = audited.until_cut(run).await;
                    drop(connection);
                    let why = match cut {
                        Some(reason) => Some(format!("Session ended: {reason}.")),
                        None => self
                            .is_closed_to(&target, &audited)
                            .then(|| NOW_RECORDED.to_owned()),
                    };
                    if let Some(why) = why {
                        // They need not read it.
                        timeout(GOODBYE_TIMEOUT, relay::refuse(&write, &why))
                            .await
                            .unwrap_or_default();
                    }
                    self.end(&target, audited).await;
                }
                Err(Unreached { what, reason }) => {
                    info!(goal = ?self.goal, user = %self.user.username, reason, "session refused");
                    let text = format!("Failed to connect to {what}: {reason}");
                    relay::refuse(&write, &text).await;
                }
            }
            // The operator may be gone already.
            write.close().await.unwrap_or_default();
        };
        beside(pump, serve).await;
    }

    /// An operator's `direct-tcpip` to a device by its name.
    async fn jump(
        self: Arc<Self>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        host: String,
        port: u16,
        _permit: OwnedSemaphorePermit,
    ) {
        let (target, stream, audited) = match self.reach_jump(&jump_name(&host), port).await {
            Ok(found) => found,
            Err(Unreached { reason, .. }) => {
                info!(device = host, port, user = %self.user.username, reason, "jump refused");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
                return;
            }
        };
        reply.accept().await;
        let (read, write) = channel.split();
        let (pump, backlog) = backlog(read, &self.waiting);
        let carry = async {
            let carried = relay::carry(stream, backlog, &write, &audited.tap);
            audited.until_cut(carried).await;
            write.close().await.unwrap_or_default();
        };
        beside(pump, carry).await;
        self.end(&target, audited).await;
    }

    /// `direct-tcpip` as seen from a user's host, by its own SSH service.
    async fn from_host(
        self: Arc<Self>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        host: String,
        port: u16,
        _permit: OwnedSemaphorePermit,
    ) {
        let reached = Box::pin(self.reach_from_host(&host, port)).await;
        let (target, upstream, audited) = match reached {
            Ok(found) => found,
            Err((failure, reason)) => {
                info!(goal = ?self.goal, host, port, reason, "direct-tcpip refused");
                reply.reject(failure).await;
                return;
            }
        };
        reply.accept().await;
        let (read, write) = channel.split();
        let (pump, backlog) = backlog(read, &self.waiting);
        let carry = async {
            let (channel, _connection) = upstream.split();
            let joined = relay::join(channel, backlog, &write, &audited.tap);
            audited.until_cut(joined).await;
            write.close().await.unwrap_or_default();
        };
        beside(pump, carry).await;
        self.end(&target, audited).await;
    }
}

/// The device that `ssh -J` means by `host`. ssh reads a name of digits alone as a number, octal with its leading
/// zeros, and asks for the IPv4 address of that number; serial names without a prefix look like that.
fn jump_name(host: &str) -> String {
    match host.parse::<Ipv4Addr>() {
        Ok(address) if address.octets().first() == Some(&0) => {
            format!("{:06o}", u32::from(address))
        }
        _ => host.to_owned(),
    }
}

/// The forward that leads to `port` of the device. ssh asks for 22 when nobody says a port: that is the device's
/// sshd, wherever it listens.
fn jump_target(device: &Device, port: u16) -> Option<TargetPort> {
    if device
        .forwards
        .iter()
        .any(|forward| forward.device_port == port)
    {
        return Some(TargetPort::Device(port));
    }
    (port == 22).then_some(TargetPort::First)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_digits_survive_ssh() {
        for (host, name) in [
            ("0.0.0.1", "000001"),
            ("0.0.2.155", "001233"),
            ("000008", "000008"),
            ("cli000001", "cli000001"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(jump_name(host), name);
        }
    }
}
