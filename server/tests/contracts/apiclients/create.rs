//! Sections 4 and 5: what a create takes, makes up and refuses.

use serde_json::{Value, json};

use crate::apiclients::desk::{ALL, ask, at, get, good, key_at, make, problem, root, send};
use crate::bed::{Bed, text};

pub(crate) async fn nothing_given_makes_the_default(bed: &Bed) {
    let by = root(bed).await;
    for body in [
        &b""[..],
        b"{}",
        b"  \n",
        br#"{"id":"_api_1","accountId":5,"colour":null,"dateCreated":[]}"#,
    ] {
        let made = good(&send(bed, Some(&by), "POST", ALL, body).await);
        let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
        let expected = [
            "accountId",
            "dateCreated",
            "dateModified",
            "friendlyName",
            "id",
            "locked",
            "name",
        ];
        assert_eq!(keys, expected);
        let name = text(&made, "name");
        let random = name.strip_prefix("apiclient_").unwrap();
        assert!(
            random.len() == 8
                && random
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
        assert_eq!(text(&made, "friendlyName"), name);
        assert_eq!(made["locked"], false);
        is_id(&text(&made, "id"), "_api_");
        is_id(&text(&made, "accountId"), "_acc_");
        is_time(&text(&made, "dateCreated"));
        assert_eq!(made["dateCreated"], made["dateModified"]);
        assert_eq!(good(&get(bed, &by, &at(&name)).await), made);
        let key = good(&get(bed, &by, &key_at(&name)).await);
        let keys: Vec<&String> = key.as_object().unwrap().keys().collect();
        let expected = [
            "accountId",
            "context",
            "dateCreated",
            "dateModified",
            "id",
            "ownerId",
            "rateLimit",
            "scope",
            "secret",
        ];
        assert_eq!(keys, expected);
        is_id(&text(&key, "id"), "_key_");
        let secret = text(&key, "secret");
        assert!(
            secret.len() == 32
                && secret
                    .chars()
                    .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        );
        assert_eq!(key["ownerId"], made["id"]);
        assert_eq!(
            key["context"],
            json!({"type": "account", "ids": [made["accountId"]]})
        );
        assert_eq!(key["scope"], json!(["device:create", "device:read"]));
        assert_eq!(key["rateLimit"], 600);
        is_time(&text(&key, "dateCreated"));
        is_time(&text(&key, "dateModified"));
    }
}

fn is_id(id: &str, prefix: &str) {
    let digits = id.strip_prefix(prefix).unwrap();
    assert!(
        digits.len() == 18 && digits.chars().all(|c| c.is_ascii_digit()),
        "{id}"
    );
}

/// `2026-11-22T03:24:17.512Z`.
fn is_time(time: &str) {
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{time}");
}

pub(crate) async fn everything_given_is_kept(bed: &Bed) {
    let by = root(bed).await;
    let account = bed.registry.account(bed.account).await.unwrap().unwrap();
    let body = json!({
        "name": "Camera.line-3_x", "friendlyName": "Camera line 3 – Kühe", "description": "First\nboot",
        "tags": ["factory", "line3"], "locked": true,
        "context": {"type": "account", "ids": [account.uid]},
        "scope": ["device:read", "device:create", "device:read", "user:delete", "app:write-data", "account:read"],
        "rateLimit": "42",
        "limits": {"prefix": "cam", "region": "local", "uses": 5000, "expiresAt": "2037-01-01T01:00:00.000+01:00"},
    });
    // Whoever gives it all has it all.
    let wide = ["user:delete", "app:write-data", "account:read"];
    let all = moorline_protocol::scope::Scope::ALL.map(|scope| scope.as_str());
    let by_all = crate::apiclients::desk::scoped(bed, &[&all[..], &wide].concat()).await;
    let made = make(bed, &by_all, body.clone()).await;
    for name in ["name", "friendlyName", "description", "tags", "locked"] {
        assert_eq!(made[name], body[name], "{name}");
    }
    let key = good(&get(bed, &by_all, &key_at("camera.LINE-3_x")).await);
    assert_eq!(key["context"], body["context"]);
    let once = [
        "device:read",
        "device:create",
        "user:delete",
        "app:write-data",
        "account:read",
    ];
    assert_eq!(key["scope"], json!(once), "each once, in the order given");
    assert_eq!(key["rateLimit"], 42);
    let limits = json!({"prefix": "cam", "region": "local", "uses": 5000, "expiresAt": "2037-01-01T00:00:00.000Z"});
    assert_eq!(key["limits"], limits);
    let empty = make(bed, &by, json!({"scope": [], "tags": [], "rateLimit": -1})).await;
    let key = good(&get(bed, &by, &key_at(&text(&empty, "id"))).await);
    assert_eq!((&key["scope"], &key["rateLimit"]), (&json!([]), &json!(-1)));
}

pub(crate) async fn a_name_is_made_of_the_friendly_name(bed: &Bed) {
    let by = root(bed).await;
    for (friendly, name) in [
        ("Camera line 3", "camera_line_3"),
        ("camera LINE 3", "camera_line_3_2"),
        ("  Camera, line: 3!", "camera_line_3_3"),
        ("3rd", "c_3rd"),
        ("日本", "c_"),
    ] {
        let made = make(bed, &by, json!({"friendlyName": friendly})).await;
        assert_eq!(text(&made, "name"), name, "{friendly}");
        assert_eq!(text(&made, "friendlyName"), friendly);
    }
    let long = "x".repeat(128);
    for end in ["xxx", "x_2", "x_3"] {
        let name = text(&make(bed, &by, json!({"friendlyName": long})).await, "name");
        assert!(name.len() == 64 && name.ends_with(end), "{name}");
    }
    let unset = make(bed, &by, json!({"name": "Given", "friendlyName": null})).await;
    assert_eq!(text(&unset, "friendlyName"), "Given");
}

pub(crate) async fn parallel_calls_get_names_of_their_own(bed: &Bed) {
    let by = root(bed).await;
    let calls = (0..20).map(|_| make(bed, &by, json!({"friendlyName": "Same for all"})));
    let made = futures::future::join_all(calls).await;
    let mut names: Vec<String> = made.iter().map(|client| text(client, "name")).collect();
    names.sort();
    let mut expected: Vec<String> = (2..=20).map(|n| format!("same_for_all_{n}")).collect();
    expected.push("same_for_all".into());
    expected.sort();
    assert_eq!(names, expected);
}

pub(crate) async fn names_are_unique_without_case(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "Camera"})).await;
    let reply = ask(bed, &by, "POST", ALL, json!({"name": "cAMERA"})).await;
    let (status, code, message) = problem(&reply);
    assert_eq!((status, code.as_str()), (409, "NameAlreadyExists"));
    assert_eq!(message, "An API client named cAMERA exists already.");
    let other = bed
        .registry
        .create_account("names elsewhere")
        .await
        .unwrap()
        .id;
    let elsewhere = crate::apiclients::desk::root_of(bed, other).await;
    make(bed, &elsewhere, json!({"name": "camera"})).await;
}

pub(crate) async fn compatible_clients_get_what_they_rely_on(bed: &Bed) {
    let by = root(bed).await;
    // As the SDK of the compatible service asks: context and scope given, name absent, by the longer root.
    let path = "/v3/accounts/_this_/apiclients";
    let body = json!({"context": {"type": "account", "ids": ["_this_"]}, "scope": ["device:read"]});
    let made = good(&ask(bed, &by, "POST", path, body).await);
    for name in [
        "id",
        "accountId",
        "name",
        "friendlyName",
        "dateCreated",
        "dateModified",
    ] {
        assert!(made[name].is_string(), "{name}");
    }
    let at = format!("{path}/{}", text(&made, "id"));
    let key = good(&get(bed, &by, &format!("{at}/apikey")).await);
    for name in [
        "id",
        "secret",
        "ownerId",
        "accountId",
        "dateCreated",
        "dateModified",
    ] {
        assert!(key[name].is_string(), "{name}");
    }
    assert!(key["context"].is_object() && key["scope"].is_array() && key["rateLimit"].is_number());
    let updated = ask(bed, &by, "POST", &at, json!({"friendlyName": "By POST"})).await;
    assert_eq!(good(&updated)["friendlyName"], "By POST");
    let body = json!({"id": made["id"]});
    let renewed = good(&ask(bed, &by, "POST", &format!("{at}/apikey"), body).await);
    assert_ne!(renewed["secret"], key["secret"]);
    let page = good(&get(bed, &by, path).await);
    let mut keys: Vec<&String> = page.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "itemCount",
            "numOfPages",
            "pageNo",
            "results",
            "skip",
            "total"
        ]
    );
    let deleted = ask(bed, &by, "DELETE", &at, Value::Null).await;
    assert_eq!(good(&deleted), json!({"nrOfItems": 1}));
    let again = ask(bed, &by, "DELETE", &at, Value::Null).await;
    assert_eq!(good(&again), json!({"nrOfItems": 0}));
}
