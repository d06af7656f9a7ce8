//! What becomes of the hosts of users whose time is over.

use moorline_server::registry::model::Timestamp;
use serde_json::json;

use crate::hosts::place::{running_device_host, status};
use crate::world::World;

pub(crate) async fn hosts_of_an_expired_user_are_stopped(world: &World<'_>) {
    let (_, line, host) = running_device_host(world).await;
    let registry = &world.bed.registry;
    let user = &world.user.user;
    let soon = Timestamp(Timestamp::now().0 - 1);
    registry
        .set_user_expiry(user.account, user.id, Some(soon))
        .await
        .unwrap();
    // As the scheduler does every minute.
    registry.expire_users(Timestamp::now()).await.unwrap();
    let mut stop = None;
    for _ in 0..1800 {
        let tasks = world.get("/v1/admin/tasks").await.json();
        let tasks = tasks["tasks"].as_array().unwrap().clone();
        stop = tasks
            .into_iter()
            .find(|task| task["requested_by"] == "system:expiry" && task["status"] == "succeeded");
        if stop.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let stop = stop.expect("a task that stops the host");
    assert_eq!(stop["kind"], "stop_host");
    assert_eq!(stop["host_id"], host.id.as_str());
    assert_eq!(status(world, &host).await, "stopped");
    let events = world.events("type=host.stop.expired").await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0]["metadata"],
        json!({"operator": "system", "user_id": user.id.to_string(), "host_id": host.id,
            "reason": "user expired"})
    );
    line.down().await;
}
