//! Sections 8 and 9: hosts, bindings, tasks, counts.

use super::walk::Walk;

const HOSTS: &str = "/v1/admin/hosts";
const QUEUED: &str = r#"{"task_id":"<uuid>","status":"202 Accepted"}"#;

fn queued(task: &str) -> String {
    QUEUED.replace("<uuid>", &format!("<uuid:{task}>"))
}

/// A container host on the wire.
fn container(name: &str, status: &str, rest: &str) -> String {
    format!(
        r#"{{"id":"<uuid:{name}>","user_id":"<anna>","status":"{status}","short_id":"<short:{name}_short>","template_image_ref":"managed-user","home_volume_name":"<text:{name}_home>",{rest},"created_at":"<time>","updated_at":"<time>","kind":"container"}}"#
    )
}

/// A device host on the wire.
fn device(name: &str, status: &str) -> String {
    format!(
        r#"{{"id":"<uuid:{name}>","user_id":"<anna>","status":"{status}","short_id":"<short:{name}_short>","template_image_ref":"","home_volume_name":"","slot_key":"device-<{name}_slot>","timezone":"","hostname":"boat","memory_limit_mb":0,"cpu_limit":0.0,"disk_limit_gb":0,"created_at":"<time>","updated_at":"<time>","kind":"device","device_id":"<boat_device>"}}"#
    )
}

fn usual(hostname: &str) -> String {
    format!(
        r#""slot_key":"primary","timezone":"America/Los_Angeles","hostname":"{hostname}","memory_limit_mb":4096,"cpu_limit":2.0,"disk_limit_gb":20"#
    )
}

fn sheet_end(host: &str) -> String {
    format!(
        r#""connection_info":{{"curl_command":"curl -sSL <base>/entry/<{host}_short> | bash","ssh_command":"ssh <{host}_short>@127.0.0.1 -p <ssh_port>","ssh_port":<ssh_port>"#
    )
}

const ANNA: &str = r#"{"id":"<anna>","username":"anna","status":"active","role":"user","short_id":"<anna_short>","created_at":"<time>","updated_at":"<time>"}"#;

pub(super) fn wishes(walk: &mut Walk) {
    walk.carry("admin_token");
    let with = |more: &str| format!(r#"{{"user_id":"<anna>"{more}}}"#);
    let refused = [
        (
            "",
            r#"{"user_id":""}"#.to_owned(),
            400,
            "user_id is required",
        ),
        ("", "{}".to_owned(), 400, "user_id is required"),
        (
            r#","kind":"boat""#,
            String::new(),
            400,
            "kind must be container or device",
        ),
        (
            r#","kind":"device""#,
            String::new(),
            400,
            "device_id is required for kind device",
        ),
        (
            r#","device_id":"<boat_device>","egress_ip_id":"<exit>""#,
            String::new(),
            400,
            "egress IPs apply to container hosts only",
        ),
        (
            r#","memory_limit_mb":255"#,
            String::new(),
            400,
            "memory_limit_mb is out of range",
        ),
        (
            r#","memory_limit_mb":1048577"#,
            String::new(),
            400,
            "memory_limit_mb is out of range",
        ),
        (
            r#","cpu_limit":0.09"#,
            String::new(),
            400,
            "cpu_limit is out of range",
        ),
        (
            r#","cpu_limit":257"#,
            String::new(),
            400,
            "cpu_limit is out of range",
        ),
        (
            r#","disk_limit_gb":65537"#,
            String::new(),
            400,
            "disk_limit_gb is out of range",
        ),
        (
            r#","slot_key":"Not valid""#,
            String::new(),
            400,
            "slot_key is not valid",
        ),
        (
            r#","slot_key":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#,
            String::new(),
            400,
            "slot_key is not valid",
        ),
        (
            r#","timezone":"Mars/Olympus""#,
            String::new(),
            400,
            "timezone is not valid",
        ),
        (
            r#","egress_ip_id":"<nobody>""#,
            String::new(),
            404,
            "egress ip not found",
        ),
        (
            r#","device_id":"<nobody>""#,
            String::new(),
            404,
            "device not found",
        ),
        (
            r#","region":"nowhere""#,
            String::new(),
            404,
            "region not found",
        ),
        (
            "",
            r#"{"user_id":"<nobody>"}"#.to_owned(),
            404,
            "user not found",
        ),
        (
            "",
            r#"{"user_id":"nonsense"}"#.to_owned(),
            404,
            "user not found",
        ),
    ];
    for (more, whole, status, text) in refused {
        let body = if whole.is_empty() { with(more) } else { whole };
        walk.row(("POST", HOSTS, &body, status, text));
    }
    walk.row(("GET", HOSTS, "", 200, r#"{"hosts":[]}"#));
    for id in ["<nobody>", "nonsense", "%FF"] {
        let path = format!("{HOSTS}/{id}");
        walk.row(("GET", &path, "", 404, "host not found"));
        walk.row(("DELETE", &path, "", 404, "host not found"));
        for action in ["start", "stop", "rebuild", "rotate-ssh-password"] {
            walk.row((
                "POST",
                &format!("{path}/{action}"),
                r#"{"mode":"x"}"#,
                404,
                "host not found",
            ));
        }
    }
}

/// Everything by ids only, and what is refused on the way; there is no container engine.
pub(super) fn containers(walk: &mut Walk) {
    let desk = |status: &str| container("desk", status, &usual("<desktop:desk_name>"));
    let made = |host: &str, name: &str| {
        format!(
            r#"{{"host":{host},"task_id":"<uuid:{name}_task>","short_id":"<short:{name}_short>","entry_password":"<entry>","status":"202 Accepted"}}"#
        )
    };
    let ip = r#"{"id":"<exit>","label":"exit","ip_address":"203.0.113.10","provider":"manual","status":"available","tunnel_type":"wireguard","wg_allowed_ips":"0.0.0.0/0","wg_client_public_key":"<wireguard:exit_key>","created_at":"<time>","updated_at":"<time>"}"#;
    let sheet = |status: &str, bindings: &str| {
        format!(
            r#"{{"host":{},"user":{ANNA},"bindings":[{bindings}],{},"vnc_url":"<base>/v1/admin/hosts/<desk>/vnc/vnc.html"}}}}"#,
            desk(status),
            sheet_end("desk")
        )
    };
    let bind = r#"{"host_id":"<desk>","egress_ip_id":"<exit>"}"#;
    const BINDINGS: &str = "/v1/admin/bindings";
    walk.row((
        "POST",
        HOSTS,
        r#"{"user_id":"<anna>"}"#,
        202,
        &made(&desk("pending"), "desk"),
    ));
    assert_eq!(walk.ended("desk_task")["status"], "succeeded");
    walk.rows(&[
        (
            "POST",
            HOSTS,
            r#"{"user_id":"<anna>"}"#,
            409,
            "user already has an active host",
        ),
        (
            "GET",
            "/v1/admin/hosts/<desk>",
            "",
            200,
            &sheet("stopped", ""),
        ),
        (
            "POST",
            BINDINGS,
            "{}",
            400,
            "host_id and egress_ip_id are required",
        ),
        (
            "POST",
            BINDINGS,
            r#"{"host_id":"<desk>"}"#,
            400,
            "host_id and egress_ip_id are required",
        ),
        (
            "POST",
            BINDINGS,
            r#"{"host_id":"<nobody>","egress_ip_id":"<exit>"}"#,
            404,
            "host not found",
        ),
        (
            "POST",
            BINDINGS,
            r#"{"host_id":"<desk>","egress_ip_id":"<nobody>"}"#,
            404,
            "egress ip not found",
        ),
        (
            "POST",
            BINDINGS,
            r#"{"host_id":"<desk>","egress_ip_id":"nonsense"}"#,
            404,
            "egress ip not found",
        ),
        (
            "POST",
            BINDINGS,
            r#"{"host_id":"<desk>","egress_ip_id":"<proxy>"}"#,
            409,
            "egress IP is disabled",
        ),
        // Without a binding it cannot start.
        (
            "POST",
            "/v1/admin/hosts/<desk>/start",
            "",
            202,
            &queued("unbound_task"),
        ),
    ]);
    let unbound = walk.ended("unbound_task");
    assert_eq!(unbound["error_code"], "egress_binding_missing", "{unbound}");
    walk.rows(&[
        ("POST", BINDINGS, bind, 201, r#"{"binding":{"binding_id":"<uuid:binding>","host_id":"<desk>","egress_ip_id":"<exit>","created_at":"<time>"}}"#),
        ("POST", BINDINGS, bind, 409, "egress IP is already bound to this host"),
        ("DELETE", "/v1/admin/egress-ips/<exit>", "", 409, "egress IP is bound to a host, unbind first"),
        ("GET", "/v1/admin/hosts/<desk>", "", 200, &sheet("failed", &format!(r#"{{"binding_id":"<binding>","egress_ip":{ip},"created_at":"<time>"}}"#))),
        ("POST", "/v1/admin/hosts/<desk>/start", r#"{"mode":"x"}"#, 202, &queued("engineless_task")),
    ]);
    let engineless = walk.ended("engineless_task");
    assert_eq!(
        engineless["error_code"], "host_action_failed",
        "{engineless}"
    );
    let rest = r#""slot_key":"desk-2","timezone":"Europe/Berlin","hostname":"<desktop>","memory_limit_mb":512,"cpu_limit":0.5,"disk_limit_gb":20"#;
    let second = made(&container("second", "pending", rest), "second");
    walk.row(("POST", HOSTS, r#"{"user_id":"<anna>","slot_key":"desk-2","timezone":"Europe/Berlin","memory_limit_mb":512,"cpu_limit":0.5,"disk_limit_gb":0,"egress_ip_id":"<exit>"}"#, 202, &second));
    assert_eq!(walk.ended("second_task")["kind"], "create_host");
    let listed = |host: &str| {
        let host = host.strip_suffix('}').unwrap();
        format!(
            r#"{host},"username":"anna","egress_ip_label":"exit","egress_ip_address":"203.0.113.10","docker_status":"not found"}}"#
        )
    };
    walk.rows(&[
        (
            "GET",
            HOSTS,
            "",
            200,
            &format!(
                r#"{{"hosts":[{},{}]}}"#,
                listed(&container("second", "failed", rest)),
                listed(&desk("failed"))
            ),
        ),
        (
            "DELETE",
            "/v1/admin/hosts/<second>",
            "",
            200,
            r#"{"status":"deleted"}"#,
        ),
        ("DELETE", "/v1/admin/bindings/<binding>", "", 204, ""),
        (
            "DELETE",
            "/v1/admin/bindings/<binding>",
            "",
            404,
            "binding not found",
        ),
        (
            "DELETE",
            "/v1/admin/bindings/nonsense",
            "",
            404,
            "binding not found",
        ),
    ]);
    let rotate = "/v1/admin/hosts/<desk>/rotate-ssh-password";
    walk.row(("POST", rotate, "", 200, r#"{"new_password":"<entry>"}"#));
    // As the engine will have it one day, a host that runs keeps its binding.
    walk.row((
        "GET",
        "/v1/admin/dashboard/stats",
        "",
        200,
        r#"{"active_users":2,"running_hosts":0,"available_ips":1}"#,
    ));
}

/// The whole life of a host that is a device whose agent runs.
pub(super) fn device_host(walk: &mut Walk) {
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
pub(super) fn force(walk: &mut Walk) {
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
