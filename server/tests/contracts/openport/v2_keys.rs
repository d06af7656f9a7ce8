//! Section 3: `keys/`.

use moorline_protocol::scope::Scope;
use moorline_server::registry::model::{
    AccountId, EventFilter, KeyLimits, KeyNaming, NewKeyedDevice, PublicKey, Timestamp,
};
use serde_json::{Value, json};

use crate::bed::{Bed, KeyWish, public_key, text};
use crate::openport::v2;

const FIELDS: [&str; 9] = [
    "url",
    "public_key",
    "name",
    "id",
    "last_connection_time",
    "creation_time",
    "redirect_token",
    "bytes_this_month",
    "counter_reset_time",
];

pub(crate) async fn an_item_has_exactly_these_fields(bed: &Bed) {
    let line = format!("  {}   me @home ", public_key());
    let item = v2::made(bed, &json!({"public_key": line, "name": "cam"})).await;
    let object = item.as_object().unwrap();
    assert_eq!(object.len(), FIELDS.len());
    assert!(FIELDS.iter().all(|field| object.contains_key(*field)));
    let id = item["id"].as_i64().unwrap();
    assert_eq!(text(&item, "url"), format!("http://x/api/v2/keys/{id}/"));
    let kept = line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(text(&item, "public_key"), kept);
    assert_eq!((item["name"].clone(), id > 0), ("cam".into(), true));
    assert_eq!(item["last_connection_time"], Value::Null);
    assert_eq!(item["bytes_this_month"], 0);
    let made = text(&item, "creation_time");
    assert_eq!(made.len(), "2026-11-22T03:24:17+00:00".len());
    assert!(made.ends_with("+00:00"), "{made}");
    let at = Timestamp::from_rfc3339(&made).unwrap();
    assert!((0..60).contains(&(Timestamp::now().unix_seconds() - at.unix_seconds())));
    let reset = text(&item, "counter_reset_time");
    assert_eq!(reset.len(), "2026-11-01T00:00:00.000000+00:00".len());
    let reset = Timestamp::from_rfc3339(&reset).unwrap();
    assert_eq!(reset.unix_seconds(), at.unix_seconds(), "made this month");
    let token = text(&item, "redirect_token");
    assert!(token.len() == 8 && token.chars().all(|c| c.is_ascii_alphanumeric()));
    assert_eq!(v2::key(bed, &item["id"]).await, item);
    assert_eq!(v2::results(bed, &bed.key, "keys/").await, [item]);
    let device = bed.registry.device_by_number(id).await.unwrap().unwrap();
    assert!(device.forwards.is_empty(), "none until it asks for one");
    let listed = bed.list(&bed.key).await;
    assert_eq!(text(&listed[0], "client_id"), device.id.to_string());
    let enrolled = bed.device(&[("name", "keyless")]).await;
    let number = v2::number_of(bed, &enrolled).await;
    assert_eq!(v2::key(bed, &number.into()).await["public_key"], "");
}

pub(crate) async fn names_are_made_up_when_none_is_given(bed: &Bed) {
    let named = async |comment: &str| {
        let key = format!("{} {comment}", public_key());
        let item = v2::made(bed, &json!({ "public_key": key })).await;
        (text(&item, "name"), item["id"].as_i64().unwrap())
    };
    assert_eq!(named("pi@küche 2").await.0, "pi@küche 2");
    let (name, id) = named("PI@küche 2").await;
    assert_eq!(name, format!("key{id}"), "the comment is taken");
    let (name, id) = named("").await;
    assert_eq!(name, format!("key{id}"));
    let (name, id) = named(&"x".repeat(65)).await;
    assert_eq!(name, format!("key{id}"), "no name");
    let squatted = json!({"public_key": public_key(), "name": format!("KEY{}", id + 2)});
    v2::made(bed, &squatted).await;
    let (name, number) = named("").await;
    // The next number may have gone to somebody else meanwhile; here nobody else makes keys.
    assert_eq!((name, number), (format!("key{number}-2"), id + 2));
}

pub(crate) async fn public_keys_and_names_are_unique(bed: &Bed) {
    let (ours, theirs) = (public_key(), public_key());
    let item = v2::made(bed, &json!({"public_key": ours, "name": "One"})).await;
    let account = bed.registry.create_account("v2-unique").await.unwrap().id;
    let token = bed.key_of(account, KeyWish::default()).await;
    let new = json!({ "public_key": theirs });
    let made = v2::with_token(bed, &token, "POST", "keys/", &new).await;
    assert_eq!(made.status, 201);
    let taken = json!({"public_key": ["key with this public key already exists."]});
    let (kind, data) = ours.split_once(' ').unwrap();
    let broken = format!("{kind} {} {} other comment", &data[..30], &data[30..]);
    for key in [&ours, &theirs, &broken] {
        let reply = v2::send(bed, "POST", "keys/", &json!({ "public_key": key })).await;
        v2::refused(&reply, 400, &taken);
    }
    let anonymous = public_key();
    let nobody = NewKeyedDevice {
        account: AccountId(0),
        public_key: PublicKey::parse(&anonymous).unwrap(),
        naming: KeyNaming::Number,
        ip_link_protection: true,
        metadata: json!({}),
    };
    bed.registry.create_keyed_device(nobody).await.unwrap();
    let reply = v2::send(bed, "POST", "keys/", &json!({"public_key": anonymous})).await;
    v2::refused(&reply, 400, &taken);
    let second = v2::made(bed, &json!({"public_key": public_key(), "name": "two"})).await;
    let path = format!("keys/{}/", second["id"]);
    for key in [&ours, &theirs] {
        let reply = v2::send(bed, "PATCH", &path, &json!({ "public_key": key })).await;
        v2::refused(&reply, 400, &taken);
    }
    let reply = v2::send(bed, "PUT", &path, &json!({"name": "oNE"})).await;
    let name_taken = json!({"name": ["key with this name already exists."]});
    v2::refused(&reply, 400, &name_taken);
    assert_eq!(v2::key(bed, &second["id"]).await, second);
    assert_eq!(v2::key(bed, &item["id"]).await, item);
    let many = (0..8).map(|_| {
        let new = json!({"public_key": ours.replace("ssh-", " ssh-"), "name": "race"});
        async move { v2::send(bed, "POST", "keys/", &new).await.status }
    });
    let statuses = futures::future::join_all(many).await;
    assert_eq!(statuses, [400; 8]);
    let key = public_key();
    let same = (0..8).map(|n| {
        let new = json!({"public_key": key, "name": format!("race{n}")});
        async move { v2::send(bed, "POST", "keys/", &new).await.status }
    });
    let mut statuses = futures::future::join_all(same).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400, 400, 400, 400, 400, 400, 400]);
}

pub(crate) async fn names_are_printable_text(bed: &Bed) {
    let item = v2::made(bed, &json!({"public_key": public_key(), "name": "  a b  "})).await;
    assert_eq!(item["name"], "a b", "without the blanks at its ends");
    let path = format!("keys/{}/", item["id"]);
    let rename = async |name: &str| v2::send(bed, "PATCH", &path, &json!({ "name": name })).await;
    let longest = "ö".repeat(64);
    for name in ["(1) Büro", "x", "$(id) 'q' \"d\" \\", longest.as_str()] {
        assert_eq!(rename(name).await.json()["name"], name);
    }
    for name in ["a\nb", "a\tb", "\u{0}", "a\u{202e}b"] {
        let refused = json!({"name": ["Enter a valid value."]});
        v2::refused(&rename(name).await, 400, &refused);
    }
    // What is printable here has to be harmless where the name goes.
    let quoted = rename("x'; id; '").await.json();
    let id = bed
        .registry
        .device_by_number(quoted["id"].as_i64().unwrap())
        .await
        .unwrap()
        .unwrap()
        .id
        .to_string();
    let script = bed.get("get_client_script", &[("client_id", &id)]).await;
    assert!(script.body.contains("CLIENT_NAME='x__ id_ _'\n"));
}

pub(crate) async fn a_key_is_renamed_and_rekeyed(bed: &Bed) {
    let first = public_key();
    let item = v2::made(bed, &json!({"public_key": first, "name": "old"})).await;
    let path = format!("keys/{}/", item["id"]);
    let put = v2::send(bed, "PUT", &path, &json!({"name": "new"})).await;
    assert_eq!(put.status, 200);
    let expected = |name: &str, key: &str| {
        let mut item = item.clone();
        item["name"] = name.into();
        item["public_key"] = key.into();
        item
    };
    assert_eq!(put.json(), expected("new", &first));
    let second = public_key();
    let patched = v2::send(bed, "PATCH", &path, &json!({ "public_key": second })).await;
    assert_eq!(patched.json(), expected("new", &second));
    let both = json!({"name": "both", "public_key": format!("{first} mine")});
    let put = v2::send(bed, "PUT", &path, &both).await;
    assert_eq!(put.json(), expected("both", &format!("{first} mine")));
    let comment = json!({"public_key": format!("{first} yours")});
    let patched = v2::send(bed, "PATCH", &path, &comment).await;
    assert_eq!(patched.json(), expected("both", &format!("{first} yours")));
    let nothing = v2::send(bed, "PATCH", &path, &json!({})).await;
    assert_eq!((nothing.status, nothing.json()), (200, patched.json()));
    assert_eq!(v2::key(bed, &item["id"]).await, patched.json());
    let free = v2::made(bed, &json!({"public_key": second, "name": "old"})).await;
    assert_ne!(free["id"], item["id"], "key and name are free again");
}

pub(crate) async fn an_item_can_be_sent_back_as_it_came(bed: &Bed) {
    let item = v2::made(bed, &json!({"public_key": public_key(), "name": "same"})).await;
    let keyless = bed.device(&[]).await;
    let keyless = v2::number_of(bed, &keyless).await;
    let keyless = v2::key(bed, &keyless.into()).await;
    for item in [item, keyless] {
        let path = format!("keys/{}/", item["id"]);
        for method in ["PUT", "PATCH"] {
            let reply = v2::send(bed, method, &path, &item).await;
            assert_eq!((reply.status, reply.json()), (200, item.clone()));
        }
        let mut changed = item.clone();
        changed["id"] = 1.into();
        changed["redirect_token"] = "x".into();
        changed["bytes_this_month"] = "many".into();
        changed["unknown"] = json!({});
        let reply = v2::send(bed, "PUT", &path, &changed).await;
        assert_eq!(reply.json(), item, "what is not writable is ignored");
    }
}

pub(crate) async fn a_deleted_key_is_gone_everywhere(bed: &Bed) {
    let key = public_key();
    let item = v2::made(bed, &json!({"public_key": key, "name": "gone"})).await;
    let path = format!("keys/{}/", item["id"]);
    let reply = v2::send(bed, "DELETE", &path, &Value::Null).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    for method in ["GET", "PUT", "DELETE"] {
        let reply = v2::send(bed, method, &path, &json!({"name": "x"})).await;
        v2::detail(&reply, 404, "Not found.");
    }
    assert!(bed.list(&bed.key).await.is_empty());
    let again = v2::made(bed, &json!({"public_key": key, "name": "gone"})).await;
    assert_ne!(again["id"], item["id"]);
    let enrolled = bed.device(&[]).await;
    let number = v2::number_of(bed, &enrolled).await;
    let removed = bed.code("delete_client", &[("client_id", &enrolled)]).await;
    assert_eq!(removed, 0);
    let reply = v2::get(bed, &format!("keys/{number}/")).await;
    v2::detail(&reply, 404, "Not found.");
}

/// `prefix`, `region` and `uses` are for `create_new_client`.
pub(crate) async fn limits_of_a_token_do_not_bind_here(bed: &Bed) {
    let limits = KeyLimits {
        prefix: Some("cam".into()),
        region: Some("local".into()),
        uses: Some(0),
        expires_at: None,
    };
    let wish = KeyWish {
        scopes: vec![Scope::DeviceCreate],
        limits,
        ..KeyWish::default()
    };
    let token = bed.make_key(wish).await;
    let refused = bed.bare("create_new_client", &[("api_key", &token)]).await;
    assert_eq!(refused.verdict().0, 32, "used up there");
    let new = json!({"public_key": public_key(), "name": "not cam"});
    let made = v2::with_token(bed, &token, "POST", "keys/", &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

pub(crate) async fn what_was_changed_stands_in_the_audit(bed: &Bed) {
    let item = v2::made(bed, &json!({"public_key": public_key(), "name": "a"})).await;
    let path = format!("keys/{}/", item["id"]);
    let change = json!({"name": "b", "public_key": public_key()});
    assert_eq!(v2::send(bed, "PUT", &path, &change).await.status, 200);
    let settings =
        json!({"state": "blocked", "max_connections_per_minute": 1, "ip_link_protection": false});
    let set = v2::send(bed, "PUT", &format!("{path}settings/"), &settings).await;
    assert_eq!(set.status, 200);
    let gone = v2::send(bed, "DELETE", &path, &Value::Null).await;
    assert_eq!(gone.status, 204);
    let filter = EventFilter {
        account: Some(bed.account),
        limit: 100,
        ..EventFilter::default()
    };
    let events = bed.registry.events(filter).await.unwrap();
    let kinds: Vec<_> = events
        .iter()
        .rev()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "device.created",
            "device.renamed",
            "device.rekeyed",
            "device.settings",
            "device.settings",
            "device.state",
            "device.deleted",
        ]
    );
    let keys = bed.registry.api_keys(bed.account).await.unwrap();
    let id = &keys[0].id;
    assert!(events.iter().all(|event| event.metadata["api_key"] == **id));
    assert!(events.iter().all(|event| !event.message.contains(&bed.key)));
}
