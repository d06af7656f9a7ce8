//! Sections 8 and 9: hosts, bindings, tasks, counts.

use super::walk::Walk;

mod device_host;

pub(super) use device_host::{device_host, force};

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
