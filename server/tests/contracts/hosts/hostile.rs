//! Who tries to get at another's host.

use serde_json::json;

use crate::hosts::place::make;
use crate::world::{PASSWORD, World, person, refused};
use moorline_server::registry::model::Role;

pub(crate) async fn a_name_that_is_a_short_id_takes_no_entry(world: &World<'_>) {
    let victim = &world.user.user;
    let host = make(world, json!({})).await;
    // As names could be in databases of older servers.
    let squatters = [
        person(world.bed, world.stranger.user.account, Role::User).await,
        person(world.bed, world.stranger.user.account, Role::User).await,
    ];
    let ids = [&victim.short_id, &host.short_id];
    for (squatter, id) in squatters.iter().zip(ids) {
        let row = world.literal(squatter.user.id.0);
        let sql = format!("UPDATE users SET username = '{id}' WHERE id = {row}");
        world.sql(&sql).await;
    }
    for id in ids {
        let path = format!("/v1/entry/{id}/auth");
        let enter = async |password: &str| {
            let body = json!({ "password": password });
            world.ask("", "POST", &path, &body).await
        };
        let reply = enter(PASSWORD).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()["status"], "not_ready", "the victim's own host");
        refused(&enter("wrong").await, 401, "invalid credentials");
    }
}
