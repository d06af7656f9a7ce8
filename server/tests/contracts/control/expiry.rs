//! Section 15, Expiry.

use moorline_server::expiry::Expiry;
use moorline_server::registry::model::{Role, Timestamp};
use serde_json::{Value, json};

use crate::bed::past;
use crate::world::{PASSWORD, World, person, person_until, refused, text};

pub(crate) async fn time_that_is_over_is_noticed_once(world: &World<'_>) {
    let scheduler = Expiry::new(world.bed.registry.clone());
    let over = person_until(world.bed, world.bed.account, Role::User, Some(past())).await;
    let soon = person(world.bed, world.bed.account, Role::User).await;
    let path = format!("/v1/admin/users/{}", soon.user.id);
    let later = Timestamp(Timestamp::now().0 + 3_600_000_000);
    let body = json!({"expires_at": later.to_rfc3339()});
    assert_eq!(world.put(&format!("{path}/expiry"), body).await.status, 200);
    for _ in 0..2 {
        scheduler.look(Timestamp::now()).await.unwrap();
    }
    let expired = format!("type=user.expired&user_id={}", over.id);
    let events = world.events(&expired).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let metadata = &events[0]["metadata"];
    assert_eq!(metadata["operator"], "system");
    assert_eq!(metadata["reason"], "expires_at reached");
    assert_eq!(
        text(metadata, "expires_at"),
        over.expires_at.unwrap().to_rfc3339()
    );
    let shown = world.get(&path).await.json();
    assert_eq!(shown["user"]["status"], "active");
    let own = async || {
        let keys = "/v1/user/ssh-keys";
        world.ask(&soon.token, "GET", keys, &Value::Null).await
    };
    assert_eq!(own().await.status, 200);
    // An hour later, for the scheduler.
    scheduler.look(later).await.unwrap();
    let shown = world.get(&path).await.json();
    assert_eq!(shown["user"]["status"], "expired");
    refused(&own().await, 403, "account is not active");
    let reply = world.login(&soon.user.username, PASSWORD).await;
    refused(&reply, 403, "account is not active");
    let reply = world.patch(&path, json!({"status": "active"})).await;
    assert_eq!(reply.json()["user"]["status"], "active");
    refused(&own().await, 401, "invalid token");
    assert_eq!(world.login(&soon.user.username, PASSWORD).await.status, 200);
}

pub(crate) async fn a_new_date_brings_nobody_back(world: &World<'_>) {
    let scheduler = Expiry::new(world.bed.registry.clone());
    let noticed = person_until(world.bed, world.bed.account, Role::User, Some(past())).await;
    scheduler.look(Timestamp::now()).await.unwrap();
    let unnoticed = person_until(world.bed, world.bed.account, Role::User, Some(past())).await;
    for user in [noticed, unnoticed] {
        let path = format!("/v1/admin/users/{}", user.id);
        let reply = world
            .put(&format!("{path}/expiry"), json!({"expires_at": null}))
            .await;
        assert_eq!(reply.json()["user"]["status"], "expired");
        let login = world.login(&user.username, PASSWORD).await;
        refused(&login, 403, "account is not active");
        let reply = world.patch(&path, json!({"status": "active"})).await;
        assert_eq!(reply.json()["user"]["status"], "active");
        assert_eq!(world.login(&user.username, PASSWORD).await.status, 200);
    }
}
