//! An id of another account answers exactly as an id that does not exist.

use serde_json::{Value, json};

use crate::apiclients::desk::{ALL, ask, at, get, good, key_at, make, root, root_of};
use crate::bed::{Bed, text};

pub(crate) async fn another_account_sees_and_changes_nothing(bed: &Bed) {
    let by = root(bed).await;
    let own = bed.registry.account(bed.account).await.unwrap().unwrap();
    let made = make(bed, &by, json!({"name": "ours", "tags": ["t"]})).await;
    let key = good(&get(bed, &by, &key_at("ours")).await);
    let stranger = bed.registry.create_account("the neighbours").await.unwrap();
    let foreign = root_of(bed, stranger.id).await;
    let (id, key_id) = (text(&made, "id"), text(&key, "id"));
    let mut seen = 0;
    for (method, suffix, body) in [
        ("GET", "", Value::Null),
        ("PUT", "", json!({"description": "theirs"})),
        ("POST", "", json!({"locked": true})),
        ("DELETE", "", Value::Null),
        ("GET", "/apikey", Value::Null),
        ("PUT", "/apikey", json!({"rateLimit": 1})),
        ("POST", "/apikey", Value::Null),
    ] {
        let answer = async |reference: &str| {
            let path = format!("{}{suffix}", at(reference));
            let reply = ask(bed, &foreign, method, &path, body.clone()).await;
            (reply.status, reply.body)
        };
        let unknown = answer("_api_000000000000000000").await;
        for reference in [id.as_str(), "ours", key_id.as_str()] {
            assert_eq!(
                answer(reference).await,
                unknown,
                "{method} {reference}{suffix}"
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 21);
    for query in ["", "?name=ours", "?tags=t", "?friendlyName=ours"] {
        let page = good(&get(bed, &foreign, &format!("{ALL}{query}")).await);
        assert!(!page.to_string().contains(&id), "{page}");
    }
    let unknown = get(
        bed,
        &foreign,
        "/v3/accounts/_acc_000000000000000001/apiclients",
    )
    .await;
    for account in [&own.uid, &own.name] {
        let path = format!("/v3/accounts/{account}/apiclients");
        let reply = get(bed, &foreign, &path).await;
        assert_eq!((reply.status, &reply.body), (404, &unknown.body));
    }
    assert_eq!(good(&get(bed, &by, &at("ours")).await), made);
    assert_eq!(good(&get(bed, &by, &key_at("ours")).await), key);
    let unknown = get(bed, &by, &at(&key_id)).await;
    assert_eq!(unknown.status, 404, "the id of a key names no API client");
}
