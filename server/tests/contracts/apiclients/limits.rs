//! Limits of a key, and its rate over all surfaces.

use serde_json::json;

use crate::apiclients::desk::{ALL, Holder, code, get, good, key_at, make, problem, refusal, root};
use crate::bed::{Bed, public_key, text};

pub(crate) async fn limits_bind_and_run_out(bed: &Bed) {
    let by = root(bed).await;
    let limits = json!({"prefix": "cam", "region": "local", "uses": 2, "expiresAt": "2037-01-01T00:00:00.000Z"});
    make(bed, &by, json!({"name": "x", "limits": limits})).await;
    let key = good(&get(bed, &by, &key_at("x")).await);
    assert_eq!(key["limits"], limits);
    let secret = text(&key, "secret");
    let known = public_key();
    let first = [("api_key", secret.as_str()), ("public_key", known.as_str())];
    let made = bed.bare("create_new_client", &first).await;
    assert_eq!(text(&made.json(), "client_name"), "cam000001");
    let elsewhere = [("api_key", secret.as_str()), ("region", "mars")];
    assert_eq!(
        bed.bare("create_new_client", &elsewhere).await.verdict().0,
        41
    );
    let uses = async || good(&get(bed, &by, &key_at("x")).await)["limits"]["uses"].clone();
    assert_eq!(uses().await, 1, "it counts down");
    let plain = [("api_key", secret.as_str())];
    assert_eq!(bed.bare("create_new_client", &plain).await.verdict().0, 0);
    assert_eq!(uses().await, 0);
    assert_eq!(bed.bare("create_new_client", &plain).await.verdict().0, 32);
    let again = bed.bare("create_new_client", &first).await;
    assert_eq!(again.verdict().0, 0, "it still answers devices it knows");
    assert_eq!(bed.bare("device_list", &plain).await.status, 200);
}

pub(crate) async fn the_rate_of_a_key_is_one_budget(bed: &Bed) {
    let by = root(bed).await;
    let scope = ["apiclient:read", "apiclient:modify", "device:read"];
    make(
        bed,
        &by,
        json!({"name": "x", "scope": scope, "rateLimit": 4}),
    )
    .await;
    let key = good(&get(bed, &by, &key_at("x")).await);
    let busy = Holder::of(&key);
    let list = async || bed.bare("device_list", &[("api_key", &busy.secret)]).await;
    assert_eq!(get(bed, &busy, ALL).await.status, 200);
    assert_eq!(list().await.status, 200);
    let refused = get(bed, &busy, "/v3/nothing").await;
    assert_eq!(refused.status, 404, "counted all the same");
    let renewed = crate::apiclients::desk::ask(bed, &busy, "POST", &key_at("x"), json!({})).await;
    let renewed = Holder::of(&good(&renewed));
    let reply = get(bed, &renewed, "/v3/nothing").await;
    let (status, found, message) = problem(&reply);
    assert_eq!(
        (status, found.as_str()),
        (429, "TooManyRequests"),
        "a new secret brings no new budget"
    );
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=15).contains(&seconds), "{seconds}");
    assert_eq!(
        message,
        format!("Too many requests. Try again in {seconds} seconds.")
    );
    let provisioning = bed
        .bare("device_list", &[("api_key", &renewed.secret)])
        .await;
    assert_eq!(provisioning.verdict().0, 22);
    assert_eq!(
        code(&get(bed, &busy, ALL).await),
        refusal(401, "InvalidCredentials")
    );
    assert_eq!(
        get(bed, &by, ALL).await.status,
        200,
        "another key has its own"
    );
    make(
        bed,
        &by,
        json!({"name": "free", "scope": scope, "rateLimit": -1}),
    )
    .await;
    let free = Holder::of(&good(&get(bed, &by, &key_at("free")).await));
    for _ in 0..50 {
        assert_eq!(get(bed, &free, ALL).await.status, 200);
    }
}
