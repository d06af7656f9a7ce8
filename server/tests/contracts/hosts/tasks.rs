//! Tasks: their order, their end, and how many wait.

use serde_json::{Value, json};

use crate::hosts::line::Line;
use crate::hosts::place::{
    act, device_host, ended, make, running_device_host, status, task, until,
};
use crate::world::{PASSWORD, World, refused, text};

pub(crate) async fn tasks_of_one_host_run_in_order(world: &World<'_>) {
    let (device, host) = device_host(world).await;
    // The first waits for a tunnel that is not there yet; the others wait for it.
    let start = act(world, &host, "start").await;
    until(world, &start, "running").await;
    let mut later = Vec::new();
    for action in ["stop", "start", "stop"] {
        later.push(act(world, &host, action).await);
    }
    // Another host does not wait for them.
    let other = make(world, json!({})).await;
    assert_eq!(ended(world, &other.task).await["status"], "succeeded");
    assert_eq!(task(world, &start).await["status"], "running");
    for waiting in &later {
        assert_eq!(task(world, waiting).await["status"], "pending");
    }
    let line = Line::of(world, &device).await;
    line.up().await;
    let mut ends = vec![ended(world, &start).await];
    ends.push(ended(world, &later[0]).await);
    // The stop has closed the tunnel of a client that does not hear of the next start.
    until(world, &later[1], "running").await;
    line.down().await;
    line.up().await;
    for waiting in &later[1..] {
        ends.push(ended(world, waiting).await);
    }
    let mut moments = Vec::new();
    for end in &ends {
        assert_eq!(end["status"], "succeeded", "{end}");
        moments.push(end["updated_at"].as_str().unwrap());
    }
    assert!(moments.is_sorted(), "{moments:?}");
    assert_eq!(status(world, &host).await, "stopped", "the last one counts");
    line.down().await;
}

pub(crate) async fn waiting_tasks_go_with_their_host(world: &World<'_>) {
    let (_, host) = device_host(world).await;
    let start = act(world, &host, "start").await;
    until(world, &start, "running").await;
    let stop = act(world, &host, "stop").await;
    assert_eq!(world.delete(&host.path()).await.status, 200);
    let canceled = task(world, &stop).await;
    assert_eq!(canceled["status"], "canceled");
    assert_eq!(canceled["host_id"], Value::Null, "the host is gone");
    assert_eq!(task(world, &start).await["status"], "running");

    // A host that goes with its user takes them along too.
    let (user, _) = world.new_user().await;
    let device = world.bed.device(&[]).await;
    let host = make(world, json!({"user_id": user, "device_id": device})).await;
    ended(world, &host.task).await;
    let start = act(world, &host, "start").await;
    until(world, &start, "running").await;
    let stop = act(world, &host, "stop").await;
    assert_eq!(
        world
            .delete(&format!("/v1/admin/users/{user}"))
            .await
            .status,
        204
    );
    assert_eq!(ended(world, &stop).await["status"], "canceled");
}

pub(crate) async fn a_queue_has_its_end(world: &World<'_>) {
    let (_, host) = device_host(world).await;
    let start = act(world, &host, "start").await;
    until(world, &start, "running").await;
    for _ in 0..32 {
        act(world, &host, "stop").await;
    }
    let path = format!("{}/stop", host.path());
    let full = world.post(&path, Value::Null).await;
    refused(&full, 500, "queue action failed");
    assert_eq!(world.delete(&host.path()).await.status, 200);
}

pub(crate) async fn users_leave_room_for_administrators(world: &World<'_>) {
    let (_, host) = device_host(world).await;
    let start = act(world, &host, "start").await;
    until(world, &start, "running").await;
    let path = format!("/v1/user/hosts/{}/rebuild", host.id);
    let token = &world.user.token;
    for _ in 0..16 {
        let queued = world.ask(token, "POST", &path, &Value::Null).await;
        assert_eq!(queued.status, 202, "{}", queued.body);
    }
    let full = world.ask(token, "POST", &path, &Value::Null).await;
    refused(&full, 500, "queue action failed");
    let body = json!({"username": world.user.user.username, "password": PASSWORD});
    let full = world.ask("", "POST", "/v1/bootstrap/sessions", &body).await;
    assert_eq!(
        (full.status, full.json()["error_code"].as_str()),
        (500, Some("start_failed"))
    );
    act(world, &host, "stop").await;
    assert_eq!(world.delete(&host.path()).await.status, 200);
}

pub(crate) async fn a_storm_ends_in_what_was_asked_last(world: &World<'_>) {
    let host = make(world, json!({})).await;
    let path = |action: &str| format!("{}/{action}", host.path());
    let mut tasks = Vec::new();
    for round in 0..10 {
        let actions = (0..20).map(|turn| ["start", "stop", "rebuild"][(round + turn) % 3]);
        let asked = actions.map(|action| {
            let path = path(action);
            async move { world.post(&path, Value::Null).await }
        });
        for reply in futures::future::join_all(asked).await {
            if reply.status == 202 {
                tasks.push(text(&reply.json(), "task_id"));
            } else {
                refused(&reply, 500, "queue action failed");
            }
        }
    }
    assert!(tasks.len() > 32, "{} were queued", tasks.len());
    // Starts of a container without an engine fail; a stop succeeds.
    let last = loop {
        let reply = world.post(&path("stop"), Value::Null).await;
        if reply.status == 202 {
            break text(&reply.json(), "task_id");
        }
        refused(&reply, 500, "queue action failed");
    };
    assert_eq!(ended(world, &last).await["status"], "succeeded");
    assert_eq!(status(world, &host).await, "stopped");
    for id in &tasks {
        let end = text(&task(world, id).await, "status");
        assert!(["succeeded", "failed"].contains(&end.as_str()), "{end}");
    }
    assert_eq!(world.delete(&host.path()).await.status, 200);
}

pub(crate) async fn a_host_whose_tunnel_is_gone_is_stopped(world: &World<'_>) {
    let (_, line, host) = running_device_host(world).await;
    line.down().await;
    let since = std::time::Instant::now();
    while status(world, &host).await == "running" {
        let waited = since.elapsed().as_secs();
        assert!(waited < 150, "it is still said to run after {waited} s");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    assert!(
        since.elapsed().as_secs() >= 50,
        "a device has a minute to come back"
    );
    assert_eq!(status(world, &host).await, "stopped");
    let drift = world.events("type=reconcile.host.drift").await;
    assert_eq!(drift.len(), 1);
    assert_eq!(drift[0]["level"], "warn");
    assert_eq!(
        drift[0]["metadata"],
        json!({"operator": "system", "db_status": "running", "actual_status": "stopped",
            "host_id": host.id})
    );
}
