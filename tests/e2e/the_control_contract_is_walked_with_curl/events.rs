//! Section 10: what has happened, by the end of the walk.

use serde_json::Value;

use super::walk::Walk;

/// Every type that needs no container engine, its level and the metadata it has at least.
const TYPES: [(&str, &str, &[&str]); 27] = [
    ("auth.success", "info", &["operator", "username"]),
    ("auth.failed", "warn", &["operator", "username", "reason"]),
    ("admin.user.created", "info", &["operator", "username"]),
    ("admin.user.updated", "info", &["operator", "username"]),
    ("admin.user.deleted", "info", &["operator", "username"]),
    (
        "admin.user.password_rotated",
        "info",
        &["operator", "username"],
    ),
    (
        "admin.host.create",
        "info",
        &["operator", "user_id", "host_id"],
    ),
    (
        "admin.host.action",
        "info",
        &["operator", "user_id", "action", "host_id"],
    ),
    (
        "admin.host.delete",
        "warn",
        &["operator", "user_id", "host_id", "force"],
    ),
    (
        "admin.host.ssh_password_rotated",
        "info",
        &["operator", "user_id", "host_id"],
    ),
    ("admin.egress_ip.created", "info", EGRESS),
    ("admin.egress_ip.updated", "info", EGRESS),
    ("admin.egress_ip.deleted", "info", EGRESS),
    (
        "admin.binding.created",
        "info",
        &["operator", "binding_id", "egress_ip_id"],
    ),
    (
        "admin.binding.deleted",
        "info",
        &["operator", "binding_id", "egress_ip_id"],
    ),
    ("user.host.rebuild", "info", &["user_id"]),
    (
        "user.expired",
        "info",
        &["operator", "reason", "expires_at"],
    ),
    (
        "host.stop.expired",
        "info",
        &["operator", "user_id", "host_id", "reason"],
    ),
    ("net.binding_missing", "error", &["host_id"]),
    ("runtime.validating", "info", &["host_id", "container"]),
    ("ssh.ready", "info", &["host_id", "container"]),
    ("ssh.failed", "error", &["host_id", "container"]),
    (
        "ssh.handoff.ready",
        "info",
        &["ssh_host", "ssh_port", "ssh_user", "host_id"],
    ),
    (
        "reconcile.host.drift",
        "warn",
        &["operator", "db_status", "actual_status", "host_id"],
    ),
    (
        "reconcile.task.stale",
        "warn",
        &["operator", "task_id", "kind", "old_status", "threshold"],
    ),
    // Those of other surfaces have names of their own.
    ("device.created", "info", &[]),
    ("user.password_changed", "info", &[]),
];
const EGRESS: &[&str] = &[
    "operator",
    "egress_ip_id",
    "label",
    "ip_address",
    "tunnel_type",
];
const EVENTS: &str = "/v1/admin/events";

fn of_type(walk: &Walk, kind: &str) -> Vec<Value> {
    let page = walk.ask("GET", &format!("{EVENTS}?limit=200&type={kind}"), "", &[]);
    assert_eq!(page.status, 200, "{}", page.body);
    page.json()["events"].as_array().unwrap().clone()
}

/// Whether an event of that type was recorded.
pub(super) fn seen(walk: &Walk, kind: &str) -> bool {
    !of_type(walk, kind).is_empty()
}

pub(super) fn every_type_was_seen(walk: &mut Walk) {
    walk.carry("admin_token");
    for (kind, level, members) in TYPES {
        let events = of_type(walk, kind);
        assert!(!events.is_empty(), "{kind} was never seen");
        for event in events {
            assert_eq!(event["level"], level, "{event}");
            for member in members {
                assert!(
                    event["metadata"].get(member).is_some(),
                    "{member} in {event}"
                );
            }
            let operator = event["metadata"].get("operator").and_then(Value::as_str);
            let known = operator.is_none_or(|who| ["admin", "bootstrap", "system"].contains(&who));
            assert!(known, "{event}");
        }
    }
    let values = |kind: &str, member: &str| {
        let mut values: Vec<String> = of_type(walk, kind)
            .iter()
            .filter_map(|event| Some(event["metadata"].get(member)?.as_str()?.to_owned()))
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    assert_eq!(
        values("auth.failed", "reason"),
        ["account_disabled", "account_expired", "invalid_credentials"]
    );
    assert_eq!(values("auth.success", "operator"), ["admin", "bootstrap"]);
    assert_eq!(
        values("admin.host.action", "action"),
        ["rebuild", "start", "stop"]
    );
    assert_eq!(
        values("admin.user.updated", "new_status"),
        ["active", "disabled"]
    );
    assert_eq!(values("user.expired", "reason"), ["expires_at reached"]);
    assert_eq!(values("host.stop.expired", "reason"), ["user expired"]);
    assert_eq!(values("reconcile.host.drift", "db_status"), ["running"]);
    let actual = values("reconcile.host.drift", "actual_status");
    let known = |status: &String| ["stopped", "not_found"].contains(&status.as_str());
    assert!(
        actual.contains(&"stopped".to_owned()) && actual.iter().all(known),
        "{actual:?}"
    );
}

pub(super) fn pages(walk: &mut Walk) {
    walk.carry("admin_token");
    let one = |rest: &str| {
        format!(
            r#"{{"events":[{{"id":"<uuid>"{rest},"level":"info","type":"admin.binding.deleted","message":"<text>","metadata":{{<any>}},"created_at":"<time>"}}],"total":1,"limit":50,"offset":0}}"#
        )
    };
    let (limit, offset) = (
        "limit must be a positive integer",
        "offset must be a non-negative integer",
    );
    for (query, status, wanted) in [
        // The host is gone, the event is not.
        ("type=admin.binding.deleted", 200, one("").as_str()),
        (
            "type=admin.binding.deleted&limit=1&offset=1",
            200,
            r#"{"events":[],"total":1,"limit":1,"offset":1}"#,
        ),
        (
            "type=admin.binding.deleted&until=2026-01-01T00:00:00Z",
            200,
            r#"{"events":[],"total":0,"limit":50,"offset":0}"#,
        ),
        (
            "user_id=<nobody>",
            200,
            r#"{"events":[],"total":0,"limit":50,"offset":0}"#,
        ),
        (
            "host_id=nonsense",
            200,
            r#"{"events":[],"total":0,"limit":50,"offset":0}"#,
        ),
        (
            "type=%00",
            200,
            r#"{"events":[],"total":0,"limit":50,"offset":0}"#,
        ),
        (
            "type=ssh.failed&limit=999",
            200,
            r#"{"events":[<any>],"total":<number>,"limit":200,"offset":0}"#,
        ),
        ("since=yesterday", 400, "since must be RFC3339 format"),
        ("until=now", 400, "until must be RFC3339 format"),
        ("limit=0", 400, limit),
        ("limit=-5", 400, limit),
        ("limit=x", 400, limit),
        ("offset=-1", 400, offset),
        ("offset=x", 400, offset),
    ] {
        walk.row(("GET", &format!("{EVENTS}?{query}"), "", status, wanted));
    }
}
