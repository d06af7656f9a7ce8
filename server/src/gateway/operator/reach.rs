//! The device that is meant, whether it may be reached now, and the way there.

use moorline_protocol::operator::DeviceState;
use russh::ChannelOpenFailure;
use tracing::warn;

use super::audit::Audited;
use super::{Goal, OperatorLogin, WayIn, jump_target};
use crate::gateway::login::{self, Refusal};
use crate::gateway::upstream::{self, Connected, Upstream};
use crate::registry::error::RegistryError;
use crate::registry::model::{
    AccessPolicy, Device, DeviceId, Host, HostId, HostStatus, Timestamp, User,
};
use crate::tunnels::{ForwardTarget, OpenError, Recording, Stream, TargetPort, Way};

pub(super) const NO_ANSWER: &str = "registry does not answer";

/// What is reached, and what may be done with it.
pub(super) struct Target {
    pub(super) device: Device,
    /// The user's host that it is reached as.
    pub(super) host: Option<Host>,
    /// Login name on the device.
    pub(super) username: String,
    /// Its own, together with that of what else it is: a device is a user's host, too.
    pub(super) policy: AccessPolicy,
}

impl Target {
    /// How a session goes there.
    const fn session(&self) -> Way {
        if self.policy.recording_required {
            Way::RecordedSession
        } else {
            Way::Session
        }
    }
}

/// Why something was not reached: `device` or `container`, and words.
pub(super) struct Unreached {
    pub(super) what: &'static str,
    pub(super) reason: String,
}

impl Unreached {
    fn device(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self {
            what: "device",
            reason,
        }
    }
}

impl OperatorLogin {
    /// A session on what the user name asked for: found, judged, logged in, noted.
    pub(super) async fn reach_session(&self) -> Result<(Target, Upstream, Audited), Unreached> {
        let target = self.target().await?;
        let connected = self.log_in(&target, target.session()).await;
        let connected = connected.map_err(Unreached::device)?;
        let session = connected.session().await;
        let upstream = session.map_err(|error| Unreached::device(error.to_string()))?;
        let way = match self.goal {
            Goal::Device(_) => WayIn::Gateway,
            Goal::Host(_) => WayIn::Proxy,
        };
        let audited = self.begin(&target, way).await.map_err(Unreached::device)?;
        Ok((target, upstream, audited))
    }

    /// A stream to a port of the device called `name`, for an operator's own ssh.
    pub(super) async fn reach_jump(
        &self,
        name: &str,
        port: u16,
    ) -> Result<(Target, Stream, Audited), Unreached> {
        let target = self.device_target(name).await?;
        may_go_around(target.policy).map_err(Unreached::device)?;
        let way = Way::DirectTcpip;
        let leads_to = jump_target(&target.device, port)
            .ok_or_else(|| Unreached::device(OpenError::NoForward.to_string()))?;
        let stream = self.open(target.device.id, leads_to, way).await;
        let stream = stream.map_err(Unreached::device)?;
        let way = match leads_to {
            TargetPort::First => WayIn::Jump,
            TargetPort::Device(_) | TargetPort::Forward(_) => WayIn::DirectTcpip,
        };
        let audited = self.begin(&target, way).await.map_err(Unreached::device)?;
        Ok((target, stream, audited))
    }

    /// A connection from a user's host to `host`:`port`.
    pub(super) async fn reach_from_host(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(Target, Upstream, Audited), (ChannelOpenFailure, String)> {
        let refused = |reason: String| (ChannelOpenFailure::AdministrativelyProhibited, reason);
        let failed = |reason: String| (ChannelOpenFailure::ConnectFailed, reason);
        let found = self.target().await;
        let target = found.map_err(|unreached| failed(unreached.reason))?;
        may_go_around(target.policy).map_err(refused)?;
        let connected = self.log_in(&target, Way::DirectTcpip).await;
        let connected = connected.map_err(failed)?;
        let opened = connected.direct_tcpip(host, port, self.peer).await;
        let upstream = opened.map_err(|error| failed(error.to_string()))?;
        let begun = self.begin(&target, WayIn::DirectTcpip).await;
        Ok((target, upstream, begun.map_err(failed)?))
    }

    async fn target(&self) -> Result<Target, Unreached> {
        match &self.goal {
            Goal::Device(name) => self.device_target(name).await,
            Goal::Host(id) => self.host_target(*id).await,
        }
    }

    async fn device_target(&self, name: &str) -> Result<Target, Unreached> {
        let registry = &self.shared.registry;
        let found = match name.parse() {
            Ok(uuid) => registry.device(DeviceId(uuid)).await,
            Err(_) => registry.device_by_name(self.user.account, name).await,
        };
        let found = found.map_err(|error| unavailable(&error))?;
        let user = self.user_now().await?;
        login::judge_reach(&user, found.as_ref())
            .map_err(|refusal| Unreached::device(format!("{}: {name}", refusal.reason())))?;
        let device = found.ok_or_else(|| refused(Refusal::UnknownDevice))?;
        Ok(Target {
            username: device.username.clone().unwrap_or(user.username),
            policy: AccessPolicy {
                recording_required: self.is_recording_demanded(&device).await?,
                ..device.policy
            },
            host: None,
            device,
        })
    }

    async fn host_target(&self, id: HostId) -> Result<Target, Unreached> {
        let registry = &self.shared.registry;
        let host = registry.host(id).await;
        let host = host.map_err(|error| unavailable(&error))?;
        let owner = self.user_now().await?;
        // The host may have been given to somebody else, or stopped, since the login.
        let host = host
            .filter(|host| host.user == owner.id && host.status == HostStatus::Running)
            .ok_or_else(|| refused(Refusal::HostNotRunning))?;
        let Some(device) = host.device else {
            let node = &self.shared.config.node;
            let node = host.region.as_deref().unwrap_or(node);
            return Err(Unreached {
                what: "container",
                reason: format!("no container engine is configured on node {node}"),
            });
        };
        let device = registry.device(device).await;
        let device = device
            .map_err(|error| unavailable(&error))?
            .filter(|device| device.account == host.account)
            .ok_or_else(|| refused(Refusal::UnknownDevice))?;
        if device.state != DeviceState::Active {
            login::judge_state(device.state).map_err(refused)?;
        }
        Ok(Target {
            username: device.username.clone().unwrap_or(owner.username),
            policy: AccessPolicy {
                recording_required: self.is_recording_demanded(&device).await?,
                direct_tcpip_allowed: host.policy.direct_tcpip_allowed
                    && device.policy.direct_tcpip_allowed,
            },
            host: Some(host),
            device,
        })
    }

    async fn is_recording_demanded(&self, device: &Device) -> Result<bool, Unreached> {
        let demanded = self.shared.registry.recordings_demanded(&[device.id]).await;
        Ok(!demanded.map_err(|error| unavailable(&error))?.is_empty())
    }

    /// The user as they are now; they may have been changed since the login.
    async fn user_now(&self) -> Result<User, Unreached> {
        let user = self.shared.registry.user(self.user.id).await;
        let user = user
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| refused(Refusal::UserNotActive))?;
        let account = self.shared.registry.account(user.account).await;
        let account = account.map_err(|error| unavailable(&error))?;
        let suspended = account.is_none_or(|account| account.suspended);
        login::judge_user(&user, suspended, Timestamp::now()).map_err(refused)?;
        Ok(user)
    }

    /// Logs in on the device with the gateway's own key.
    async fn log_in(&self, target: &Target, way: Way) -> Result<Connected, String> {
        let device = &target.device;
        let stream = self.open(device.id, TargetPort::First, way).await?;
        let key = self.shared.gateway_key.clone();
        let known = device.sshd_host_keys.clone();
        let connected = upstream::log_in(stream, &target.username, key, known)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(key) = &connected.new_host_key {
            let kept = self
                .shared
                .registry
                .set_sshd_host_keys(device.id, vec![key.clone()])
                .await;
            if let Err(error) = kept {
                warn!(%error, "keep host key of device");
            }
        }
        Ok(connected)
    }

    async fn open(&self, device: DeviceId, port: TargetPort, way: Way) -> Result<Stream, String> {
        let target = ForwardTarget {
            port,
            originator: self.peer,
            way,
        };
        let opened = self.shared.tunnels.open_stream(device, &target).await;
        opened.map_err(|error| error.to_string())
    }
}

/// May somebody reach the device past the gateway's own sessions?
fn may_go_around(policy: AccessPolicy) -> Result<(), String> {
    let recording = Recording::by(policy.recording_required);
    let open = Way::DirectTcpip.may_pass(recording);
    open.map_err(|closed| closed.to_string())?;
    if policy.direct_tcpip_allowed {
        Ok(())
    } else {
        Err("the policy allows no direct connections".to_owned())
    }
}

fn unavailable(error: &RegistryError) -> Unreached {
    warn!(%error, "look up what is to be reached");
    Unreached::device(NO_ANSWER)
}

fn refused(refusal: Refusal) -> Unreached {
    Unreached::device(refusal.reason())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_that_is_demanded_closes_every_way_around_it() {
        let policy = |recording_required, direct_tcpip_allowed| AccessPolicy {
            recording_required,
            direct_tcpip_allowed,
        };
        assert_eq!(may_go_around(policy(false, true)), Ok(()));
        for closed in [
            policy(false, false),
            policy(true, true),
            policy(true, false),
        ] {
            assert!(may_go_around(closed).is_err(), "{closed:?}");
        }
    }
}
