//! Container hosts: their data, their refusals, and what is said without a container engine.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::hosts::place::{HOSTS, act, ended, make, shown, status};
use crate::world::{World, keys, refused, text};

const HOST_KEYS: [&str; 15] = [
    "cpu_limit",
    "created_at",
    "disk_limit_gb",
    "home_volume_name",
    "hostname",
    "id",
    "kind",
    "memory_limit_mb",
    "short_id",
    "slot_key",
    "status",
    "template_image_ref",
    "timezone",
    "updated_at",
    "user_id",
];

fn is_letters_and_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub(crate) async fn a_container_has_its_defaults_and_its_data(world: &World<'_>) {
    let user = world.user.user.id.to_string();
    let reply = world.post(HOSTS, json!({"user_id": user})).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert!(reply.body.starts_with("{\"host\":{\"id\":\"") && reply.body.ends_with("}\n"));
    assert!(reply.body.contains("\"status\":\"202 Accepted\""));
    let json = reply.json();
    assert_eq!(
        keys(&json),
        ["entry_password", "host", "short_id", "status", "task_id"]
    );
    let host = &json["host"];
    assert_eq!(keys(host), HOST_KEYS);
    let short_id = text(&json, "short_id");
    assert_eq!(text(host, "short_id"), short_id);
    assert!(is_letters_and_digits(&short_id, 6) && short_id == short_id.to_lowercase());
    assert!(is_letters_and_digits(&text(&json, "entry_password"), 8));
    assert_eq!(host["kind"], "container");
    assert_eq!(host["status"], "pending");
    assert_eq!(host["slot_key"], "primary");
    assert_eq!(host["timezone"], "America/Los_Angeles");
    assert_eq!(host["memory_limit_mb"], 4096);
    assert_eq!(host["cpu_limit"], 2.0);
    assert_eq!(host["disk_limit_gb"], 20);
    assert_eq!(host["template_image_ref"], "managed-user");
    let name = text(host, "hostname");
    let (kind, rest) = name.split_once('-').unwrap();
    assert!(["DESKTOP", "LAPTOP"].contains(&kind), "{name}");
    assert!(is_letters_and_digits(rest, 7) && rest == rest.to_uppercase());

    ended(world, &text(&json, "task_id")).await;
    let id = text(host, "id");
    let list = world.get(HOSTS).await.json();
    assert_eq!(list["hosts"].as_array().unwrap().len(), 1);
    let listed = &list["hosts"][0];
    assert_eq!(listed["id"], id.as_str());
    assert_eq!(listed["username"], world.user.user.username.as_str());
    assert_eq!(listed["docker_status"], "not found");
    assert_eq!(listed.get("egress_ip_label"), None);

    let sheet = world.get(&format!("{HOSTS}/{id}")).await.json();
    assert_eq!(
        keys(&sheet),
        ["bindings", "connection_info", "host", "user"]
    );
    assert_eq!(sheet["user"]["id"], user.as_str());
    assert_eq!(sheet["bindings"], json!([]));
    let info = &sheet["connection_info"];
    assert_eq!(
        info["curl_command"],
        format!("curl -sSL http://h:8080/entry/{short_id} | bash")
    );
    let port = info["ssh_port"].as_u64().unwrap();
    assert_eq!(info["ssh_command"], format!("ssh {short_id}@h -p {port}"));
    assert_eq!(
        info["vnc_url"],
        format!("http://h:8080/v1/admin/hosts/{id}/vnc/vnc.html")
    );
    // No secret is in any of these.
    for body in [list, sheet] {
        let text = body.to_string();
        assert!(
            !text.contains("password") && !text.contains("$argon2id$"),
            "{text}"
        );
    }

    let wish = json!({"slot_key": "desk-2", "timezone": "Europe/Berlin", "memory_limit_mb": 0,
        "cpu_limit": 0.5, "disk_limit_gb": 0, "region": "local"});
    let other = shown(world, &make(world, wish).await).await;
    assert_eq!(other["host"]["slot_key"], "desk-2");
    assert_eq!(other["host"]["timezone"], "Europe/Berlin");
    assert_eq!(other["host"]["memory_limit_mb"], 4096);
    assert_eq!(other["host"]["cpu_limit"], 0.5);
    assert_eq!(other["host"]["disk_limit_gb"], 20);
    let list = world.get(HOSTS).await.json();
    assert_eq!(list["hosts"][0]["slot_key"], "desk-2", "last updated first");
}

pub(crate) async fn wrong_wishes_are_named(world: &World<'_>) {
    let user = world.user.user.id.to_string();
    let nobody = Uuid::new_v4().to_string();
    let device = world.bed.device(&[]).await;
    let with = |more: Value| {
        let mut wish = json!({ "user_id": user });
        for (name, value) in more.as_object().unwrap() {
            wish[name] = value.clone();
        }
        wish
    };
    let cases = [
        (json!({}), 400, "user_id is required"),
        (json!({"user_id": "  "}), 400, "user_id is required"),
        (
            with(json!({"kind": "toaster"})),
            400,
            "kind must be container or device",
        ),
        (
            with(json!({"kind": "device"})),
            400,
            "device_id is required for kind device",
        ),
        (
            with(json!({"device_id": device, "egress_ip_id": nobody})),
            400,
            "egress IPs apply to container hosts only",
        ),
        (
            with(json!({"memory_limit_mb": 255})),
            400,
            "memory_limit_mb is out of range",
        ),
        (
            with(json!({"cpu_limit": 256.1})),
            400,
            "cpu_limit is out of range",
        ),
        (
            with(json!({"disk_limit_gb": -1})),
            400,
            "disk_limit_gb is out of range",
        ),
        (
            with(json!({"slot_key": "Desk"})),
            400,
            "slot_key is not valid",
        ),
        (
            with(json!({"slot_key": "x".repeat(33)})),
            400,
            "slot_key is not valid",
        ),
        (
            with(json!({"timezone": "Mars/Olympus"})),
            400,
            "timezone is not valid",
        ),
        (json!({ "user_id": nobody }), 404, "user not found"),
        (json!({"user_id": "x"}), 404, "user not found"),
        (
            with(json!({ "egress_ip_id": nobody })),
            404,
            "egress ip not found",
        ),
        (
            with(json!({"egress_ip_id": "x"})),
            404,
            "egress ip not found",
        ),
        (
            with(json!({ "device_id": nobody })),
            404,
            "device not found",
        ),
        (with(json!({"device_id": "x"})), 404, "device not found"),
        (with(json!({"region": "nowhere"})), 404, "region not found"),
    ];
    let mut seen = 0;
    for (wish, code, words) in &cases {
        refused(&world.post(HOSTS, wish.clone()).await, *code, words);
        seen += 1;
    }
    assert_eq!(seen, cases.len());
    assert_eq!(world.get(HOSTS).await.json(), json!({"hosts": []}));
    for id in [&nobody, "x", "00000000-0000-0000-0000-000000000000"] {
        let path = format!("{HOSTS}/{id}");
        refused(&world.get(&path).await, 404, "host not found");
        refused(&world.delete(&path).await, 404, "host not found");
        for action in ["start", "stop", "rebuild", "rotate-ssh-password"] {
            let reply = world.post(&format!("{path}/{action}"), Value::Null).await;
            refused(&reply, 404, "host not found");
        }
    }
}

pub(crate) async fn a_slot_holds_one_container(world: &World<'_>) {
    make(world, json!({})).await;
    let user = world.user.user.id.to_string();
    let again = world.post(HOSTS, json!({ "user_id": user })).await;
    refused(&again, 409, "user already has an active host");
    make(world, json!({"slot_key": "second"})).await;
    // Another user has slots of their own.
    let (other, _) = world.new_user().await;
    make(world, json!({ "user_id": other })).await;
}

pub(crate) async fn without_an_engine_the_tasks_say_so(world: &World<'_>) {
    let host = make(world, json!({})).await;
    let created = ended(world, &host.task).await;
    assert_eq!(
        keys(&created),
        [
            "created_at",
            "error_code",
            "error_message",
            "host_id",
            "kind",
            "last_error_summary",
            "requested_by",
            "status",
            "task_id",
            "updated_at"
        ]
    );
    assert_eq!(created["kind"], "create_host");
    assert_eq!(created["requested_by"], "admin");
    assert_eq!(created["status"], "succeeded");
    assert_eq!(
        (&created["error_code"], &created["error_message"]),
        (&json!(""), &json!(""))
    );
    assert_eq!(status(world, &host).await, "stopped");

    let started = ended(world, &act(world, &host, "start").await).await;
    assert_eq!(started["status"], "failed");
    assert_eq!(started["error_code"], "egress_binding_missing");
    assert_eq!(started["error_message"], started["last_error_summary"]);
    assert_eq!(status(world, &host).await, "failed");
    let missing = world.events("type=net.binding_missing").await;
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0]["level"], "error");
    assert_eq!(missing[0]["metadata"]["host_id"], host.id.as_str());

    let ip = world.egress_ip().await;
    let bound = world
        .post(
            "/v1/admin/bindings",
            json!({"host_id": host.id, "egress_ip_id": ip}),
        )
        .await;
    assert_eq!(bound.status, 201, "{}", bound.body);
    for action in ["start", "rebuild"] {
        let failed = ended(world, &act(world, &host, action).await).await;
        assert_eq!(failed["status"], "failed");
        assert_eq!(failed["error_code"], "host_action_failed");
        assert_eq!(
            failed["error_message"],
            "no container engine is configured on node local"
        );
    }
    let stopped = ended(world, &act(world, &host, "stop").await).await;
    assert_eq!(stopped["status"], "succeeded", "no container is success");
    assert_eq!(status(world, &host).await, "stopped");

    // Bound as it is made, it has to start, and cannot.
    let other = world.egress_ip().await;
    let second = make(world, json!({"slot_key": "second", "egress_ip_id": other})).await;
    assert_eq!(
        ended(world, &second.task).await["error_code"],
        "host_action_failed"
    );
    let sheet = shown(world, &second).await;
    assert_eq!(sheet["bindings"][0]["egress_ip"]["id"], other.as_str());
    let list = world.get(HOSTS).await.json();
    let listed = &list["hosts"][0];
    assert_eq!(listed["egress_ip_label"], "exit");
    assert_eq!(
        listed["egress_ip_address"],
        sheet["bindings"][0]["egress_ip"]["ip_address"]
    );
}

pub(crate) async fn a_host_that_runs_is_not_deleted_without_force(world: &World<'_>) {
    let host = make(world, json!({})).await;
    ended(world, &host.task).await;
    let row = host.kept(world).await;
    world.set_host_status(&row, "running").await;
    refused(
        &world.delete(&host.path()).await,
        409,
        "host is running, stop it first or use force=true",
    );
    refused(
        &world.delete(&format!("{}?force=false", host.path())).await,
        409,
        "host is running, stop it first or use force=true",
    );
    let gone = world.delete(&format!("{}?force=true", host.path())).await;
    assert_eq!(
        (gone.status, gone.body.as_str()),
        (200, "{\"status\":\"deleted\"}\n")
    );
    refused(&world.get(&host.path()).await, 404, "host not found");
    let events = world.events("type=admin.host.delete").await;
    assert_eq!(events[0]["level"], "warn");
    assert_eq!(events[0]["metadata"]["force"], true);
    assert_eq!(events[0]["metadata"]["host_id"], host.id.as_str());
}

pub(crate) async fn policies_are_set(world: &World<'_>) {
    let host = make(world, json!({})).await;
    let reply = world
        .patch(&host.path(), json!({"direct_tcpip_allowed": true}))
        .await;
    assert_eq!(
        reply.json(),
        json!({"host_id": host.id, "recording_required": false, "direct_tcpip_allowed": true})
    );
    let reply = world
        .patch(&host.path(), json!({"recording_required": true}))
        .await;
    assert_eq!(
        reply.json(),
        json!({"host_id": host.id, "recording_required": true, "direct_tcpip_allowed": true})
    );
    let device = world.bed.device(&[("name", "watched")]).await;
    let path = format!("/v1/admin/devices/{device}");
    let before = world.get(&path).await.json();
    assert_eq!(before["device"]["recording_required"], false);
    assert_eq!(before["device"]["direct_tcpip_allowed"], true);
    let change = json!({"recording_required": true, "direct_tcpip_allowed": false});
    let after = world.patch(&path, change).await.json();
    assert_eq!(after["device"]["recording_required"], true);
    assert_eq!(after["device"]["direct_tcpip_allowed"], false);
    assert_eq!(world.events("type=device.policy").await.len(), 1);
}
