//! An operator's connection: sessions on a device through the gateway, and `ssh -J` end to end.
//!
//! Every session has its own stream and its own login on the device, so that one whose reader is slow holds up
//! nobody but itself. Requests of a session are answered by [`super::connection`] before they are passed on: russh
//! remembers the wish for an answer of the last request only, so that a late answer would be lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use russh::client;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::backlog::{Backlog, backlog};
use super::ending::Ending;
use super::upstream::{self, Upstream};
use super::{Shared, login, relay};
use crate::registry::model::{Device, DeviceId, NewEvent, User};
use crate::tunnels::{ForwardTarget, OpenError, Stream, TargetPort};

/// Channels that one connection has open at once.
const MAX_CHANNELS: usize = 64;
/// How long the device may take to end a session that the operator closed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Exit status of a session that did not reach the device, as ssh itself would say it.
const UNREACHED: u32 = 255;
/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// A user who is logged in.
pub(super) struct Operator {
    login: Arc<OperatorLogin>,
    room: Arc<Semaphore>,
}

/// Who it is and what for.
struct OperatorLogin {
    shared: Arc<Shared>,
    user: User,
    device_name: String,
    peer: SocketAddr,
    handle: Handle,
}

impl Operator {
    pub(super) fn new(
        shared: Arc<Shared>,
        user: User,
        device_name: String,
        peer: SocketAddr,
        handle: Handle,
    ) -> Self {
        let login = Arc::new(OperatorLogin {
            shared,
            user,
            device_name,
            peer,
            handle,
        });
        Self {
            login,
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

    /// Serves `direct-tcpip` to a device by its name: `ssh -J`.
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
        self.login
            .shared
            .tasks
            .spawn(login.jump(channel, reply, host, port, permit));
    }
}

impl OperatorLogin {
    async fn session(self: Arc<Self>, channel: Channel<Msg>, _permit: OwnedSemaphorePermit) {
        let id = channel.id();
        let (read, write) = channel.split();
        let (pump, backlog) = backlog(read);
        let serve = async {
            match self.reach().await {
                Ok((device, upstream)) => {
                    self.record(&device, "device.session.opened").await;
                    self.relay(id, upstream, backlog, &write).await;
                    self.record(&device, "device.session.closed").await;
                }
                Err(reason) => {
                    info!(device = %self.device_name, user = %self.user.username, reason, "session refused");
                    let text = format!("Failed to connect to device: {reason}\r\n");
                    write
                        .extended_data_bytes(STDERR, text)
                        .await
                        .unwrap_or_default();
                    write.exit_status(UNREACHED).await.unwrap_or_default();
                    write.eof().await.unwrap_or_default();
                }
            }
            // The operator may be gone already.
            write.close().await.unwrap_or_default();
        };
        tokio::join!(pump, serve);
    }

    /// Finds the device, asks the policy, and logs in on it.
    async fn reach(&self) -> Result<(Device, Upstream), String> {
        let device = self.find(&self.device_name).await?;
        let stream = self.open(device.id, TargetPort::First).await?;
        let username = device
            .username
            .clone()
            .unwrap_or_else(|| self.user.username.clone());
        let key = self.shared.gateway_key.clone();
        let known = device.sshd_host_keys.clone();
        let upstream = upstream::log_in(stream, &username, key, known)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(key) = &upstream.new_host_key {
            let kept = self
                .shared
                .registry
                .set_sshd_host_keys(device.id, vec![key.clone()])
                .await;
            if let Err(error) = kept {
                warn!(%error, "keep host key of device");
            }
        }
        Ok((device, upstream))
    }

    async fn find(&self, name: &str) -> Result<Device, String> {
        let registry = &self.shared.registry;
        let found = match name.parse() {
            Ok(uuid) => registry.device(DeviceId(uuid)).await,
            Err(_) => registry.device_by_name(self.user.account, name).await,
        };
        let found = found.map_err(|error| {
            warn!(%error, "look up device");
            "registry does not answer".to_owned()
        })?;
        // The user may have been changed since the login.
        let user = registry.user(self.user.id).await.ok().flatten();
        let user = user.ok_or_else(|| login::Refusal::UserNotActive.reason().to_owned())?;
        let now = crate::registry::model::Timestamp::now();
        login::judge_user(&user, false, now)
            .and_then(|()| login::judge_reach(&user, found.as_ref()))
            .map_err(|refusal| format!("{}: {name}", refusal.reason()))?;
        found.ok_or_else(|| login::Refusal::UnknownDevice.reason().to_owned())
    }

    async fn open(&self, device: DeviceId, port: TargetPort) -> Result<Stream, String> {
        let target = ForwardTarget {
            port,
            originator: self.peer,
        };
        let opened = self.shared.tunnels.open_stream(device, &target).await;
        opened.map_err(|error| error.to_string())
    }

    async fn record(&self, device: &Device, kind: &'static str) {
        let event = NewEvent {
            account: Some(device.account),
            device: Some(device.id),
            user: Some(self.user.id),
            host: None,
            task: None,
            level: "info",
            kind,
            message: format!("{} by {} over SSH", device.name, self.user.username),
            metadata: serde_json::json!({ "peer": self.peer.ip().to_canonical().to_string() }),
        };
        if let Err(error) = self.shared.registry.record_event(event).await {
            warn!(%error, "record session");
        }
    }

    async fn relay(
        &self,
        id: ChannelId,
        upstream: Upstream,
        backlog: Backlog,
        write: &ChannelWriteHalf<Msg>,
    ) {
        let (channel, _connection) = upstream.split();
        let (up_read, up_write) = channel.split();
        let to_device = to_device(backlog, &up_write);
        let to_operator = self.to_operator(id, up_read, write);
        tokio::pin!(to_device, to_operator);
        tokio::select! {
            () = &mut to_operator => {}
            () = &mut to_device => {
                if timeout(END_TIMEOUT, to_operator).await.is_err() {
                    debug!("device did not end the session");
                }
            }
        }
    }

    async fn to_operator(
        &self,
        id: ChannelId,
        mut up_read: ChannelReadHalf,
        write: &ChannelWriteHalf<Msg>,
    ) {
        let mut ending = Ending::default();
        loop {
            let message = tokio::select! {
                message = up_read.wait() => message,
                () = ending.held_long_enough() => Some(ChannelMsg::Eof),
            };
            let Some(message) = message else { break };
            let sent = match message {
                ChannelMsg::Data { data } => write.data_bytes(data).await,
                ChannelMsg::ExtendedData { data, ext } => {
                    write.extended_data_bytes(ext, data).await
                }
                ChannelMsg::Eof if ending.may_pass() => write.eof().await,
                ChannelMsg::Eof => {
                    ending.hold();
                    Ok(())
                }
                ChannelMsg::ExitStatus { exit_status } => {
                    ending.has_status = true;
                    write.exit_status(exit_status).await
                }
                ChannelMsg::ExitSignal {
                    signal_name,
                    core_dumped,
                    error_message,
                    lang_tag,
                } => {
                    ending.has_status = true;
                    self.handle
                        .exit_signal_request(id, signal_name, core_dumped, error_message, lang_tag)
                        .await
                        .map_err(|()| russh::Error::SendError)
                }
                ChannelMsg::Failure => {
                    let text = "The device refused the request.\r\n";
                    write
                        .extended_data_bytes(STDERR, text)
                        .await
                        .unwrap_or_default();
                    write.exit_status(UNREACHED).await.unwrap_or_default();
                    return;
                }
                ChannelMsg::Close => break,
                _ => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
        if ending.is_held() {
            write.eof().await.unwrap_or_default();
        }
    }

    async fn jump(
        self: Arc<Self>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        host: String,
        port: u16,
        _permit: OwnedSemaphorePermit,
    ) {
        let (device, stream) = match self.jump_stream(&host, port).await {
            Ok(found) => found,
            Err(reason) => {
                info!(device = %host, port, user = %self.user.username, reason, "jump refused");
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
                return;
            }
        };
        reply.accept().await;
        self.record(&device, "device.jump.opened").await;
        let (read, write) = channel.split();
        let (pump, backlog) = backlog(read);
        let carry = async {
            relay::carry(stream, backlog, &write, &AtomicU64::new(0)).await;
            write.close().await.unwrap_or_default();
        };
        tokio::join!(pump, carry);
        self.record(&device, "device.jump.closed").await;
    }

    async fn jump_stream(&self, host: &str, port: u16) -> Result<(Device, Stream), String> {
        let device = self.find(&jump_name(host)).await?;
        let target = jump_target(&device, port).ok_or_else(|| OpenError::NoForward.to_string())?;
        let stream = self.open(device.id, target).await?;
        Ok((device, stream))
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

/// Operator to device, until the operator closes the channel.
async fn to_device(mut backlog: Backlog, up: &ChannelWriteHalf<client::Msg>) {
    while let Some(message) = backlog.next().await {
        let sent = match message {
            ChannelMsg::Data { data } => up.data_bytes(data).await,
            ChannelMsg::Eof => up.eof().await,
            ChannelMsg::RequestPty {
                term,
                col_width,
                row_height,
                pix_width,
                pix_height,
                terminal_modes,
                ..
            } => {
                up.request_pty(
                    false,
                    &term,
                    col_width,
                    row_height,
                    pix_width,
                    pix_height,
                    &terminal_modes,
                )
                .await
            }
            ChannelMsg::RequestShell { .. } => up.request_shell(true).await,
            ChannelMsg::Exec { command, .. } => up.exec(true, command).await,
            ChannelMsg::RequestSubsystem { name, .. } => up.request_subsystem(true, name).await,
            ChannelMsg::SetEnv {
                variable_name,
                variable_value,
                ..
            } => up.set_env(false, variable_name, variable_value).await,
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                pix_width,
                pix_height,
            } => {
                up.window_change(col_width, row_height, pix_width, pix_height)
                    .await
            }
            ChannelMsg::Signal { signal } => up.signal(signal).await,
            ChannelMsg::Close => break,
            _ => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
    up.close().await.unwrap_or_default();
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
