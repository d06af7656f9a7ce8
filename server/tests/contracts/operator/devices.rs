//! `/v1/admin/devices`.

use moorline_server::registry::model::Role;
use serde_json::{Value, json};

use super::{ask, refused, token, user};
use crate::bed::Bed;

pub(crate) async fn devices_are_seen_and_changed(bed: &Bed) {
    let anna = token(bed, "anna").await;
    let id = bed
        .device(&[("name", "kiln"), ("hardware", r#"{"model":"m","cores":4}"#)])
        .await;
    bed.device(&[("name", "cam1")]).await;
    let list = ask(
        bed,
        &anna,
        "GET",
        "/v1/admin/devices?prefix=ki",
        Value::Null,
    )
    .await
    .json();
    assert_eq!(
        (list["total"].as_u64(), list["devices"][0]["id"].as_str()),
        (Some(1), Some(id.as_str()))
    );
    let list = ask(
        bed,
        &anna,
        "GET",
        "/v1/admin/devices?limit=1&offset=1",
        Value::Null,
    )
    .await
    .json();
    assert_eq!(
        (
            list["total"].as_u64(),
            list["devices"].as_array().unwrap().len()
        ),
        (Some(2), 1)
    );
    for name in ["kiln", "KILN", &id] {
        let path = format!("/v1/admin/devices/{name}");
        let device = &ask(bed, &anna, "GET", &path, Value::Null).await.json()["device"];
        assert_eq!(device["name"], "kiln");
        assert_eq!(
            (
                device["online"].as_bool(),
                device["offline_reason"].as_str()
            ),
            (Some(false), Some("never seen"))
        );
        assert_eq!(device["hardware"], json!({"model": "m", "cores": "4"}));
        assert_eq!(device["forwards"][0]["device_port"], 22);
    }
    let path = "/v1/admin/devices/kiln";
    let change = json!({"name": "oven", "state": "blocked", "max_connections_per_minute": 7});
    let device = &ask(bed, &anna, "PATCH", path, change).await.json()["device"];
    assert_eq!(
        (device["name"].as_str(), device["state"].as_str()),
        (Some("oven"), Some("blocked"))
    );
    assert_eq!(
        (
            device["max_connections_per_minute"].as_u64(),
            device["offline_reason"].as_str()
        ),
        (Some(7), Some("blocked"))
    );
    assert_eq!(
        bed.code("client_status", &[("client_id", &id)]).await,
        23,
        "blocked everywhere at once"
    );
    let path = "/v1/admin/devices/oven";
    let reply = ask(bed, &anna, "PATCH", path, json!({"name": "CAM1"})).await;
    refused(&reply, 409, "name is already in use");
    let reply = ask(bed, &anna, "PATCH", path, json!({"name": "-"})).await;
    refused(
        &reply,
        400,
        "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
    );
    let reply = ask(bed, &anna, "PATCH", path, json!({"state": "gone"})).await;
    refused(&reply, 400, "invalid request body");
    let stranger = bed.registry.create_account("operators-2").await.unwrap().id;
    user(bed, stranger, "eve", Role::Admin).await;
    let eve = token(bed, "eve").await;
    for name in ["oven", &id, "nothing"] {
        for method in ["GET", "PATCH", "DELETE"] {
            let path = format!("/v1/admin/devices/{name}");
            refused(
                &ask(bed, &eve, method, &path, json!({})).await,
                404,
                "device not found",
            );
        }
    }
    assert_eq!(
        ask(bed, &anna, "DELETE", path, Value::Null).await.status,
        204
    );
    refused(
        &ask(bed, &anna, "DELETE", path, Value::Null).await,
        404,
        "device not found",
    );
}
