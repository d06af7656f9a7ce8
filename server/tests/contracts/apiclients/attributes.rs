//! Section 4: what the attributes of an API client may be.

use serde_json::{Value, json};

use crate::apiclients::desk::{
    ALL, ask, get, good, key_at, make, problem, problems, root, root_of, scoped,
};
use crate::bed::{Bed, text};

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
    let wide = scoped(bed, &[&all[..], &more].concat()).await;
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
    let elsewhere = root_of(bed, other.id).await;
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
