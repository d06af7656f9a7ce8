//! Section 4, Regenerate and Delete: a key means the same on every surface, from the next call on.

use serde_json::{Value, json};

use crate::apiclients::desk::{ALL, Holder, ask, at, code, get, good, key_at, make, refusal, root};
use crate::bed::{Bed, text};

async fn provisioning(bed: &Bed, call: &str, secret: &str) -> u64 {
    bed.bare(call, &[("api_key", secret)]).await.verdict().0
}

pub(crate) async fn the_secret_is_what_other_surfaces_carry(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "x"})).await;
    let secret = text(&good(&get(bed, &by, &key_at("x")).await), "secret");
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 0);
    assert_eq!(provisioning(bed, "device_list", &secret).await, 0);
    let none = make(bed, &by, json!({"scope": []})).await;
    let secret = text(
        &good(&get(bed, &by, &key_at(&text(&none, "name"))).await),
        "secret",
    );
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 32);
}

pub(crate) async fn a_regenerated_key_is_refused_at_once_everywhere(bed: &Bed) {
    let by = root(bed).await;
    let every = moorline_protocol::scope::Scope::ALL.map(|scope| scope.as_str());
    let limits = json!({"prefix": "cam", "uses": 50});
    let made = make(
        bed,
        &by,
        json!({"name": "x", "scope": every, "rateLimit": 77, "limits": limits}),
    )
    .await;
    let mut old = good(&get(bed, &by, &key_at("x")).await);
    for body in [Value::Null, json!({"id": made["id"]}), json!([5])] {
        // A factory line has just used it, so it is remembered.
        let made = bed
            .bare("create_new_client", &[("api_key", &text(&old, "secret"))])
            .await;
        assert_eq!(made.verdict().0, 0);
        let uses = good(&get(bed, &by, &key_at("x")).await)["limits"]["uses"].clone();
        let new = good(&ask(bed, &by, "POST", &key_at("X"), body).await);
        assert_ne!(new["id"], old["id"]);
        assert_ne!(new["secret"], old["secret"]);
        for name in ["ownerId", "accountId", "context", "scope", "rateLimit"] {
            assert_eq!(new[name], old[name], "{name}");
        }
        assert_eq!(new["limits"], json!({"prefix": "cam", "uses": uses}));
        assert!(text(&new, "dateCreated") > text(&old, "dateCreated"));
        assert_eq!(new["dateCreated"], new["dateModified"]);
        let secret = text(&old, "secret");
        for call in ["create_new_client", "device_list", "client_status"] {
            assert_eq!(provisioning(bed, call, &secret).await, 32, "{call}");
        }
        let old_pair = Holder::of(&old);
        assert_eq!(
            code(&get(bed, &old_pair, ALL).await),
            refusal(401, "InvalidCredentials")
        );
        let mixed = Holder {
            id: old_pair.id,
            secret: text(&new, "secret"),
        };
        assert_eq!(
            code(&get(bed, &mixed, ALL).await),
            refusal(401, "InvalidCredentials")
        );
        assert_eq!(get(bed, &Holder::of(&new), ALL).await.status, 200);
        assert_eq!(
            provisioning(bed, "create_new_client", &text(&new, "secret")).await,
            0
        );
        old = good(&get(bed, &by, &key_at("x")).await);
        assert_eq!(old["secret"], new["secret"]);
    }
}

pub(crate) async fn a_changed_key_works_from_the_next_call_on(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "x"})).await;
    let secret = text(&good(&get(bed, &by, &key_at("x")).await), "secret");
    let change = async |body: Value| {
        good(&ask(bed, &by, "PUT", &key_at("x"), body).await);
    };
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 0);
    change(json!({"scope": ["device:read"]})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 32);
    assert_eq!(provisioning(bed, "device_list", &secret).await, 0);
    change(json!({"scope": ["device:create"]})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 0);
    assert_eq!(provisioning(bed, "device_list", &secret).await, 32);
    change(json!({"context": {"type": "app", "ids": ["x"]}})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 32);
    change(json!({"context": {"type": "account", "ids": ["_this_"]}})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 0);
    change(json!({"limits": {"uses": 0}})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 32);
    change(json!({"limits": {"expiresAt": "2020-01-01T00:00:00Z"}})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 32);
    change(json!({"limits": null})).await;
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 0);
}

pub(crate) async fn a_deleted_key_is_refused_at_once_everywhere(bed: &Bed) {
    let by = root(bed).await;
    let every = moorline_protocol::scope::Scope::ALL.map(|scope| scope.as_str());
    make(bed, &by, json!({"name": "x", "scope": every})).await;
    let key = good(&get(bed, &by, &key_at("x")).await);
    let secret = text(&key, "secret");
    assert_eq!(provisioning(bed, "create_new_client", &secret).await, 0);
    let unknown = ask(bed, &by, "DELETE", &at("nobody"), Value::Null).await;
    assert_eq!(good(&unknown), json!({"nrOfItems": 0}));
    let deleted = ask(bed, &by, "DELETE", &at("X"), Value::Null).await;
    assert_eq!(good(&deleted), json!({"nrOfItems": 1}));
    for call in ["create_new_client", "device_list"] {
        assert_eq!(provisioning(bed, call, &secret).await, 32, "{call}");
    }
    assert_eq!(
        code(&get(bed, &Holder::of(&key), ALL).await),
        refusal(401, "InvalidCredentials")
    );
    for path in [at("x"), key_at("x")] {
        assert_eq!(
            code(&get(bed, &by, &path).await),
            refusal(404, "ResourceNotFound")
        );
    }
    for method in ["POST", "PUT"] {
        let reply = ask(bed, &by, method, &key_at("x"), json!({})).await;
        assert_eq!(code(&reply), refusal(404, "ResourceNotFound"));
    }
    assert_eq!(
        bed.list(&bed.key).await.len(),
        1,
        "devices made with it stay"
    );
}

pub(crate) async fn whoever_regenerates_their_own_goes_on_with_the_answer(bed: &Bed) {
    let by = root(bed).await;
    let every = moorline_protocol::scope::Scope::ALL.map(|scope| scope.as_str());
    make(bed, &by, json!({"name": "self", "scope": every})).await;
    let own = Holder::of(&good(&get(bed, &by, &key_at("self")).await));
    let new = Holder::of(&good(
        &ask(bed, &own, "POST", &key_at("self"), Value::Null).await,
    ));
    assert_eq!(get(bed, &own, ALL).await.status, 401);
    assert_eq!(get(bed, &new, &at("self")).await.status, 200);
    let gone = ask(bed, &new, "DELETE", &at("self"), Value::Null).await;
    assert_eq!(good(&gone), json!({"nrOfItems": 1}), "their own, too");
    assert_eq!(get(bed, &new, ALL).await.status, 401);
}
