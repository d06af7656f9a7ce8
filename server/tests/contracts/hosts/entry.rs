//! Entry links: the script, and the password for one login.

use moorline_server::registry::model::{Role, Timestamp, UserStatus};
use serde_json::{Value, json};

use crate::hosts::line::Line;
use crate::hosts::place::{device_host, make, running_device_host, start};
use crate::http::Reply;
use crate::world::{PASSWORD, World, keys, person_until, refused, text};

async fn enter(world: &World<'_>, id: &str, password: &str) -> Reply {
    let path = format!("/v1/entry/{id}/auth");
    world
        .ask("", "POST", &path, &json!({ "password": password }))
        .await
}

pub(crate) async fn a_script_comes_for_any_id(world: &World<'_>) {
    for (id, inside) in [
        (
            world.user.user.short_id.as_str(),
            world.user.user.short_id.as_str(),
        ),
        ("nobody", "nobody"),
        ("%27%3Btouch%20x%3B%27", "%27%3Btouch%20x%3B%27"),
    ] {
        let script = world
            .ask("", "GET", &format!("/entry/{id}"), &Value::Null)
            .await;
        assert_eq!(script.status, 200);
        assert_eq!(
            script.header("content-type"),
            Some("text/x-shellscript; charset=utf-8")
        );
        assert!(script.body.contains(&format!("ID='{inside}'\n")), "{id}");
        assert!(script.body.contains("API='http://h:8080'\n"));
    }
}

pub(crate) async fn a_password_for_one_login_is_given(world: &World<'_>) {
    let (device, host) = device_host(world).await;
    let message = "Your machine is not running. Please contact admin.";
    let not_ready = enter(world, &host.short_id, PASSWORD).await;
    assert_eq!(
        (not_ready.status, not_ready.json()),
        (200, json!({"status": "not_ready", "message": message}))
    );
    let line = Line::of(world, &device).await;
    line.up().await;
    start(world, &host).await;
    // By the short id of the host, and by that of its user.
    let mut seen = Vec::new();
    for id in [&host.short_id, &world.user.user.short_id] {
        let reply = enter(world, id, PASSWORD).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let ready = reply.json();
        assert_eq!(
            keys(&ready),
            [
                "ssh_host",
                "ssh_host_key",
                "ssh_pass",
                "ssh_port",
                "ssh_user",
                "status"
            ]
        );
        assert_eq!(ready["status"], "ready");
        assert_eq!(ready["ssh_user"], host.short_id.as_str());
        assert_eq!(ready["ssh_host"], "h");
        assert!(ready["ssh_port"].is_u64());
        assert!(text(&ready, "ssh_host_key").starts_with("ssh-ed25519 AAAA"));
        let password = text(&ready, "ssh_pass");
        assert_eq!(password.len(), 24);
        assert!(password.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        seen.push(password);
    }
    assert_ne!(seen[0], seen[1]);
    // Only hashes are kept.
    let registry = &world.bed.registry;
    let one = moorline_protocol::Secret::new(seen[0].clone());
    assert!(
        registry
            .take_one_time_password(host.host_id(), &one)
            .await
            .unwrap()
    );
    assert!(
        !registry
            .take_one_time_password(host.host_id(), &one)
            .await
            .unwrap()
    );
    // Another entry password ends those that were not used.
    let path = format!("{}/rotate-ssh-password", host.path());
    assert_eq!(world.post(&path, Value::Null).await.status, 200);
    let two = moorline_protocol::Secret::new(seen[1].clone());
    assert!(
        !registry
            .take_one_time_password(host.host_id(), &two)
            .await
            .unwrap()
    );
    line.down().await;
}

pub(crate) async fn a_password_for_one_login_dies_with_the_users(world: &World<'_>) {
    let (_, line, host) = running_device_host(world).await;
    let registry = &world.bed.registry;
    let user = format!("/v1/admin/users/{}", world.user.user.id);
    let given = async || {
        let reply = enter(world, &host.short_id, PASSWORD).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        moorline_protocol::Secret::new(text(&reply.json(), "ssh_pass"))
    };
    let good = async |one: &moorline_protocol::Secret<String>| {
        let taken = registry.take_one_time_password(host.host_id(), one).await;
        taken.unwrap()
    };
    assert!(good(&given().await).await);
    // Another login password: whoever knew the old one is out.
    let one = given().await;
    let body = json!({"new_password": PASSWORD});
    let path = format!("{user}/rotate-password");
    assert_eq!(world.post(&path, body).await.status, 200);
    assert!(!good(&one).await);
    // Disabled, and taken back.
    let one = given().await;
    for status in ["disabled", "active"] {
        let changed = world.patch(&user, json!({"status": status})).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
    }
    assert!(!good(&one).await);
    // One that is asked for while the password changes is not given.
    let before = registry.user(world.user.user.id).await.unwrap().unwrap();
    let body = json!({"new_password": PASSWORD});
    assert_eq!(world.post(&path, body).await.status, 200);
    let late = moorline_protocol::Secret::new("late".to_owned());
    let until = Timestamp::now().after(std::time::Duration::from_secs(120));
    let kept = registry
        .add_one_time_password(host.host_id(), &before, &late, until)
        .await;
    assert!(!kept.unwrap());
    assert!(!good(&late).await);
    line.down().await;
}

pub(crate) async fn every_refusal_has_its_text(world: &World<'_>) {
    let id = world.user.user.short_id.clone();
    for body in [Value::Null, json!({}), json!({"password": ""})] {
        let path = format!("/v1/entry/{id}/auth");
        let reply = world.ask("", "POST", &path, &body).await;
        refused(&reply, 400, "password is required");
    }
    refused(
        &enter(world, &id, "wrong").await,
        401,
        "invalid credentials",
    );
    refused(
        &enter(world, "nobody", PASSWORD).await,
        401,
        "invalid credentials",
    );
    // The name of a user is no short id.
    let name = &world.user.user.username;
    refused(
        &enter(world, name, PASSWORD).await,
        401,
        "invalid credentials",
    );
    let nothing = enter(world, &id, PASSWORD).await;
    assert_eq!(
        (nothing.status, nothing.body.as_str()),
        (
            404,
            "{\"error\":\"no host assigned\",\"status\":\"no_host\"}\n"
        )
    );
    let host = make(world, json!({})).await;
    // The entry password is for SSH, not for the link.
    refused(
        &enter(world, &host.short_id, &host.entry_password).await,
        401,
        "invalid credentials",
    );
    let past = Some(Timestamp(Timestamp::now().0 - 1_000_000));
    let over = person_until(world.bed, world.bed.account, Role::User, past).await;
    let off = person_until(world.bed, world.bed.account, Role::User, None).await;
    world
        .bed
        .registry
        .set_user_status(off.account, off.id, UserStatus::Disabled)
        .await
        .unwrap();
    for user in [over, off] {
        refused(
            &enter(world, &user.short_id, "wrong").await,
            401,
            "invalid credentials",
        );
        refused(
            &enter(world, &user.short_id, PASSWORD).await,
            403,
            "account is not active",
        );
    }
    let mut failures = 0;
    while enter(world, &host.short_id, "wrong").await.status != 429 {
        failures += 1;
        assert!(failures < 60, "there is no lock");
    }
    let locked = enter(world, &host.short_id, PASSWORD).await;
    refused(&locked, 429, "too many attempts, try again later");
}
