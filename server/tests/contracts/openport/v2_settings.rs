//! Section 3: `keys/{id}/settings/`.

use moorline_protocol::operator::DeviceState;
use serde_json::{Value, json};

use crate::bed::{Bed, public_key};
use crate::openport::v2::{self, FORM};

pub(crate) async fn settings_are_shown_and_set(bed: &Bed) {
    let item = v2::made(bed, &json!({"public_key": public_key()})).await;
    let path = format!("keys/{}/settings/", item["id"]);
    let fresh = r#"{"ip_link_protection":true,"max_connections_per_minute":10,"state":"active"}"#;
    assert_eq!(v2::get(bed, &path).await.body, fresh);
    let enrolled = bed.device(&[]).await;
    let number = v2::number_of(bed, &enrolled).await;
    let of_enrolled = v2::get(bed, &format!("keys/{number}/settings/")).await;
    assert_eq!(of_enrolled.json()["ip_link_protection"], false);
    let all =
        json!({"ip_link_protection": false, "max_connections_per_minute": 0, "state": "inactive"});
    let put = v2::send(bed, "PUT", &path, &all).await;
    assert_eq!((put.status, put.json()), (200, all.clone()));
    assert_eq!(v2::get(bed, &path).await.json(), all);
    for (name, value) in [
        ("ip_link_protection", json!(true)),
        ("max_connections_per_minute", json!(10_000)),
        ("state", json!("active")),
    ] {
        let mut expected = v2::get(bed, &path).await.json();
        expected[name] = value.clone();
        let patched = v2::send(bed, "PATCH", &path, &json!({ name: value, "x": 1 })).await;
        assert_eq!((patched.status, patched.json()), (200, expected));
    }
    let nothing = v2::send(bed, "PATCH", &path, &Value::Null).await;
    assert_eq!(nothing.status, 200);
    let form = b"ip_link_protection=false&max_connections_per_minute=7&state=blocked";
    let put = v2::raw(bed, "PUT", &path, FORM, form).await;
    let expected =
        json!({"ip_link_protection": false, "max_connections_per_minute": 7, "state": "blocked"});
    assert_eq!((put.status, put.json()), (200, expected));
}

pub(crate) async fn bad_settings_have_their_texts(bed: &Bed) {
    let item = v2::made(bed, &json!({"public_key": public_key()})).await;
    let path = format!("keys/{}/settings/", item["id"]);
    let before = v2::get(bed, &path).await.body;
    let not_null = "This field may not be null.";
    let number = "Ensure this value is between 0 and 10000.";
    let boolean = "Must be a valid boolean.";
    let mut refused = 0;
    for (name, value, text) in [
        ("ip_link_protection", json!("maybe"), boolean),
        ("ip_link_protection", json!(1), boolean),
        ("ip_link_protection", json!(""), boolean),
        ("ip_link_protection", json!([]), boolean),
        ("ip_link_protection", Value::Null, not_null),
        ("max_connections_per_minute", json!(-1), number),
        ("max_connections_per_minute", json!(10_001), number),
        ("max_connections_per_minute", json!(1.5), number),
        ("max_connections_per_minute", json!("many"), number),
        ("max_connections_per_minute", Value::Null, not_null),
        (
            "state",
            json!("Active"),
            "\"Active\" is not a valid choice.",
        ),
        ("state", json!(""), "\"\" is not a valid choice."),
        ("state", json!(1), "\"1\" is not a valid choice."),
        ("state", Value::Null, not_null),
    ] {
        let reply = v2::send(bed, "PATCH", &path, &json!({ name: value })).await;
        v2::refused(&reply, 400, &json!({ name: [text] }));
        refused += 1;
    }
    assert_eq!(refused, 14);
    let half = json!({"ip_link_protection": false, "state": "gone"});
    let reply = v2::send(bed, "PATCH", &path, &half).await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        v2::get(bed, &path).await.body,
        before,
        "nothing was changed"
    );
}

pub(crate) async fn states_mean_the_same_everywhere(bed: &Bed) {
    let id = bed.device(&[]).await;
    let number = v2::number_of(bed, &id).await;
    let path = format!("keys/{number}/settings/");
    let device = [("client_id", id.as_str())];
    let code = async || bed.code("get_client_script", &device).await;
    for (state, expected) in [("blocked", 23), ("inactive", 24)] {
        let set = v2::send(bed, "PATCH", &path, &json!({ "state": state })).await;
        assert_eq!(set.json()["state"], state);
        assert_eq!(code().await, expected, "{state}");
    }
    let set = v2::send(bed, "PATCH", &path, &json!({"state": "active"})).await;
    assert_eq!(set.status, 200);
    let script = bed.get("get_client_script", &device).await;
    assert!(script.body.starts_with('#'));
    bed.set_state(&id, DeviceState::Blocked).await;
    assert_eq!(v2::get(bed, &path).await.json()["state"], "blocked");
    let item = v2::key(bed, &number.into()).await;
    assert_eq!(item["id"], number, "looked after in every state");
}
