//! The work on users' hosts: tasks are taken from the registry, done, and their ends written down (control contract
//! section 9).
//!
//! | module | holds |
//! |---|---|
//! | [`device`] | the actions on a device that is assigned to a user |
//! | [`container`] | what is said of containers on a node without an engine |
//! | [`reconcile`] | the look every minute at what has become otherwise by itself (section 15) |
//!
//! *Invariant:* tasks of one host run one after the other, in the order they were queued; the registry sees to that.
//! *Invariant:* every action may be done twice. What ran when the server went down is done anew.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::live_sessions::LiveSessions;
use crate::passwords::Passwords;
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::{Host, HostKind, NewEvent, Task, TaskEnd};
use crate::tunnels::Tunnels;

mod container;
mod device;
mod reconcile;

/// Tasks that run at once; each waits most of the time.
const AT_ONCE: usize = 64;
/// How often the registry is asked for tasks that another process queued.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is tried to write down the end of a task, a second apart; then it is stale anyway.
const END_TRIES: usize = 600;

/// What the work on hosts needs. Cheap to clone.
#[derive(Clone)]
pub struct Hosts {
    registry: Registry,
    tunnels: Tunnels,
    passwords: Passwords,
    sessions: LiveSessions,
    place: Arc<Place>,
    queued: Arc<Notify>,
}

/// This node, as hosts are told of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Region.
    pub node: String,
    /// Where users reach the SSH proxy.
    pub ssh_host: String,
    /// Its port.
    pub ssh_port: u16,
}

/// Why an action was not done: a code of the control contract section 9, and words.
#[derive(Debug)]
struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        warn!(%error, "work on host");
        Self::new("host_action_failed", "the registry does not answer")
    }
}

impl Hosts {
    /// Work on the hosts of the node at `place`.
    #[must_use]
    pub fn new(
        registry: Registry,
        tunnels: Tunnels,
        passwords: Passwords,
        sessions: LiveSessions,
        place: Place,
    ) -> Self {
        Self {
            registry,
            tunnels,
            passwords,
            sessions,
            place: Arc::new(place),
            queued: Arc::default(),
        }
    }

    /// Says that a task was queued, so that nobody waits for the next look.
    pub fn task_queued(&self) {
        self.queued.notify_one();
    }

    /// Says that a user or a host was changed: logins that hang on it are judged at once.
    pub fn changed(&self) {
        self.sessions.look();
    }

    /// The logins that last.
    #[must_use]
    pub const fn sessions(&self) -> &LiveSessions {
        &self.sessions
    }

    /// Does tasks until `stop`. What runs then is left, and done anew at the next start.
    pub async fn run(self, stop: CancellationToken) {
        let reconcile = reconcile::run(self.clone(), stop.clone());
        tokio::join!(self.work(stop), reconcile);
    }

    async fn work(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = JoinSet::new();
        let mut released = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.queued.notified() => {}
                Some(_) = running.join_next() => {}
                () = stop.cancelled() => return,
            }
            while running.try_join_next().is_some() {}
            if !released {
                match self.registry.release_tasks(&self.place.node).await {
                    Ok(_) => released = true,
                    Err(error) => {
                        warn!(%error, "take up the tasks that were left");
                        continue;
                    }
                }
            }
            let room = AT_ONCE.saturating_sub(running.len());
            match self.registry.claim_tasks(&self.place.node, room).await {
                Ok(tasks) => {
                    for task in tasks {
                        running.spawn(self.clone().perform(task));
                    }
                }
                Err(error) => warn!(%error, "look for tasks"),
            }
        }
    }

    async fn perform(self, task: Task) {
        let end = match self.act(&task).await {
            Ok(end) => end,
            Err(Failure { code, message }) => TaskEnd::Failed { code, message },
        };
        let kind = task.kind.as_str();
        match &end {
            TaskEnd::Done(_) => info!(task = %task.id, kind, "task succeeded"),
            TaskEnd::Failed { code, message } => {
                info!(task = %task.id, kind, code, message, "task failed");
            }
        }
        self.write_end(&task, end).await;
        self.changed();
        self.task_queued();
    }

    /// Writes down how a task ended, also when the registry does not answer for a while: no other task of its host
    /// begins before. A stale one is failed by and by, should this not get through.
    async fn write_end(&self, task: &Task, end: TaskEnd) {
        for _ in 0..END_TRIES {
            match self.registry.end_task(task, end.clone()).await {
                Ok(_) => return,
                Err(error) => warn!(%error, task = %task.id, "write down end of task"),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn act(&self, task: &Task) -> Result<TaskEnd, Failure> {
        let host = match task.host {
            Some(id) => self.registry.host(id).await?,
            None => None,
        };
        let host = host.ok_or_else(|| Failure::new("host_action_failed", "the host is gone"))?;
        let status = match host.kind {
            HostKind::Device => self.act_on_device(task, &host).await?,
            HostKind::Container => self.act_on_container(task, &host).await?,
        };
        Ok(TaskEnd::Done(status))
    }

    /// Writes an event of a task. What was done stays done when that fails.
    async fn note(&self, task: &Task, host: &Host, happening: Happening) {
        let mut metadata = happening.metadata;
        if let Some(object) = metadata.as_object_mut() {
            object.insert("host_id".into(), host.id.to_string().into());
        }
        let event = NewEvent {
            account: Some(host.account),
            device: host.device,
            user: Some(host.user),
            host: Some(host.id),
            task: Some(task.id),
            level: happening.level,
            kind: happening.kind,
            message: happening.message,
            metadata,
        };
        if let Err(error) = self.registry.record_event(event).await {
            warn!(%error, kind = happening.kind, "record event");
        }
    }
}

/// Something that happened while a task ran.
struct Happening {
    level: &'static str,
    kind: &'static str,
    message: String,
    metadata: Value,
}

impl Happening {
    fn info(kind: &'static str, message: String) -> Self {
        Self {
            level: "info",
            kind,
            message,
            metadata: json!({}),
        }
    }

    fn error(kind: &'static str, message: String) -> Self {
        Self {
            level: "error",
            ..Self::info(kind, message)
        }
    }

    fn with(mut self, metadata: Value) -> Self {
        self.metadata = metadata;
        self
    }
}
