//! The look every minute at what has become otherwise by itself: hosts whose device has no tunnel any more or has it
//! back, and tasks that nobody works on (control contract section 15).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Hosts;
use crate::registry::error::RegistryError;
use crate::registry::model::{HostId, HostStatus, HostToCheck, NewEvent, Task, Wanted};

/// Time between two looks at hosts and tasks.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often tunnels are looked at in between, to know since when one is gone and to see one return soon.
const TUNNELS_INTERVAL: Duration = Duration::from_secs(10);
/// A device without a tunnel for so long is not running.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// A task that nobody touched for so long has failed.
const STALE_AFTER: Duration = Duration::from_secs(600);

/// Looks until `stop`.
pub(super) async fn run(hosts: Hosts, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TUNNELS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = Gone::default();
    let mut last_tasks = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = hosts.follow_tunnels(&mut gone).await {
            warn!(%error, "look how hosts stand");
        }
        if last_tasks.elapsed() < INTERVAL {
            continue;
        }
        last_tasks = Instant::now();
        if let Err(error) = hosts.fail_stale().await {
            warn!(%error, "look for stale tasks");
        }
    }
}

/// Since when running hosts have had no tunnel.
#[derive(Debug, Default)]
struct Gone(HashMap<HostId, Instant>);

impl Gone {
    /// Whether a host that runs has had no tunnel for too long, as seen at `now`.
    fn too_long(&mut self, host: HostId, open: bool, now: Instant) -> bool {
        if open {
            self.0.remove(&host);
            return false;
        }
        let since = *self.0.entry(host).or_insert(now);
        now.saturating_duration_since(since) >= GONE_AFTER
    }

    /// Forgets hosts that are not among those that run.
    fn keep(&mut self, running: &HashSet<HostId>) {
        self.0.retain(|host, _| running.contains(host));
    }
}

impl Hosts {
    async fn follow_tunnels(&self, gone: &mut Gone) -> Result<(), RegistryError> {
        let hosts = self
            .registry
            .device_hosts_to_check(&self.place.node)
            .await?;
        let now = Instant::now();
        let mut running = HashSet::new();
        for host in &hosts {
            let tunnel = self.tunnels.status(host.device);
            let open = tunnel.is_some_and(|tunnel| tunnel.open);
            match host.status {
                HostStatus::Running => {
                    running.insert(host.id);
                    if gone.too_long(host.id, open, now) {
                        self.drifted(host).await?;
                    }
                }
                HostStatus::Stopped | HostStatus::Failed if open && host.wanted == Wanted::Open => {
                    let to = HostStatus::Running;
                    let corrected = self.registry.correct_host_status(host.id, host.status, to);
                    if corrected.await? {
                        info!(host = %host.id, "host runs again: its tunnel returned");
                    }
                }
                HostStatus::Stopped | HostStatus::Failed | HostStatus::Pending => {}
            }
        }
        gone.keep(&running);
        Ok(())
    }

    async fn drifted(&self, seen: &HostToCheck) -> Result<(), RegistryError> {
        let to = HostStatus::Stopped;
        let corrected = self.registry.correct_host_status(seen.id, seen.status, to);
        if !corrected.await? {
            return Ok(());
        }
        let Some(host) = self.registry.host(seen.id).await? else {
            return Ok(());
        };
        warn!(host = %host.short_id, "host does not run any more: its device has no tunnel");
        self.changed();
        self.registry
            .record_event(NewEvent {
                account: Some(host.account),
                device: host.device,
                user: Some(host.user),
                host: Some(host.id),
                task: None,
                level: "warn",
                kind: "reconcile.host.drift",
                message: format!(
                    "host {} is not running: its device has no tunnel",
                    host.short_id
                ),
                metadata: json!({
                    "operator": "system",
                    "db_status": seen.status.as_str(),
                    "actual_status": to.as_str(),
                    "host_id": host.id.to_string(),
                }),
            })
            .await
    }

    async fn fail_stale(&self) -> Result<(), RegistryError> {
        for task in self.registry.fail_stale_tasks(STALE_AFTER).await? {
            warn!(task = %task.id, kind = task.kind.as_str(), "task is stale");
            self.registry.record_event(stale_event(&task)).await?;
        }
        Ok(())
    }
}

fn stale_event(task: &Task) -> NewEvent {
    NewEvent {
        account: Some(task.account),
        device: None,
        user: None,
        host: task.host,
        task: Some(task.id),
        level: "warn",
        kind: "reconcile.task.stale",
        message: format!("task {} exceeded stale threshold", task.kind.as_str()),
        metadata: json!({
            "operator": "system",
            "task_id": task.id.to_string(),
            "kind": task.kind.as_str(),
            "old_status": task.status.as_str(),
            "threshold": format!("{}m", STALE_AFTER.as_secs() / 60),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_has_to_be_gone_for_a_minute_on_end() {
        let host = HostId(uuid::Uuid::from_u128(7));
        let mut gone = Gone::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert!(!gone.too_long(host, false, at(0)));
        assert!(!gone.too_long(host, false, at(59)));
        assert!(!gone.too_long(host, true, at(59)));
        assert!(!gone.too_long(host, false, at(60)));
        assert!(!gone.too_long(host, false, at(119)));
        assert!(gone.too_long(host, false, at(120)));
        gone.keep(&HashSet::new());
        assert!(!gone.too_long(host, false, at(121)));
    }
}
