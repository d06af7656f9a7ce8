//! `/v1/admin/devices/{device}/forwards`.

use moorline_server::registry::MAX_FORWARDS;
use moorline_server::registry::model::Role;
use serde_json::{Value, json};

use super::{ask, refused, token, user};
use crate::bed::Bed;

pub(crate) async fn forwards_are_added_shown_and_removed(bed: &Bed) {
    let anna = token(bed, "anna").await;
    let id = bed.device(&[("name", "weir")]).await;
    let path = "/v1/admin/devices/weir/forwards";
    let new = json!({"device_port": 8080, "http": true});
    let made = ask(bed, &anna, "POST", path, new.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let forward = made.json()["forward"].clone();
    assert_eq!(forward["device_port"], 8080);
    assert_eq!(forward["open"], false);
    let name = forward["http_name"].as_str().unwrap();
    assert!(name.len() > 8 && name[8..].starts_with(".u."), "{name}");
    let again = ask(bed, &anna, "POST", path, new).await;
    assert_eq!(
        (again.status, again.json()["forward"].clone()),
        (200, forward.clone())
    );
    let plain = ask(bed, &anna, "POST", path, json!({"device_port": 8080})).await;
    assert_eq!(
        (plain.status, plain.json()["forward"]["http_name"].clone()),
        (201, Value::Null)
    );
    let by_id = format!("/v1/admin/devices/{id}/forwards");
    let list = ask(bed, &anna, "GET", &by_id, Value::Null).await.json();
    let forwards = list["forwards"].as_array().unwrap();
    assert_eq!((forwards.len(), &forwards[1]), (3, &forward));
    let device = ask(bed, &anna, "GET", "/v1/admin/devices/weir", Value::Null).await;
    assert_eq!(device.json()["device"]["forwards"][1], forward);

    for body in [
        json!({"device_port": 0}),
        json!({"device_port": 0, "http": true}),
    ] {
        let text = "device_port must be a number from 1 to 65535";
        refused(&ask(bed, &anna, "POST", path, body).await, 400, text);
    }
    for body in [
        json!({}),
        json!({"device_port": 65536}),
        json!({"device_port": "80"}),
        json!([]),
    ] {
        let reply = ask(bed, &anna, "POST", path, body).await;
        refused(&reply, 400, "invalid request body");
    }
    let first = format!("{path}/{}", forwards[0]["id"]);
    let text = "the first forward of a device cannot be removed";
    refused(
        &ask(bed, &anna, "DELETE", &first, Value::Null).await,
        409,
        text,
    );
    let this = format!("{path}/{}", forward["id"]);
    assert_eq!(
        ask(bed, &anna, "DELETE", &this, Value::Null).await.status,
        204
    );
    for gone in [this.as_str(), &format!("{path}/x"), &format!("{path}/-1")] {
        let reply = ask(bed, &anna, "DELETE", gone, Value::Null).await;
        refused(&reply, 404, "forward not found");
    }
    for port in 0..MAX_FORWARDS - 2 {
        let new = json!({"device_port": 20_000 + port});
        assert_eq!(ask(bed, &anna, "POST", path, new).await.status, 201);
    }
    let reply = ask(bed, &anna, "POST", path, json!({"device_port": 1})).await;
    refused(&reply, 409, "device has too many forwards");
}

pub(crate) async fn forwards_are_for_administrators_of_the_account(bed: &Bed) {
    let id = bed.device(&[("name", "lock")]).await;
    let anna = token(bed, "anna").await;
    let path = format!("/v1/admin/devices/{id}/forwards");
    let made = ask(bed, &anna, "POST", &path, json!({"device_port": 80})).await;
    let forward = made.json()["forward"]["id"].clone();
    let one = format!("{path}/{forward}");
    let calls = [("GET", &path), ("POST", &path), ("DELETE", &one)];
    let udo = token(bed, "udo").await;
    let elsewhere = bed.registry.create_account("elsewhere").await.unwrap().id;
    user(bed, elsewhere, "olga", Role::Admin).await;
    let olga = token(bed, "olga").await;
    for (method, path) in calls {
        let body = json!({"device_port": 80});
        let reply = ask(bed, "x.y.z", method, path, body.clone()).await;
        refused(&reply, 401, "invalid token");
        let reply = ask(bed, &udo, method, path, body.clone()).await;
        refused(&reply, 403, "insufficient permissions");
        let reply = ask(bed, &olga, method, path, body).await;
        refused(&reply, 404, "device not found");
    }
    // A device of one's own does not open the forwards of another one.
    let other = bed.device(&[("name", "sluice")]).await;
    let crossed = format!("/v1/admin/devices/{other}/forwards/{forward}");
    let reply = ask(bed, &anna, "DELETE", &crossed, Value::Null).await;
    refused(&reply, 404, "forward not found");
    assert_eq!(
        ask(bed, &anna, "DELETE", &one, Value::Null).await.status,
        204
    );
}
