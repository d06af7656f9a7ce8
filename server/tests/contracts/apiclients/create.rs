//! Sections 4 and 5: what a create takes, makes up and refuses.

use serde_json::{Value, json};

use crate::apiclients::desk::{
    ALL, ask, at, get, good, key_at, make, problem, problems, root, send,
};
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

pub(crate) async fn every_problem_of_a_body_is_told(bed: &Bed) {
    let by = root(bed).await;
    let body = json!({
        "name": "3x", "friendlyName": 5, "description": [], "tags": "x", "locked": "yes",
        "context": {"type": "planet"}, "scope": ["apiclient:*"], "rateLimit": 1_000_001,
        "limits": {"prefix": "_", "region": "nowhere", "uses": "x", "expiresAt": 5},
    });
    let reply = ask(bed, &by, "POST", ALL, body).await;
    let (status, found) = problems(&reply);
    assert_eq!(status, 400);
    let named: Vec<(&str, &str)> = found
        .iter()
        .map(|(code, message)| (code.as_str(), message.split(' ').nth(1).unwrap()))
        .collect();
    let invalid = [
        "name",
        "friendlyName",
        "description",
        "tags",
        "locked",
        "context.type",
        "scope",
        "rateLimit",
        "limits.prefix",
        "limits.region",
        "limits.uses",
        "limits.expiresAt",
    ];
    for name in invalid {
        assert!(
            named.contains(&("InvalidAttribute", name)),
            "{name}: {named:?}"
        );
    }
    assert!(
        named.contains(&("MissingAttribute", "context.ids")),
        "{named:?}"
    );
    assert_eq!(named.len(), invalid.len() + 1, "{named:?}");
    let missing = found
        .iter()
        .find(|(code, _)| code == "MissingAttribute")
        .unwrap();
    assert_eq!(missing.1, "Attribute context.ids is required.");
    let empty = ask(bed, &by, "POST", ALL, json!({"context": {}})).await;
    assert_eq!(problems(&empty).1.len(), 2);
    let list = good(&get(bed, &by, ALL).await);
    assert_eq!(list["total"], 2, "nothing was made");
}

pub(crate) async fn values_at_their_bounds(bed: &Bed) {
    let tags = |count: usize, length: usize| -> Vec<String> {
        (0..count).map(|n| format!("{n:0>length$}")).collect()
    };
    let good_ones = [
        json!({"name": "a"}),
        json!({"name": format!("a{}", "9".repeat(63))}),
        json!({"friendlyName": "ü".repeat(128)}),
        json!({"description": "ü".repeat(1024)}),
        json!({"tags": tags(32, 64)}),
        json!({"tags": ["a^b", "a-", "ü b", "\"quoted\"", "["]}),
        json!({"rateLimit": 1}),
        json!({"rateLimit": 1_000_000}),
        json!({"limits": {"uses": 0}}),
        json!({"limits": {}}),
        json!({"scope": ["device:read-data", "deviceprofile:modify"]}),
    ];
    let all = moorline_protocol::scope::Scope::ALL.map(|scope| scope.as_str());
    let more = ["device:read-data", "deviceprofile:modify"];
    let wide = crate::apiclients::desk::scoped(bed, &[&all[..], &more].concat()).await;
    for body in good_ones {
        let reply = ask(bed, &wide, "POST", ALL, body.clone()).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.body);
    }
    let bad_ones = [
        (json!({"name": ""}), "name"),
        (json!({"name": "a".repeat(65)}), "name"),
        (json!({"name": "_x"}), "name"),
        (json!({"name": "a b"}), "name"),
        (json!({"name": "ä"}), "name"),
        (json!({"name": null}), "name"),
        (json!({"friendlyName": ""}), "friendlyName"),
        (json!({"friendlyName": "x".repeat(129)}), "friendlyName"),
        (json!({"friendlyName": "a\u{0}"}), "friendlyName"),
        (json!({"description": "x".repeat(1025)}), "description"),
        (json!({"tags": tags(33, 2)}), "tags"),
        (json!({"tags": [""]}), "tags"),
        (json!({"tags": ["x".repeat(65)]}), "tags"),
        (json!({"tags": ["a,b"]}), "tags"),
        (json!({"tags": ["-a"]}), "tags"),
        (json!({"tags": ["a^"]}), "tags"),
        (json!({"tags": [5]}), "tags"),
        (json!({"locked": null}), "locked"),
        (json!({"locked": 0}), "locked"),
        (json!({"scope": null}), "scope"),
        (json!({"scope": "device:read"}), "scope"),
        (json!({"scope": ["device:*"]}), "scope"),
        (json!({"scope": ["Device:read"]}), "scope"),
        (json!({"rateLimit": 0}), "rateLimit"),
        (json!({"rateLimit": -2}), "rateLimit"),
        (json!({"rateLimit": 1.5}), "rateLimit"),
        (json!({"rateLimit": "many"}), "rateLimit"),
        (json!({"rateLimit": null}), "rateLimit"),
        (json!({"limits": []}), "limits"),
        (
            json!({"limits": {"prefix": "x".repeat(33)}}),
            "limits.prefix",
        ),
        (json!({"limits": {"prefix": null}}), "limits.prefix"),
        (json!({"limits": {"uses": -1}}), "limits.uses"),
        (json!({"limits": {"region": "\u{0}"}}), "limits.region"),
        (
            json!({"limits": {"expiresAt": "2027-01-01"}}),
            "limits.expiresAt",
        ),
    ];
    for (body, name) in bad_ones {
        let reply = ask(bed, &wide, "POST", ALL, body.clone()).await;
        let (status, code, message) = problem(&reply);
        assert_eq!((status, code.as_str()), (400, "InvalidAttribute"), "{body}");
        assert!(
            message.starts_with(&format!("Attribute {name} ")),
            "{body}: {message}"
        );
    }
}

pub(crate) async fn contexts_name_what_is_there(bed: &Bed) {
    let by = root(bed).await;
    let one = bed.device(&[("name", "One")]).await;
    let two = bed.device(&[("name", "two")]).await;
    let context = async |context: Value| {
        let made = make(bed, &by, json!({"context": context})).await;
        good(&get(bed, &by, &key_at(&text(&made, "id"))).await)["context"].clone()
    };
    let devices = |ids: Value| json!({"type": "device", "ids": ids});
    let named = context(devices(json!(["ONE", two]))).await;
    assert_eq!(named, devices(json!([one, two])), "stored as UUIDs");
    let apps = json!({"type": "app", "ids": ["_app_1", "x"]});
    assert_eq!(context(apps.clone()).await, apps);
    let other = bed
        .registry
        .create_account("contexts elsewhere")
        .await
        .unwrap();
    let elsewhere = crate::apiclients::desk::root_of(bed, other.id).await;
    let refused = async |holder, context: Value| {
        let reply = ask(bed, holder, "POST", ALL, json!({"context": context})).await;
        let (status, code, message) = problem(&reply);
        assert_eq!(
            (status, code.as_str()),
            (400, "InvalidAttribute"),
            "{context}"
        );
        message
    };
    let foreign = refused(&elsewhere, devices(json!([one]))).await;
    let unknown = refused(
        &elsewhere,
        devices(json!(["00000000-0000-4000-8000-000000000000"])),
    )
    .await;
    assert_eq!(foreign, unknown, "as if it were not");
    for bad in [
        devices(json!([])),
        devices(json!(["nobody"])),
        devices(json!([one, "nobody"])),
        devices(json!(vec![one.as_str(); 1001])),
        json!({"type": "account", "ids": [other.uid]}),
        json!({"type": "account", "ids": []}),
        json!({"type": "account", "ids": "_this_"}),
        json!({"type": "user", "ids": ["x"]}),
        json!("account"),
        Value::Null,
    ] {
        let message = refused(&by, bad.clone()).await;
        assert!(message.starts_with("Attribute context"), "{message}");
    }
    let many = devices(json!(vec![one.as_str(); 1000]));
    assert_eq!(context(many).await, devices(json!([one])));
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
