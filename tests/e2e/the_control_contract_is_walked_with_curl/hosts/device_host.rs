//! A host that is a device.

use super::super::walk::Walk;
use super::{ANNA, HOSTS, container, device, queued, sheet_end, usual};

/// The whole life of a host that is a device whose agent runs.
pub(in super::super) fn device_host(walk: &mut Walk) {
    let made = format!(
        r#"{{"host":{},"task_id":"<uuid:berth_task>","short_id":"<short:berth_short>","entry_password":"<entry:berth_password>","status":"202 Accepted"}}"#,
        device("berth", "pending").replace("<berth_slot>", "<short>")
    );
    let path = "/v1/admin/hosts/<berth>";
    walk.row((
        "POST",
        HOSTS,
        r#"{"user_id":"<anna>","device_id":"<boat_device>"}"#,
        202,
        &made,
    ));
    assert_eq!(walk.ended("berth_task")["status"], "succeeded");
    let slot = walk.known("berth_short").to_owned();
    walk.know("berth_slot", &slot);
    let sheet = |status: &str, port: &str| {
        format!(
            r#"{{"host":{},"user":{ANNA},"bindings":[],{}}},"device":{{"client_id":"<boat_device>","name":"boat","hostname":"<text>","connected":true,"hardware":{{<any>}},"forwards":[{{"local_port":<number>,"public_port":<number:{port}>,"node":"local"}}]}}}}"#,
            device("berth", status),
            sheet_end("berth")
        )
    };
    walk.rows(&[
        ("GET", path, "", 200, &sheet("running", "port")),
        (
            "POST",
            HOSTS,
            r#"{"user_id":"<anna>","device_id":"<boat_device>"}"#,
            409,
            "device is already assigned to a host",
        ),
        (
            "POST",
            "/v1/admin/bindings",
            r#"{"host_id":"<berth>","egress_ip_id":"<exit>"}"#,
            400,
            "egress IPs apply to container hosts only",
        ),
        (
            "DELETE",
            path,
            "",
            409,
            "host is running, stop it first or use force=true",
        ),
        (
            "DELETE",
            "/v1/admin/hosts/<berth>?force=false",
            "",
            409,
            "host is running, stop it first or use force=true",
        ),
        (
            "GET",
            "/v1/admin/dashboard/stats",
            "",
            200,
            r#"{"active_users":2,"running_hosts":1,"available_ips":1}"#,
        ),
    ]);
    for (action, status) in [
        ("stop", "stopped"),
        ("start", "running"),
        ("rebuild", "running"),
    ] {
        let task = format!("{action}_task");
        let port = if action == "rebuild" {
            "new_port"
        } else {
            "port"
        };
        walk.row((
            "POST",
            &format!("{path}/{action}"),
            r#"{"mode":"soft"}"#,
            202,
            &queued(&task),
        ));
        let ended = walk.ended(&task);
        assert_eq!(ended["status"], "succeeded", "{ended}");
        assert_eq!(ended["kind"], format!("{action}_host"));
        let shown = sheet(status, port);
        let shown = match action {
            "stop" => shown.replace(r#""connected":true"#, r#""connected":<any>"#),
            _ => shown,
        };
        walk.row(("GET", path, "", 200, &shown));
    }
    assert_ne!(walk.known("port"), walk.known("new_port"));
    walk.rows(&[
        ("POST", "/v1/admin/hosts/<berth>/rotate-ssh-password", "", 200, r#"{"new_password":"<entry:rotated_password>"}"#),
        ("GET", "/v1/admin/hosts", "", 200, &format!(
            r#"{{"hosts":[{},"username":"anna","docker_status":"running"}},{},"username":"anna","docker_status":"not found"}}]}}"#,
            device("berth", "running").strip_suffix('}').unwrap(),
            container("desk", "failed", &usual("<desk_name>")).strip_suffix('}').unwrap(),
        )),
    ]);
    assert_ne!(walk.known("berth_password"), walk.known("rotated_password"));
    // The task that ended last comes first, with every key.
    let task = r#"{"task_id":"<rebuild_task>","host_id":"<berth>","kind":"rebuild_host","status":"succeeded","requested_by":"admin","error_code":"","error_message":"","last_error_summary":"","created_at":"<time>","updated_at":"<time>"}"#;
    walk.row((
        "GET",
        "/v1/admin/tasks",
        "",
        200,
        &format!(r#"{{"tasks":[{task},<any>]}}"#),
    ));
    let tasks = walk.ask("GET", "/v1/admin/tasks", "", &[]).json();
    let moments = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["updated_at"].as_str().unwrap());
    assert!(moments.is_sorted_by(|one, other| one >= other), "{tasks}");
}

/// What is left of a device host that is taken away while it runs.
pub(in super::super) fn force(walk: &mut Walk) {
    walk.carry("admin_token");
    walk.rows(&[
        (
            "DELETE",
            "/v1/admin/hosts/<berth>?force=true",
            "",
            200,
            r#"{"status":"deleted"}"#,
        ),
        ("GET", "/v1/admin/hosts/<berth>", "", 404, "host not found"),
        (
            "GET",
            "/v1/admin/devices/boat",
            "",
            200,
            r#"{"device":{<any>}}"#,
        ),
    ]);
}
