//! `/v1/admin/api-clients`: the same operations for administrators.

use moorline_protocol::Secret;
use moorline_server::passwords::Passwords;
use moorline_server::registry::model::{NewUser, Role};
use serde_json::{Value, json};

use crate::apiclients::desk::{at, get, good, make, root, with_authorization};
use crate::bed::{Bed, text};
use crate::http::Reply;

const ROOT: &str = "/v1/admin/api-clients";
const PASSWORD: &str = "correct-horse-battery-staple";

async fn token(bed: &Bed, username: &str, role: Role) -> String {
    let passwords = Passwords::new().await.unwrap();
    let user = NewUser {
        account: bed.account,
        username: username.into(),
        role,
        password_hash: passwords.hash(Secret::new(PASSWORD.into())).await.unwrap(),
        expires_at: None,
        short_id: None,
    };
    bed.registry.create_user(user).await.unwrap();
    let body = json!({"username": username, "password": PASSWORD}).to_string();
    let reply = with_authorization(bed, None, "POST", "/v1/auth/login", body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    format!("Bearer {}", text(&reply.json(), "token"))
}

async fn call(bed: &Bed, token: &str, method: &str, path: &str, body: Value) -> Reply {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    with_authorization(bed, Some(token), method, path, body.as_bytes()).await
}

fn refused(reply: &Reply, status: u16, text: &str) {
    assert_eq!(
        (reply.status, reply.json()),
        (status, json!({"error": text}))
    );
}

pub(crate) async fn an_administrator_does_the_same_by_token(bed: &Bed) {
    let by = root(bed).await;
    let anna = token(bed, "anna-of-clients", Role::Admin).await;
    let body = json!({"name": "Line", "tags": ["t"], "scope": ["user:read"]});
    let reply = call(bed, &anna, "POST", ROOT, body).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let made = reply.json();
    assert_eq!(
        good(&get(bed, &by, &at("line")).await),
        made,
        "the same object as under /v3"
    );
    let one = format!("{ROOT}/line");
    let key = format!("{ROOT}/line/apikey");
    assert_eq!(
        call(bed, &anna, "GET", &one, Value::Null).await.json(),
        made
    );
    let page = call(
        bed,
        &anna,
        "GET",
        &format!("{ROOT}?tags=t&pageSize=5"),
        Value::Null,
    )
    .await;
    assert_eq!(
        (page.json()["total"].clone(), page.json()["results"].clone()),
        (json!(1), json!([made]))
    );
    let changed = call(
        bed,
        &anna,
        "PUT",
        &one,
        json!({"description": "d", "rateLimit": 7}),
    )
    .await;
    assert_eq!(changed.json()["description"], "d");
    let shown = call(bed, &anna, "GET", &key, Value::Null).await.json();
    assert_eq!(
        (&shown["rateLimit"], &shown["scope"]),
        (&json!(7), &json!(["user:read"]))
    );
    let set = call(bed, &anna, "PUT", &key, json!({"scope": ["device:read"]})).await;
    assert_eq!(set.json()["secret"], shown["secret"]);
    let renewed = call(bed, &anna, "POST", &key, Value::Null).await.json();
    assert_ne!(renewed["secret"], shown["secret"]);
    let old = bed
        .bare("device_list", &[("api_key", &text(&shown, "secret"))])
        .await;
    assert_eq!(old.verdict().0, 32);
    let reply = call(bed, &anna, "POST", ROOT, json!({"name": "LINE"})).await;
    refused(&reply, 409, "name is already in use");
    let reply = call(bed, &anna, "PUT", &one, json!({"name": "3", "locked": 5})).await;
    let text = "Attribute name must be 1 to 64 characters of A-Z a-z 0-9 . _ -, first a letter. \
                Attribute locked must be true or false.";
    refused(&reply, 400, text);
    call(bed, &anna, "PUT", &one, json!({"locked": true})).await;
    let keys = "/v1/admin/api-keys/line";
    for (method, path) in [("DELETE", one.as_str()), ("DELETE", keys)] {
        let reply = call(bed, &anna, method, path, Value::Null).await;
        refused(&reply, 409, "api client is locked");
    }
    call(bed, &anna, "PUT", &one, json!({"locked": false})).await;
    assert_eq!(
        call(bed, &anna, "DELETE", &one, Value::Null).await.status,
        204
    );
    for (method, path) in [
        ("GET", &one),
        ("PUT", &one),
        ("DELETE", &one),
        ("GET", &key),
        ("PUT", &key),
        ("POST", &key),
    ] {
        let body = if method == "PUT" {
            json!({})
        } else {
            Value::Null
        };
        refused(
            &call(bed, &anna, method, path, body).await,
            404,
            "api client not found",
        );
    }
    let events = bed
        .registry
        .events(moorline_server::registry::model::EventFilter {
            account: Some(bed.account),
            limit: 100,
            ..Default::default()
        });
    let kinds: Vec<String> = events
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    for kind in [
        "api_client.created",
        "api_client.changed",
        "api_client.deleted",
        "api_key.shown",
        "api_key.changed",
        "api_key.regenerated",
    ] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
}

pub(crate) async fn others_may_not(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "x"})).await;
    let udo = token(bed, "udo-of-clients", Role::User).await;
    let stranger = bed
        .registry
        .create_account("strangers to clients")
        .await
        .unwrap()
        .id;
    let foreign = crate::apiclients::desk::root_of(bed, stranger).await;
    let basic = data_encoding::BASE64.encode(format!("{}:{}", by.id, by.secret).as_bytes());
    let mut seen = 0;
    for (method, path) in [
        ("GET", ROOT.to_owned()),
        ("POST", ROOT.to_owned()),
        ("GET", format!("{ROOT}/x")),
        ("PUT", format!("{ROOT}/x")),
        ("DELETE", format!("{ROOT}/x")),
        ("GET", format!("{ROOT}/x/apikey")),
        ("PUT", format!("{ROOT}/x/apikey")),
        ("POST", format!("{ROOT}/x/apikey")),
    ] {
        let reply = call(bed, &udo, method, &path, json!({})).await;
        refused(&reply, 403, "insufficient permissions");
        let reply = call(bed, &format!("Basic {basic}"), method, &path, json!({})).await;
        assert_eq!(reply.status, 401, "{method} {path}");
        let reply = with_authorization(bed, None, method, &path, b"{}").await;
        assert_eq!(reply.status, 401, "{method} {path}");
        seen += 1;
    }
    assert_eq!(seen, 8);
    assert_eq!(get(bed, &foreign, &at("x")).await.status, 404);
    assert_eq!(get(bed, &by, &at("x")).await.status, 200);
}
