//! Section 4, Locked.

use serde_json::{Value, json};

use crate::apiclients::desk::{ask, at, code, get, good, key_at, make, problem, refusal, root};
use crate::bed::{Bed, text};

pub(crate) async fn a_locked_client_stays_as_it_is(bed: &Bed) {
    let by = root(bed).await;
    let made = make(bed, &by, json!({"name": "x", "locked": true})).await;
    let key = good(&get(bed, &by, &key_at("x")).await);
    for (method, path, body) in [
        ("PUT", at("x"), json!({})),
        ("PUT", at("x"), json!({"locked": true})),
        ("PUT", at("x"), json!({"description": "new"})),
        (
            "POST",
            at("x"),
            json!({"locked": false, "description": "new"}),
        ),
        ("PUT", at("x"), json!({"locked": false, "rateLimit": 5})),
        ("PUT", at("x"), json!({"locked": false, "name": "X"})),
        ("PUT", key_at("x"), json!({"rateLimit": 5})),
        ("PUT", key_at("x"), json!({})),
        ("DELETE", at("x"), Value::Null),
    ] {
        let reply = ask(bed, &by, method, &path, body.clone()).await;
        let (status, code, message) = problem(&reply);
        assert_eq!(
            (status, code.as_str()),
            (409, "EntityLocked"),
            "{method} {body}"
        );
        assert_eq!(message, "This API client is locked. Unlock it first.");
    }
    assert_eq!(good(&get(bed, &by, &at("x")).await), made);
    assert_eq!(good(&get(bed, &by, &key_at("x")).await), key);
}

pub(crate) async fn unlocking_is_the_only_change_it_takes(bed: &Bed) {
    let by = root(bed).await;
    let made = make(
        bed,
        &by,
        json!({"name": "x", "locked": true, "tags": ["a"], "rateLimit": 5}),
    )
    .await;
    let mut sent_back = made.clone();
    sent_back["locked"] = json!(false);
    sent_back["rateLimit"] = json!("5");
    let unlocked = good(&ask(bed, &by, "PUT", &at("x"), sent_back).await);
    assert_eq!(unlocked["locked"], false);
    assert!(text(&unlocked, "dateModified") > text(&made, "dateModified"));
    let locked = json!({"locked": true, "description": "last word"});
    let locked = good(&ask(bed, &by, "PUT", &at("x"), locked).await);
    assert_eq!(
        (&locked["locked"], &locked["description"]),
        (&json!(true), &json!("last word"))
    );
    let reply = ask(bed, &by, "DELETE", &at("x"), Value::Null).await;
    assert_eq!(code(&reply), refusal(409, "EntityLocked"));
    good(&ask(bed, &by, "POST", &at("x"), json!({"locked": false})).await);
    let gone = good(&ask(bed, &by, "DELETE", &at("x"), Value::Null).await);
    assert_eq!(gone, json!({"nrOfItems": 1}));
}

pub(crate) async fn its_key_can_be_regenerated(bed: &Bed) {
    let by = root(bed).await;
    let made = make(bed, &by, json!({"name": "x", "locked": true})).await;
    let old = good(&get(bed, &by, &key_at("x")).await);
    let new = good(&ask(bed, &by, "POST", &key_at("x"), json!({})).await);
    assert_ne!((&new["id"], &new["secret"]), (&old["id"], &old["secret"]));
    assert_eq!(good(&get(bed, &by, &at("x")).await), made, "still locked");
}
