//! The bootstrap: sessions, their tasks, and the handoff.

use std::time::Instant;

use moorline_server::registry::model::{Role, Timestamp, UserStatus};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::hosts::line::Line;
use crate::hosts::place::{device_host, ended, make};
use crate::http::Reply;
use crate::world::{PASSWORD, World, is_lock, keys, person_until, text, unique};

async fn open(world: &World<'_>, body: &Value) -> Reply {
    world.ask("", "POST", "/v1/bootstrap/sessions", body).await
}

async fn sign_in(world: &World<'_>, name: &str) -> Reply {
    open(world, &json!({"username": name, "password": PASSWORD})).await
}

fn failed(reply: &Reply, status: u16, code: &str, message: &str) {
    let body = format!("{{\"error_code\":\"{code}\",\"message\":\"{message}\"}}\n");
    assert_eq!((reply.status, reply.body.as_str()), (status, body.as_str()));
}

async fn ask(world: &World<'_>, path: &str) -> Reply {
    world.ask("", "GET", path, &Value::Null).await
}

pub(crate) async fn a_session_ends_in_a_handoff(world: &World<'_>) {
    let script = ask(world, "/v1/bootstrap/script").await;
    assert_eq!(script.status, 200);
    assert_eq!(
        script.header("content-type"),
        Some("text/x-shellscript; charset=utf-8")
    );
    assert!(script.body.starts_with("#!/usr/bin/env bash\n"));
    assert!(script.body.contains("DEFAULT_API='http://h:8080'\n"));

    let (device, host) = device_host(world).await;
    let reply = sign_in(world, &world.user.user.username).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let session = reply.json();
    assert_eq!(
        keys(&session),
        ["stage_code", "stage_text", "status_url", "task_id"]
    );
    assert_eq!(session["stage_code"], "auth_passed");
    let path = text(&session, "status_url");
    assert_eq!(
        path,
        format!("/v1/bootstrap/tasks/{}", text(&session, "task_id"))
    );
    let handoff = format!("{path}/handoff");
    failed(
        &ask(world, &handoff).await,
        503,
        "ssh_not_ready",
        "SSH is not ready yet, try again later",
    );
    let line = Line::of(world, &device).await;
    line.up().await;
    let task = ended(world, &text(&session, "task_id")).await;
    assert_eq!(task["status"], "succeeded", "{task}");
    let by = format!("bootstrap:{}", world.user.user.username);
    assert_eq!(task["requested_by"], by);
    let status = ask(world, &path).await.json();
    assert_eq!(
        keys(&status),
        ["stage_code", "stage_text", "task_id", "task_status"]
    );
    assert_eq!(status["task_status"], "succeeded");
    assert_eq!(status["stage_code"], "ssh_ready");
    assert_eq!(status["stage_text"], "SSH is ready");
    let reply = ask(world, &handoff).await;
    assert!(reply.body.contains("\"port\":"), "{}", reply.body);
    let handed = reply.json();
    assert_eq!(handed["ready"], true);
    assert_eq!(handed["host"], "h");
    assert_eq!(handed["user"], host.short_id.as_str());
    assert!(handed["port"].is_u64());
    assert!(text(&handed, "host_key").starts_with("ssh-ed25519 AAAA"));
    assert_eq!(
        handed["ssh_options"],
        json!([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null"
        ])
    );
    line.down().await;
    // Tasks that others made are none of the bootstrap's.
    let foreign = format!("/v1/bootstrap/tasks/{}", host.task);
    for path in [foreign.clone(), format!("{foreign}/handoff")] {
        failed(
            &ask(world, &path).await,
            404,
            "task_not_found",
            "task not found",
        );
    }
}

pub(crate) async fn every_refusal_has_its_code(world: &World<'_>) {
    let garbage = crate::http::send(
        world.bed.http,
        world.bed.from,
        "POST",
        "/v1/bootstrap/sessions",
        None,
        b"{",
    )
    .await;
    failed(&garbage, 400, "invalid_request", "request is not valid");
    for body in [
        json!({}),
        json!({"username": "x"}),
        json!({"username": " ", "password": "x"}),
    ] {
        failed(
            &open(world, &body).await,
            400,
            "invalid_request",
            "username and password are required",
        );
    }
    let since = Instant::now();
    let wrong = json!({"username": world.user.user.username, "password": "wrong"});
    let nobody = json!({"username": unique("nobody"), "password": PASSWORD});
    for body in [wrong, nobody] {
        failed(
            &open(world, &body).await,
            401,
            "auth_invalid",
            "wrong username or password",
        );
    }
    failed(
        &sign_in(world, &world.user.user.username).await,
        404,
        "host_not_found",
        "no host is assigned, contact the administrator",
    );
    let registry = &world.bed.registry;
    let off = person_until(world.bed, world.bed.account, Role::User, None).await;
    registry
        .set_user_status(off.account, off.id, UserStatus::Disabled)
        .await
        .unwrap();
    failed(
        &sign_in(world, &off.username).await,
        403,
        "account_disabled",
        "account is disabled, contact the administrator",
    );
    let past = Some(Timestamp(Timestamp::now().0 - 1_000_000));
    let over = person_until(world.bed, world.bed.account, Role::User, past).await;
    failed(
        &sign_in(world, &over.username).await,
        403,
        "account_expired",
        "account has expired, contact the administrator",
    );
    for id in [Uuid::new_v4().to_string(), "x".to_owned()] {
        let path = format!("/v1/bootstrap/tasks/{id}");
        failed(
            &ask(world, &path).await,
            404,
            "task_not_found",
            "task not found",
        );
    }
    // Ten wrong passwords a minute from one address, the two above among them, then nobody is let in.
    let someone = person_until(world.bed, world.bed.account, Role::User, None).await;
    let wrong = json!({"username": someone.username, "password": "wrong"});
    let mut failures = 2;
    let last = loop {
        let reply = open(world, &wrong).await;
        if reply.status == 429 || failures == 59 {
            break reply;
        }
        failures += 1;
    };
    assert!(is_lock(failures, since), "{failures}");
    failed(
        &last,
        429,
        "too_many_attempts",
        "too many attempts, try again later",
    );
    assert!(last.header("retry-after").is_some());
}

pub(crate) async fn a_start_that_fails_is_told(world: &World<'_>) {
    let host = make(world, json!({})).await;
    ended(world, &host.task).await;
    let session = sign_in(world, &world.user.user.username).await.json();
    let path = text(&session, "status_url");
    ended(world, &text(&session, "task_id")).await;
    let status = ask(world, &path).await.json();
    assert_eq!(status["task_status"], "failed");
    assert_eq!(status["error_code"], "egress_binding_missing");
    assert_eq!(
        status["error_message"],
        "no egress IP is bound to the host, contact the administrator"
    );
    assert_eq!(status["retryable"], false);
    failed(
        &ask(world, &format!("{path}/handoff")).await,
        503,
        "egress_binding_missing",
        "no egress IP is bound to the host, contact the administrator",
    );
}
