//! Section 2, and `/healthz` of section 3.

use serde_json::{Value, json};

use crate::http;
use crate::world::{World, refused, unique};

pub(crate) async fn answers_are_compact_json_and_end_in_a_line_break(world: &World<'_>) {
    let body = json!({"username": unique("compact"), "no such member": [1, {"a": null}]});
    let made = world.post("/v1/admin/users", body).await;
    assert_eq!(made.status, 201, "unknown fields are ignored");
    for reply in [made, world.get("/v1/admin/users").await] {
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.body.ends_with("}\n"), "{}", reply.body);
        let compact = format!("{}\n", reply.json());
        assert_eq!(reply.body.len(), compact.len(), "no blanks: {}", reply.body);
    }
    let empty = world.get("/v1/admin/egress-ips").await;
    assert_eq!(empty.body, "{\"egress_ips\":[]}\n", "lists are never null");
}

pub(crate) async fn bodies_have_their_limits(world: &World<'_>) {
    let path = "/v1/admin/users";
    let long = json!({"username": "x".repeat(1024 * 1024)});
    refused(&world.post(path, long).await, 413, "request body too large");
    for wrong in [json!([]), json!("text"), json!({"username": 5})] {
        refused(&world.post(path, wrong).await, 400, "invalid request body");
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 1\r\n\r\n{{",
        world.admin.token
    );
    let reply = http::raw(world.bed.http, world.bed.from, head.as_bytes()).await;
    refused(&reply, 400, "invalid request body");
}

pub(crate) async fn unknown_routes_and_methods_are_told(world: &World<'_>) {
    for path in [
        "/v1",
        "/v1/users",
        "/v1/hosts",
        "/v1/tasks",
        "/v1/admin/nothing",
    ] {
        let reply = world.get(path).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (404, "404 page not found\n")
        );
        assert!(
            reply
                .header("content-type")
                .unwrap()
                .starts_with("text/plain")
        );
    }
    for (path, allowed) in [
        ("/v1/admin/users", "GET"),
        ("/v1/admin/egress-ips", "GET"),
        ("/v1/auth/login", "POST"),
        ("/healthz", "GET"),
    ] {
        let reply = world
            .ask(&world.admin.token, "PATCH", path, &Value::Null)
            .await;
        assert_eq!(reply.status, 405, "{path}");
        assert!(reply.header("allow").unwrap().contains(allowed), "{path}");
    }
}

pub(crate) async fn health_is_told_without_a_token(world: &World<'_>) {
    let reply = world.ask("", "GET", "/healthz", &Value::Null).await;
    let json = reply.json();
    assert_eq!((reply.status, &json["status"]), (200, &json!("ok")));
    assert_eq!(json["checks"], json!({"database": "ok", "agent": "ok"}));
}

pub(crate) async fn an_engine_that_does_not_answer_is_a_warning(world: &World<'_>) {
    let set = async |engine: &str| {
        let statement = format!("UPDATE nodes SET engine = '{engine}' WHERE name = 'local'");
        world.sql(&statement).await;
    };
    set("unreachable").await;
    let reply = world.ask("", "GET", "/healthz", &Value::Null).await;
    set("none").await;
    let json = reply.json();
    assert_eq!((reply.status, &json["status"]), (200, &json!("warning")));
    let checks = json!({"database": "ok", "agent": "unreachable"});
    assert_eq!(json["checks"], checks);
}
