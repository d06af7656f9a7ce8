//! Short words for what the stories do with hosts.

use std::time::Duration;

use moorline_server::registry::model::{Host, HostId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::hosts::line::Line;
use crate::http::Reply;
use crate::world::{World, text};

pub(crate) const HOSTS: &str = "/v1/admin/hosts";

/// A host as it was made.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) short_id: String,
    pub(crate) task: String,
    pub(crate) entry_password: String,
}

impl Made {
    pub(crate) fn path(&self) -> String {
        format!("{HOSTS}/{}", self.id)
    }

    pub(crate) fn host_id(&self) -> HostId {
        HostId(Uuid::try_parse(&self.id).unwrap())
    }

    /// As the registry keeps it.
    pub(crate) async fn kept(&self, world: &World<'_>) -> Host {
        let kept = world.bed.registry.host(self.host_id()).await;
        kept.unwrap().unwrap()
    }

    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.status, 202, "{}", reply.body);
        let json = reply.json();
        Self {
            id: text(&json["host"], "id"),
            short_id: text(&json, "short_id"),
            task: text(&json, "task_id"),
            entry_password: text(&json, "entry_password"),
        }
    }
}

/// Makes a host of the story's user, by the administrator.
pub(crate) async fn make(world: &World<'_>, mut wish: Value) -> Made {
    if wish.get("user_id").is_none() {
        wish["user_id"] = json!(world.user.user.id.to_string());
    }
    Made::of(&world.post(HOSTS, wish).await)
}

/// A device of the account, and the host of the story's user that it is.
pub(crate) async fn device_host(world: &World<'_>) -> (String, Made) {
    let device = world.bed.device(&[]).await;
    let made = make(world, json!({"device_id": device})).await;
    assert_eq!(ended(world, &made.task).await["status"], "succeeded");
    (device, made)
}

/// The same, running over its tunnel.
pub(crate) async fn running_device_host(world: &World<'_>) -> (String, Line, Made) {
    let (device, host) = device_host(world).await;
    let line = Line::of(world, &device).await;
    line.up().await;
    start(world, &host).await;
    (device, line, host)
}

/// Starts a host, which has to succeed.
pub(crate) async fn start(world: &World<'_>, host: &Made) {
    let started = ended(world, &act(world, host, "start").await).await;
    assert_eq!(started["status"], "succeeded", "{started}");
}

/// The task as the list shows it.
pub(crate) async fn task(world: &World<'_>, id: &str) -> Value {
    let reply = world.get("/v1/admin/tasks").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let tasks = reply.json()["tasks"].as_array().unwrap().clone();
    let found = tasks.into_iter().find(|task| task["task_id"] == id);
    found.unwrap_or_else(|| panic!("no task {id}"))
}

/// The task once it has ended.
pub(crate) async fn ended(world: &World<'_>, id: &str) -> Value {
    for _ in 0..2400 {
        let task = task(world, id).await;
        if !["pending", "running"].contains(&task["status"].as_str().unwrap()) {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("task {id} does not end");
}

/// Waits until the task has that status.
pub(crate) async fn until(world: &World<'_>, id: &str, status: &str) {
    for _ in 0..2400 {
        if task(world, id).await["status"] == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("task {id} does not become {status}");
}

/// Queues an action; its task.
pub(crate) async fn act(world: &World<'_>, host: &Made, action: &str) -> String {
    let path = format!("{}/{action}", host.path());
    let reply = world.post(&path, json!({"mode": "whatever"})).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let json = reply.json();
    assert_eq!(json["status"], "202 Accepted");
    text(&json, "task_id")
}

/// The host as the administrator sees it.
pub(crate) async fn shown(world: &World<'_>, host: &Made) -> Value {
    let reply = world.get(&host.path()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

pub(crate) async fn status(world: &World<'_>, host: &Made) -> String {
    text(&shown(world, host).await["host"], "status")
}
