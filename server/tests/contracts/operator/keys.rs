//! `/v1/admin/api-keys` and `/v1/user/ssh-keys`.

use serde_json::{Value, json};

use super::{ask, refused, token};
use crate::bed::{self, Bed};

pub(crate) async fn api_keys_are_made_and_revoked(bed: &Bed) {
    let anna = token(bed, "anna").await;
    let path = "/v1/admin/api-keys";
    let wish = json!({"name": "line-3", "scope": ["device:read"], "prefix": "cam", "uses": 5, "region": "local"});
    let reply = ask(bed, &anna, "POST", path, wish).await;
    assert_eq!(reply.status, 201);
    let made = reply.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert_eq!(made["api_key"]["rate_limit"], 600);
    assert_eq!(
        bed.bare("device_list", &[("api_key", &secret)])
            .await
            .status,
        200
    );
    let list = ask(bed, &anna, "GET", path, Value::Null).await;
    assert!(list.body.contains("\"line-3\"") && !list.body.contains(&secret));
    for (wish, text) in [
        (
            json!({"name": "3"}),
            "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -, first a letter",
        ),
        (
            json!({"name": "x", "scope": ["device:*"]}),
            "scope is unknown",
        ),
        (
            json!({"name": "x", "rate_limit": 0}),
            "rate_limit must be a number from 1 to 1000000, or -1",
        ),
        (
            json!({"name": "x", "uses": 0}),
            "uses must be a number from 1",
        ),
        (
            json!({"name": "x", "region": "nowhere"}),
            "region is unknown",
        ),
        (
            json!({"name": "x", "expires_at": "soon"}),
            "expires_at must be RFC3339 format",
        ),
        (
            json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
            "expires_at must be in the future",
        ),
    ] {
        refused(&ask(bed, &anna, "POST", path, wish).await, 400, text);
    }
    let reply = ask(bed, &anna, "POST", path, json!({"name": "LINE-3"})).await;
    refused(&reply, 409, "name is already in use");
    let path = "/v1/admin/api-keys/line-3";
    assert_eq!(
        ask(bed, &anna, "DELETE", path, Value::Null).await.status,
        204
    );
    refused(
        &ask(bed, &anna, "DELETE", path, Value::Null).await,
        404,
        "api key not found",
    );
    assert_eq!(
        bed.bare("device_list", &[("api_key", &secret)])
            .await
            .verdict()
            .0,
        32
    );
}

pub(crate) async fn ssh_keys_are_kept(bed: &Bed) {
    let (anna, udo) = (token(bed, "anna").await, token(bed, "udo").await);
    let path = "/v1/user/ssh-keys";
    let public = bed::public_key();
    let reply = ask(
        bed,
        &udo,
        "POST",
        path,
        json!({"public_key": format!("{public} udo@desk")}),
    )
    .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let key = reply.json()["key"].clone();
    assert_eq!(
        (key["label"].as_str(), key["key_type"].as_str()),
        (Some("udo@desk"), Some("ed25519"))
    );
    assert!(key["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(key["public_key"], public.as_str());
    let reply = ask(bed, &udo, "POST", path, json!({"public_key": public})).await;
    refused(&reply, 409, "ssh key already exists");
    refused(
        &ask(bed, &udo, "POST", path, json!({})).await,
        400,
        "public_key is required",
    );
    let bad = json!({"public_key": "ssh-dss x"});
    refused(
        &ask(bed, &udo, "POST", path, bad).await,
        400,
        "public_key is invalid",
    );
    let bad = json!({"public_key": public, "purpose": "both"});
    refused(
        &ask(bed, &udo, "POST", path, bad).await,
        400,
        "purpose must be inbound or outbound",
    );
    let owner = key["user_id"].as_str().unwrap();
    let as_admin = format!("/v1/admin/users/{owner}/ssh-keys");
    let list = ask(bed, &anna, "GET", &as_admin, Value::Null).await.json();
    assert_eq!(list["keys"][0]["id"], key["id"]);
    let eve = token(bed, "eve").await;
    refused(
        &ask(bed, &eve, "GET", &as_admin, Value::Null).await,
        404,
        "user not found",
    );
    let one = format!("{path}/{}", key["id"].as_str().unwrap());
    refused(
        &ask(bed, &anna, "DELETE", &one, Value::Null).await,
        404,
        "ssh key not found",
    );
    assert_eq!(
        ask(bed, &udo, "DELETE", &one, Value::Null).await.status,
        204
    );
    refused(
        &ask(bed, &udo, "DELETE", &one, Value::Null).await,
        404,
        "ssh key not found",
    );
    let list = ask(bed, &udo, "GET", path, Value::Null).await;
    assert_eq!(list.body, "{\"keys\":[]}\n");
}
