//! Section 11, without hosts.

use serde_json::{Value, json};

use crate::bed::public_key;
use crate::world::{PASSWORD, World, column, done, refused, text};

pub(crate) async fn a_password_is_changed_by_who_knows_the_old_one(world: &World<'_>) {
    const PATH: &str = "/v1/user/change-password";
    let token = &world.user.token;
    let change = async |body: Value| world.ask(token, "POST", PATH, &body).await;
    let required = "old_password and new_password are required";
    for body in [
        json!({}),
        json!({"old_password": PASSWORD}),
        json!({"new_password": "another one"}),
        json!({"old_password": "", "new_password": ""}),
    ] {
        refused(&change(body).await, 400, required);
    }
    for new in ["short", &"x".repeat(129)] {
        let body = json!({"old_password": PASSWORD, "new_password": new});
        refused(
            &change(body).await,
            400,
            "new password must be 8-128 characters",
        );
    }
    let body = json!({"old_password": "wrong", "new_password": "another one"});
    refused(&change(body).await, 401, "invalid old password");
    let body = json!({"old_password": PASSWORD, "new_password": "another one"});
    let reply = change(body.clone()).await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "{\"status\":\"ok\"}\n")
    );
    refused(&change(body).await, 401, "invalid token");
    let name = &world.user.user.username;
    refused(
        &world.login(name, PASSWORD).await,
        401,
        "invalid credentials",
    );
    assert_eq!(world.login(name, "another one").await.status, 200);
    let body = json!({"old_password": PASSWORD, "new_password": "another one"});
    let reply = world.post(PATH, body).await;
    assert_eq!(reply.status, 200, "administrators too");
}

pub(crate) async fn users_keep_their_own_keys(world: &World<'_>) {
    const PATH: &str = "/v1/user/ssh-keys";
    let own = async |method: &str, path: &str, body: Value| {
        world.ask(&world.user.token, method, path, &body).await
    };
    let key = public_key();
    let made = own("POST", PATH, json!({"public_key": key})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = text(&made.json()["key"], "id");
    let generated = own("POST", &format!("{PATH}/generate"), json!({"label": "new"})).await;
    assert_eq!(generated.status, 200, "{}", generated.body);
    assert!(generated.body.contains("BEGIN OPENSSH PRIVATE KEY"));
    let listed = own("GET", PATH, Value::Null).await.json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    assert_eq!(column(&listed["keys"], "public_key")[0], key);
    // The administrator has keys of their own.
    assert_eq!(world.get(PATH).await.json(), json!({"keys": []}));
    let path = format!("{PATH}/{id}");
    refused(&world.delete(&path).await, 404, "ssh key not found");
    done(&own("DELETE", &path, Value::Null).await);
    refused(
        &own("DELETE", &path, Value::Null).await,
        404,
        "ssh key not found",
    );
}
