//! Section 10, and the counts of section 9.

use moorline_server::registry::model::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::encode;
use crate::world::{PASSWORD, World, address, column, done, keys, refused, text, unique};

const EVENTS: &str = "/v1/admin/events";

pub(crate) async fn every_deed_leaves_its_event(world: &World<'_>) {
    let (user, name) = world.new_user().await;
    let path = format!("/v1/admin/users/{user}");
    world.login(&name, "wrong").await;
    world.login(&name, PASSWORD).await;
    world.patch(&path, json!({"status": "disabled"})).await;
    let expiry = format!("{path}/expiry");
    world
        .put(&expiry, json!({"expires_at": "2999-01-01T00:00:00Z"}))
        .await;
    world
        .post(&format!("{path}/rotate-password"), Value::Null)
        .await;
    let ip = world.egress_ip().await;
    let host = world.container(&world.user.user).await;
    let egress = format!("/v1/admin/egress-ips/{ip}");
    world.put(&egress, json!({"label": "renamed"})).await;
    let body = json!({"host_id": host.id.to_string(), "egress_ip_id": ip});
    let bound = world.post("/v1/admin/bindings", body).await.json();
    let binding = text(&bound["binding"], "binding_id");
    done(&world.delete(&format!("/v1/admin/bindings/{binding}")).await);
    done(&world.delete(&egress).await);
    done(&world.delete(&path).await);

    let events = world.events("").await;
    let expected = [
        (
            "auth.failed",
            "warn",
            json!({"username": name, "reason": "invalid_credentials"}),
        ),
        ("auth.success", "info", json!({"username": name})),
        ("admin.user.created", "info", json!({"username": name})),
        (
            "admin.user.password_rotated",
            "info",
            json!({"username": name}),
        ),
        ("admin.user.deleted", "info", json!({"username": name})),
        (
            "admin.egress_ip.created",
            "info",
            json!({"egress_ip_id": ip, "label": "exit", "tunnel_type": "wireguard"}),
        ),
        (
            "admin.egress_ip.updated",
            "info",
            json!({"egress_ip_id": ip, "label": "renamed"}),
        ),
        (
            "admin.egress_ip.deleted",
            "info",
            json!({"egress_ip_id": ip}),
        ),
        (
            "admin.binding.created",
            "info",
            json!({"binding_id": binding, "egress_ip_id": ip}),
        ),
        (
            "admin.binding.deleted",
            "info",
            json!({"binding_id": binding}),
        ),
    ];
    for (kind, level, metadata) in expected {
        let found = events.iter().find(|event| {
            let members = metadata.as_object().unwrap();
            let fits = members
                .iter()
                .all(|(name, value)| event["metadata"].get(name) == Some(value));
            event["type"] == kind && fits
        });
        let event = found.unwrap_or_else(|| panic!("{kind} {metadata} in {events:?}"));
        assert_eq!(event["level"], level, "{kind}");
        assert_eq!(event["metadata"]["operator"], "admin", "{kind}");
        assert!(!text(event, "message").is_empty());
        let id = Uuid::try_parse(&text(event, "id")).unwrap();
        assert_eq!(id.get_version_num(), 4);
        assert!(Timestamp::from_rfc3339(&text(event, "created_at")).is_ok());
    }
    let updates: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "admin.user.updated")
        .map(|event| &event["metadata"])
        .collect();
    assert_eq!(updates[1]["new_status"], "disabled");
    assert_eq!(updates[0]["expires_at"], "2999-01-01T00:00:00Z");
    let mut ids: Vec<String> = column(&json!(events), "id");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len(), "ids are unique");
    let body = json!(events).to_string();
    assert!(
        !body.contains(PASSWORD) && !body.contains("wrong"),
        "no passwords"
    );
}

pub(crate) async fn filters_and_pages_cut_the_list(world: &World<'_>) {
    let start = world.get(EVENTS).await.json();
    let mut names = Vec::new();
    for _ in 0..3 {
        names.insert(0, world.new_user().await.1);
    }
    let all = world.get(EVENTS).await.json();
    assert_eq!(keys(&all), ["events", "limit", "offset", "total"]);
    let before = start["total"].as_u64().unwrap();
    assert_eq!(all["total"].as_u64().unwrap(), before + 3);
    assert_eq!((&all["limit"], &all["offset"]), (&json!(50), &json!(0)));
    let of_type = "type=admin.user.created";
    let listed = world.events(of_type).await;
    let listed: Vec<String> = listed
        .iter()
        .map(|event| text(&event["metadata"], "username"))
        .collect();
    assert_eq!(listed, names, "newest first");
    let page = world
        .get(&format!("{EVENTS}?{of_type}&limit=1&offset=1"))
        .await
        .json();
    assert_eq!(
        (&page["total"], &page["limit"], &page["offset"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert_eq!(text(&page["events"][0]["metadata"], "username"), names[1]);
    let page = world.get(&format!("{EVENTS}?limit=999999")).await.json();
    assert_eq!(page["limit"], 200, "cut");
    let middle = &world.events(of_type).await[1];
    let at = encode(&text(middle, "created_at"));
    assert_eq!(
        world.events(&format!("{of_type}&since={at}")).await.len(),
        2,
        "inclusive"
    );
    assert_eq!(
        world.events(&format!("{of_type}&until={at}")).await.len(),
        2,
        "inclusive"
    );
    let offset = text(middle, "created_at").replace('Z', "+00:00");
    assert_eq!(
        world
            .events(&format!("{of_type}&until={offset}"))
            .await
            .len(),
        2
    );
    let user = text(middle, "user_id");
    let of_user = world.events(&format!("user_id={user}")).await;
    assert_eq!((of_user.len(), &of_user[0]), (1, middle));
    let host = world.container(&world.user.user).await;
    let ip = world.egress_ip().await;
    let body = json!({"host_id": host.id.to_string(), "egress_ip_id": ip});
    world.post("/v1/admin/bindings", body).await;
    let of_host = world.events(&format!("host_id={}", host.id)).await;
    assert_eq!(column(&json!(of_host), "type"), ["admin.binding.created"]);
    for nobody in ["user_id=nonsense", "host_id=nonsense", "type=nothing"] {
        assert_eq!(world.events(nobody).await, Vec::<Value>::new(), "{nobody}");
    }
    let nobody = format!("user_id={}", Uuid::new_v4());
    assert!(world.events(&nobody).await.is_empty());
}

pub(crate) async fn wrong_parameters_are_named(world: &World<'_>) {
    for (query, text) in [
        ("since=yesterday", "since must be RFC3339 format"),
        ("until=2026-13-01T00:00:00Z", "until must be RFC3339 format"),
        ("limit=0", "limit must be a positive integer"),
        ("limit=-1", "limit must be a positive integer"),
        ("limit=many", "limit must be a positive integer"),
        ("offset=-1", "offset must be a non-negative integer"),
        ("offset=x", "offset must be a non-negative integer"),
    ] {
        refused(&world.get(&format!("{EVENTS}?{query}")).await, 400, text);
    }
    assert_eq!(
        world.get(&format!("{EVENTS}?limit=&since=")).await.status,
        200
    );
}

pub(crate) async fn what_is_gone_is_not_named(world: &World<'_>) {
    let (user, _) = world.new_user().await;
    let created = "type=admin.user.created";
    assert_eq!(text(&world.events(created).await[0], "user_id"), user);
    done(&world.delete(&format!("/v1/admin/users/{user}")).await);
    let events = world.events(created).await;
    assert_eq!(
        (events.len(), events[0].get("user_id")),
        (1, None),
        "it outlives the user"
    );

    let stats = async || world.get("/v1/admin/dashboard/stats").await.json();
    let body = json!({"active_users": 2, "running_hosts": 0, "available_ips": 0});
    assert_eq!(stats().await, body);
    let (user, _) = world.new_user().await;
    let off = json!({"status": "disabled"});
    world
        .patch(&format!("/v1/admin/users/{user}"), off.clone())
        .await;
    let host = world.container(&world.user.user).await;
    world.container(&world.user.user).await;
    world.set_host_status(&host, "running").await;
    world.egress_ip().await;
    let body = json!({"label": unique("off"), "ip_address": address()});
    let ip = world.post("/v1/admin/egress-ips", body).await.json();
    let ip = text(&ip["egress_ip"], "id");
    world.put(&format!("/v1/admin/egress-ips/{ip}"), off).await;
    let body = json!({"active_users": 2, "running_hosts": 1, "available_ips": 1});
    assert_eq!(stats().await, body);
}
