//! The actions on a device that is assigned to a user (control contract section 9, device host).

use std::time::Duration;

use serde_json::json;

use super::{Failure, Happening, Hosts};
use crate::random;
use crate::registry::error::ForwardError;
use crate::registry::model::{Device, DeviceId, Host, HostStatus, Task, TaskKind, Wanted};
use crate::tunnels::Cut;
use moorline_protocol::Secret;

/// How long a start waits for the tunnel.
const TUNNEL_PATIENCE: Duration = Duration::from_secs(30);

impl Hosts {
    /// Does `task`, and tells how the host is then.
    pub(super) async fn act_on_device(
        &self,
        task: &Task,
        host: &Host,
    ) -> Result<HostStatus, Failure> {
        let device = match host.device {
            Some(id) => self.registry.device(id).await?,
            None => None,
        };
        // One that has moved is nobody's host here any more.
        let device = device.filter(|device| device.account == host.account);
        let device =
            device.ok_or_else(|| Failure::new("host_action_failed", "the device is gone"))?;
        match task.kind {
            TaskKind::CreateHost | TaskKind::PrepareHost => Ok(self.standing(device.id)),
            TaskKind::StartHost => self.start(task, host, &device).await,
            TaskKind::StopHost => self.stop(&device).await,
            TaskKind::RebuildHost => {
                self.renew(host, &device).await?;
                self.start(task, host, &device).await
            }
        }
    }

    /// Running if its tunnel is up, else stopped.
    fn standing(&self, device: DeviceId) -> HostStatus {
        if self
            .tunnels
            .status(device)
            .is_some_and(|tunnel| tunnel.open)
        {
            HostStatus::Running
        } else {
            HostStatus::Stopped
        }
    }

    async fn start(
        &self,
        task: &Task,
        host: &Host,
        device: &Device,
    ) -> Result<HostStatus, Failure> {
        let checking = format!("waiting for the tunnel of {}", device.name);
        let seen = || json!({ "container": "", "device": device.name });
        let happening = Happening::info("runtime.validating", checking).with(seen());
        self.note(task, host, happening).await;
        self.registry.set_wanted(device, Wanted::Open).await?;
        self.tunnels.wanted_open(device.id);
        if !self.tunnels.wait_open(device.id, TUNNEL_PATIENCE).await {
            let message = format!(
                "device {} did not bring its tunnel within {} s",
                device.name,
                TUNNEL_PATIENCE.as_secs()
            );
            let happening = Happening::error("ssh.failed", message.clone()).with(seen());
            self.note(task, host, happening).await;
            return Err(Failure::new("ssh_not_ready", message));
        }
        let ready = format!("the tunnel of {} is up", device.name);
        self.note(task, host, Happening::info("ssh.ready", ready).with(seen()))
            .await;
        let place = &self.place;
        let way = format!(
            "{} is reached by ssh {}@{} -p {}",
            device.name, host.short_id, place.ssh_host, place.ssh_port
        );
        let happening = Happening::info("ssh.handoff.ready", way).with(json!({
            "ssh_host": place.ssh_host,
            "ssh_port": place.ssh_port,
            "ssh_user": host.short_id,
        }));
        self.note(task, host, happening).await;
        Ok(HostStatus::Running)
    }

    async fn stop(&self, device: &Device) -> Result<HostStatus, Failure> {
        self.registry.set_wanted(device, Wanted::Closed).await?;
        if self.tunnels.cut(device.id, Cut::Closed).await {
            Ok(HostStatus::Stopped)
        } else {
            let message = format!("the tunnel of {} did not close in time", device.name);
            Err(Failure::new("host_action_failed", message))
        }
    }

    /// New public ports, links and entry password.
    async fn renew(&self, host: &Host, device: &Device) -> Result<(), Failure> {
        let password = Secret::new(random::entry_password());
        let hash = self.passwords.hash(password).await.map_err(|error| {
            tracing::warn!(%error, "hash entry password");
            Failure::new("host_action_failed", "no new entry password could be made")
        })?;
        self.registry.set_entry_password(host.id, hash).await?;
        let renewed = self.registry.renew_forwards(device).await;
        renewed.map_err(|error| match error {
            ForwardError::Registry(error) => error.into(),
            other => Failure::new("host_action_failed", format!("new public ports: {other}")),
        })?;
        // An agent asks for its script again; any other client sees its old ports refused.
        if self.tunnels.cut(device.id, Cut::Renewed).await {
            Ok(())
        } else {
            let message = format!("the old tunnel of {} did not end in time", device.name);
            Err(Failure::new("host_action_failed", message))
        }
    }
}
