//! What is said of containers: this node has no container engine, so that none can start.

use serde_json::json;

use super::{Failure, Happening, Hosts};
use crate::registry::model::{Host, HostStatus, Task, TaskKind};

impl Hosts {
    /// Does what can be done of `task`, and tells how the host is then.
    pub(super) async fn act_on_container(
        &self,
        task: &Task,
        host: &Host,
    ) -> Result<HostStatus, Failure> {
        match task.kind {
            // Without a binding there is nothing to start; the container is made when it starts.
            TaskKind::CreateHost if !self.is_bound(host).await? => Ok(HostStatus::Stopped),
            // No container is success.
            TaskKind::StopHost | TaskKind::PrepareHost => Ok(HostStatus::Stopped),
            TaskKind::StartHost | TaskKind::RebuildHost if !self.is_bound(host).await? => {
                let message = format!("no egress IP is bound to host {}", host.short_id);
                let happening = Happening::error("net.binding_missing", message.clone());
                self.note(task, host, happening.with(json!({}))).await;
                Err(Failure::new("egress_binding_missing", message))
            }
            TaskKind::CreateHost | TaskKind::StartHost | TaskKind::RebuildHost => {
                let node = host.region.as_deref().unwrap_or(&self.place.node);
                let message = format!("no container engine is configured on node {node}");
                Err(Failure::new("host_action_failed", message))
            }
        }
    }

    async fn is_bound(&self, host: &Host) -> Result<bool, Failure> {
        Ok(self.registry.is_bound(host.id).await?)
    }
}
