//! Section 4.

use moorline_server::registry::error::UserError;
use moorline_server::registry::model::{DeviceId, NewUser, Role, Timestamp};
use serde_json::{Value, json};

use crate::bed::device_id;
use crate::world::{PASSWORD, World, column, done, keys, person, refused, text, unique, user_id};

const USERS: &str = "/v1/admin/users";
const USER_KEYS: [&str; 7] = [
    "created_at",
    "id",
    "role",
    "short_id",
    "status",
    "updated_at",
    "username",
];

pub(crate) async fn are_made_with_what_was_asked_for(world: &World<'_>) {
    let name = unique("asked");
    let body = json!({"username": format!("  {name} "), "password": PASSWORD});
    let made = world.post(USERS, body).await;
    assert_eq!(made.status, 201);
    let json = made.json();
    assert_eq!(keys(&json), ["password", "short_id", "user"]);
    let user = &json["user"];
    assert_eq!(keys(user), USER_KEYS);
    assert_eq!(text(user, "username"), name, "blanks at the ends go");
    assert_eq!(
        (text(user, "status"), text(user, "role")),
        ("active".into(), "user".into())
    );
    assert_eq!(json["password"], PASSWORD);
    let short_id = text(&json, "short_id");
    assert_eq!(text(user, "short_id"), short_id);
    assert!(
        short_id.len() == 6
            && short_id
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
        "{short_id}"
    );
    let created = text(user, "created_at");
    assert!(created.ends_with('Z') && Timestamp::from_rfc3339(&created).is_ok());
    assert_eq!(world.login(&short_id, PASSWORD).await.status, 200);

    let body = json!({"username": unique("generated"), "expires_at": "2999-01-31T13:00:00+01:00"});
    let json = world.post(USERS, body).await.json();
    assert_eq!(json["user"]["expires_at"], "2999-01-31T12:00:00Z");
    let password = text(&json, "password");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!@#$%&*".contains(c);
    assert!(
        password.len() == 20 && password.chars().all(allowed),
        "{password}"
    );
    let name = text(&json["user"], "username");
    assert_eq!(world.login(&name, &password).await.status, 200);
    let taken = world.post(USERS, json!({"username": name})).await;
    refused(&taken, 409, "username already exists");
    let shown = world
        .get(&format!("{USERS}/{}", text(&json["user"], "id")))
        .await;
    assert_eq!(shown.json(), json!({"user": json["user"], "hosts": []}));
    assert!(!shown.body.contains("password"), "{}", shown.body);
}

pub(crate) async fn wrong_wishes_are_named(world: &World<'_>) {
    let name = || unique("wrong");
    let fine = |chars: usize| "ä".repeat(chars);
    for (body, text) in [
        (json!({}), "username must be 3-50 characters"),
        (
            json!({"username": " ab "}),
            "username must be 3-50 characters",
        ),
        (
            json!({"username": fine(51)}),
            "username must be 3-50 characters",
        ),
        (
            json!({"username": "new\nline"}),
            "username must be 3-50 characters",
        ),
        (
            json!({"username": name(), "password": "1234567"}),
            "login password must be 8-128 characters",
        ),
        (
            json!({"username": name(), "password": fine(129)}),
            "login password must be 8-128 characters",
        ),
        (
            json!({"username": name(), "expires_at": "tomorrow"}),
            "expires_at must be RFC3339 format",
        ),
        (
            json!({"username": name(), "expires_at": "2020-01-01T00:00:00Z"}),
            "expires_at must be in the future",
        ),
    ] {
        refused(&world.post(USERS, body).await, 400, text);
    }
    for (username, password) in [(unique("äöü"), fine(8)), (unique("x"), fine(128))] {
        let body = json!({"username": username, "password": password, "expires_at": null});
        let made = world.post(USERS, body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        assert_eq!(
            made.json()["user"].get("expires_at"),
            None,
            "left out when empty"
        );
    }
    for id in [uuid::Uuid::new_v4().to_string(), "nonsense".into()] {
        let path = format!("{USERS}/{id}");
        let rotate = format!("{path}/rotate-password");
        let expiry = format!("{path}/expiry");
        for reply in [
            world.get(&path).await,
            world.patch(&path, json!({"status": "active"})).await,
            world.delete(&path).await,
            world.post(&rotate, Value::Null).await,
            world.put(&expiry, json!({"expires_at": null})).await,
        ] {
            refused(&reply, 404, "user not found");
        }
    }
    let path = format!("{USERS}/{}", world.user.user.id);
    for status in [
        json!({}),
        json!({"status": "expired"}),
        json!({"status": null}),
    ] {
        let reply = world.patch(&path, status).await;
        refused(&reply, 400, "status must be active or disabled");
    }
}

pub(crate) async fn are_listed_newest_first(world: &World<'_>) {
    let before = world.get(USERS).await.json();
    let mut expected = column(&before["users"], "id");
    for _ in 0..3 {
        expected.insert(0, world.new_user().await.0);
    }
    let listed = world.get(USERS).await.json();
    assert_eq!(column(&listed["users"], "id"), expected);
    assert_eq!(keys(&listed["users"][0]), USER_KEYS);
}

pub(crate) async fn passwords_are_rotated(world: &World<'_>) {
    let (id, name) = world.new_user().await;
    let path = format!("{USERS}/{id}/rotate-password");
    for body in [
        Value::Null,
        json!({}),
        json!({"new_password": " "}),
        json!({"new_password": null}),
    ] {
        let reply = world.post(&path, body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let json = reply.json();
        assert_eq!(keys(&json), ["new_password"]);
        let password = text(&json, "new_password");
        assert_eq!(password.len(), 20);
        assert_eq!(world.login(&name, &password).await.status, 200);
    }
    refused(
        &world.login(&name, PASSWORD).await,
        401,
        "invalid credentials",
    );
    let chosen = "a chosen one";
    let reply = world.post(&path, json!({"new_password": chosen})).await;
    assert_eq!(reply.json(), json!({"new_password": chosen}));
    assert_eq!(world.login(&name, chosen).await.status, 200);
    for wrong in ["short", &"x".repeat(129)] {
        let reply = world.post(&path, json!({"new_password": wrong})).await;
        refused(&reply, 400, "login password must be 8-128 characters");
    }
}

pub(crate) async fn the_last_admin_stays(world: &World<'_>) {
    let own = format!("{USERS}/{}", world.admin.user.id);
    let disable = || json!({"status": "disabled"});
    let text = "cannot disable the last admin";
    refused(&world.patch(&own, disable()).await, 409, text);
    refused(
        &world.delete(&own).await,
        409,
        "cannot delete the last admin",
    );
    let second = person(world.bed, world.bed.account, Role::Admin).await;
    let path = format!("{USERS}/{}", second.user.id);
    assert_eq!(world.patch(&path, disable()).await.status, 200);
    refused(&world.patch(&own, disable()).await, 409, text);
    refused(
        &world.delete(&own).await,
        409,
        "cannot delete the last admin",
    );
    assert_eq!(
        world.patch(&path, json!({"status": "active"})).await.status,
        200
    );
    // Two who send each other away: one of them stays.
    let second = world.login(&second.user.username, PASSWORD).await.json();
    let second = second["token"].as_str().unwrap();
    let (one, body) = (disable(), disable());
    let (first, other) = tokio::join!(
        world.patch(&path, one),
        world.ask(second, "PATCH", &own, &body)
    );
    let mut statuses = [first.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!([401, 403, 409].contains(&statuses[1]), "{statuses:?}");
    let users = world
        .bed
        .registry
        .users_of(world.bed.account)
        .await
        .unwrap();
    let active = users
        .iter()
        .filter(|user| user.role == Role::Admin && user.status.as_str() == "active");
    assert_eq!(active.count(), 1);
}

pub(crate) async fn expiry_is_set_and_taken_away(world: &World<'_>) {
    let (id, name) = world.new_user().await;
    let path = format!("{USERS}/{id}/expiry");
    let reply = world
        .put(&path, json!({"expires_at": "2999-06-01T00:00:00Z"}))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["user"]["expires_at"], "2999-06-01T00:00:00Z");
    let reply = world.put(&path, json!({"expires_at": "soon"})).await;
    refused(&reply, 400, "expires_at must be RFC3339 format");
    let reply = world
        .put(&path, json!({"expires_at": "2020-06-01T00:00:00Z"}))
        .await;
    refused(&reply, 400, "expires_at must be in the future");
    let reply = world.put(&path, json!({"expires_at": null})).await;
    assert_eq!(reply.json()["user"].get("expires_at"), None);
    assert_eq!(world.login(&name, PASSWORD).await.status, 200);
}

pub(crate) async fn hosts_go_with_their_user_and_devices_stay(world: &World<'_>) {
    let person = person(world.bed, world.bed.account, Role::User).await;
    let device: DeviceId = device_id(&world.bed.device(&[("name", "kept")]).await);
    let container = world.container(&person.user).await;
    let assigned = world.host(&person.user, Some(device)).await;
    let path = format!("{USERS}/{}", person.user.id);
    let shown = world.get(&path).await.json();
    let hosts = &shown["hosts"];
    assert_eq!(
        column(hosts, "id"),
        [container.id.to_string(), assigned.id.to_string()]
    );
    assert_eq!(column(hosts, "kind"), ["container", "device"]);
    assert_eq!(column(hosts, "hostname"), ["DESKTOP-ABC1234", "kept"]);
    assert_eq!(text(&hosts[1], "device_id"), device.to_string());
    assert_eq!(
        text(&hosts[1], "slot_key"),
        format!("device-{}", assigned.short_id)
    );
    assert_eq!(hosts[0]["memory_limit_mb"], 4096);
    assert_eq!(hosts[0].get("device_id"), None);
    let task = world.literal(uuid::Uuid::new_v4());
    let values = format!(
        "({task}, {}, {}, 'start_host', 'pending', 'admin', 0, 0)",
        world.bed.account,
        world.literal(container.id.0)
    );
    let columns = "id, account_id, host_id, kind, status, requested_by, created_at, updated_at";
    world
        .sql(&format!("INSERT INTO tasks ({columns}) VALUES {values}"))
        .await;
    done(&world.delete(&path).await);
    world
        .sql(&format!(
            "UPDATE tasks SET kind = kind WHERE id = {task} AND status = 'canceled' AND host_id IS NULL"
        ))
        .await;
    refused(&world.get(&path).await, 404, "user not found");
    for host in [&container, &assigned] {
        assert!(world.bed.registry.host(host.id).await.unwrap().is_none());
    }
    assert!(world.bed.registry.device(device).await.unwrap().is_some());
    let events = world.events("type=admin.host.delete").await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["level"], "warn");
    assert_eq!(events[0]["metadata"]["force"], true);
    refused(
        &world.login(&person.user.username, PASSWORD).await,
        401,
        "invalid credentials",
    );
}

pub(crate) async fn short_ids_are_one_space_over_users_and_hosts(world: &World<'_>) {
    let host = world.container(&world.user.user).await;
    let new = |short_id: &str| NewUser {
        account: world.bed.account,
        username: unique("taker"),
        role: Role::User,
        password_hash: world.user.user.password_hash.clone(),
        expires_at: None,
        short_id: Some(short_id.into()),
    };
    let registry = &world.bed.registry;
    for taken in [&host.short_id, &world.user.user.short_id] {
        let refused = registry.create_user(new(taken)).await;
        assert!(
            matches!(refused, Err(UserError::ShortIdTaken)),
            "{refused:?}"
        );
    }
    let path = format!("{USERS}/{}", world.user.user.id);
    done(&world.delete(&path).await);
    for free in [&host.short_id, &world.user.user.short_id] {
        let made = registry.create_user(new(free)).await.unwrap();
        assert_eq!(user_id(&made.id.to_string()), made.id);
    }
}
