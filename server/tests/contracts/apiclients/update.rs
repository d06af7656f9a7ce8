//! Section 4, Update.

use serde_json::json;

use crate::apiclients::desk::{ask, at, code, get, good, key_at, make, problems, refusal, root};
use crate::bed::{Bed, text};

pub(crate) async fn what_is_absent_stays(bed: &Bed) {
    let by = root(bed).await;
    let body = json!({
        "name": "x", "friendlyName": "X", "description": "d", "tags": ["t"], "rateLimit": 5,
        "limits": {"prefix": "cam"},
    });
    let made = make(bed, &by, body.clone()).await;
    let key = good(&get(bed, &by, &key_at("x")).await);
    for method in ["PUT", "POST"] {
        for same in [
            json!({}),
            body.clone(),
            made.clone(),
            json!({"unknown": 5, "id": "other"}),
        ] {
            let reply = ask(bed, &by, method, &at("x"), same).await;
            assert_eq!(good(&reply), made, "dateModified too");
        }
    }
    let sent_back = ask(bed, &by, "PUT", &key_at("x"), key.clone()).await;
    assert_eq!(good(&sent_back), key);
    let changed = good(&ask(bed, &by, "PUT", &at("x"), json!({"description": "e"})).await);
    assert_eq!(changed["description"], "e");
    assert!(text(&changed, "dateModified") > text(&made, "dateModified"));
    for name in [
        "id",
        "name",
        "friendlyName",
        "tags",
        "locked",
        "dateCreated",
    ] {
        assert_eq!(changed[name], made[name], "{name}");
    }
    assert_eq!(good(&get(bed, &by, &at("x")).await), changed);
    assert_eq!(good(&get(bed, &by, &key_at("x")).await), key);
}

pub(crate) async fn null_unsets_what_may_be_unset(bed: &Bed) {
    let by = root(bed).await;
    let body = json!({
        "name": "x", "friendlyName": "X", "description": "d", "tags": ["t"], "limits": {"uses": 5},
    });
    make(bed, &by, body).await;
    let nulls = json!({"friendlyName": null, "description": null, "tags": null, "limits": null});
    let changed = good(&ask(bed, &by, "PUT", &at("x"), nulls).await);
    assert_eq!(changed["friendlyName"], "x", "the name again");
    assert!(changed.get("description").is_none() && changed.get("tags").is_none());
    assert!(
        good(&get(bed, &by, &key_at("x")).await)
            .get("limits")
            .is_none()
    );
    let renamed = json!({"name": "y", "friendlyName": null});
    let renamed = good(&ask(bed, &by, "PUT", &at("x"), renamed).await);
    assert_eq!(renamed["friendlyName"], "y");
    for name in ["name", "locked", "context", "scope", "rateLimit"] {
        let reply = ask(bed, &by, "PUT", &at("y"), json!({name: null})).await;
        assert_eq!(code(&reply), refusal(400, "InvalidAttribute"), "{name}");
    }
}

pub(crate) async fn names_change_and_free_the_old_one(bed: &Bed) {
    let by = root(bed).await;
    let made = make(bed, &by, json!({"name": "old"})).await;
    make(bed, &by, json!({"name": "Taken"})).await;
    let reply = ask(bed, &by, "PUT", &at("old"), json!({"name": "tAKEN"})).await;
    assert_eq!(code(&reply), refusal(409, "NameAlreadyExists"));
    let renamed = good(&ask(bed, &by, "PUT", &at("old"), json!({"name": "new"})).await);
    assert_eq!(
        (&renamed["name"], &renamed["friendlyName"]),
        (&json!("new"), &json!("old"))
    );
    assert_eq!(renamed["id"], made["id"]);
    assert_eq!(get(bed, &by, &at("old")).await.status, 404);
    let recased = good(&ask(bed, &by, "PUT", &at("new"), json!({"name": "NEW"})).await);
    assert_eq!(recased["name"], "NEW", "its own name in another case");
    make(bed, &by, json!({"name": "old"})).await;
}

pub(crate) async fn it_is_all_or_nothing(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "taken"})).await;
    let made = make(bed, &by, json!({"name": "x"})).await;
    let key = good(&get(bed, &by, &key_at("x")).await);
    let bodies = [
        json!({"description": "new", "rateLimit": 7, "scope": ["nothing"]}),
        json!({"description": "new", "rateLimit": 7, "context": {"type": "device", "ids": ["nobody"]}}),
        json!({"description": "new", "rateLimit": 7, "name": "taken"}),
    ];
    for body in bodies {
        let (status, _) = problems(&ask(bed, &by, "PUT", &at("x"), body.clone()).await);
        assert!(matches!(status, 400 | 409), "{body}");
        assert_eq!(good(&get(bed, &by, &at("x")).await), made);
        assert_eq!(good(&get(bed, &by, &key_at("x")).await), key);
    }
}

pub(crate) async fn key_attributes_change_the_key(bed: &Bed) {
    let by = root(bed).await;
    let device = bed.device(&[("name", "One")]).await;
    let made = make(bed, &by, json!({"name": "x"})).await;
    let mut key = good(&get(bed, &by, &key_at("x")).await);
    for (path, body) in [
        (at("x"), json!({"scope": ["device:read"], "rateLimit": "9"})),
        (
            key_at("x"),
            json!({"context": {"type": "device", "ids": ["one"]}, "name": "ignored"}),
        ),
        (
            key_at("x"),
            json!({"limits": {"uses": 3, "expiresAt": "2037-01-01T00:00:00Z"}}),
        ),
        (key_at("x"), json!({"limits": {"prefix": "cam"}})),
    ] {
        good(&ask(bed, &by, "PUT", &path, body).await);
        let changed = good(&get(bed, &by, &key_at("x")).await);
        assert_eq!(
            (&changed["id"], &changed["secret"]),
            (&key["id"], &key["secret"])
        );
        assert_eq!(changed["dateCreated"], key["dateCreated"]);
        assert!(text(&changed, "dateModified") > text(&key, "dateModified"));
        key = changed;
    }
    assert_eq!(key["scope"], json!(["device:read"]));
    assert_eq!(key["rateLimit"], 9);
    assert_eq!(key["context"], json!({"type": "device", "ids": [device]}));
    assert_eq!(
        key["limits"],
        json!({"prefix": "cam"}),
        "limits are one attribute"
    );
    assert_eq!(good(&get(bed, &by, &at("x")).await)["name"], made["name"]);
}
