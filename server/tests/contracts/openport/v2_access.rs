//! Section 1: tokens, scopes, contexts, accounts, limits.

use std::net::IpAddr;

use moorline_protocol::scope::Scope;
use moorline_server::registry::model::{KeyContext, KeyLimits};
use serde_json::{Value, json};

use crate::bed::{Bed, KeyWish, device_id, past, public_key};
use crate::http;
use crate::openport::v2;

const NO_TOKEN: &str = "Authentication credentials were not provided.";
const INVALID: &str = "Invalid token.";
const NOT_PERMITTED: &str = "You do not have permission to perform this action.";
const NOT_FOUND: &str = "Not found.";

/// Every call with the scope it needs; `{}` stands for the number of a key.
const CALLS: [(&str, &str, Scope); 10] = [
    ("GET", "sessions/", Scope::DeviceRead),
    ("GET", "keys/", Scope::DeviceRead),
    ("GET", "openforiplinkclicks/", Scope::DeviceRead),
    ("GET", "keys/{}/", Scope::DeviceRead),
    ("POST", "keys/", Scope::DeviceCreate),
    ("PUT", "keys/{}/", Scope::DeviceModify),
    ("PATCH", "keys/{}/", Scope::DeviceModify),
    ("GET", "keys/{}/settings/", Scope::DeviceModify),
    ("PATCH", "keys/{}/settings/", Scope::DeviceModify),
    ("DELETE", "keys/{}/", Scope::DeviceDelete),
];

fn path_of(path: &str, id: &Value) -> String {
    path.replace("{}", &id.to_string())
}

pub(crate) async fn calls_without_a_good_token_are_401(bed: &Bed) {
    let id = v2::made(bed, &json!({"public_key": public_key()})).await["id"].clone();
    let limits = KeyLimits {
        expires_at: Some(past()),
        ..KeyLimits::default()
    };
    let expired = KeyWish {
        limits,
        ..KeyWish::default()
    };
    let expired = bed.make_key(expired).await;
    let mut refused = 0;
    for (method, path, _) in CALLS {
        let path = path_of(path, &id);
        for query in [&[][..], &[("token", "")], &[("api_key", bed.key.as_str())]] {
            let reply = v2::bare(bed, method, &path, query).await;
            v2::detail(&reply, 401, NO_TOKEN);
            assert_eq!(reply.header("www-authenticate"), Some("Token"));
            refused += 1;
        }
    }
    assert_eq!(refused, 30);
    for token in ["unknown", &expired] {
        for (method, path) in [("GET", "keys/"), ("POST", "keys/"), ("PURGE", "sessions/")] {
            let reply = v2::bare(bed, method, path, &[("token", token)]).await;
            v2::detail(&reply, 401, INVALID);
            assert_eq!(reply.header("www-authenticate"), Some("Token"));
        }
    }
}

pub(crate) async fn a_revoked_token_is_refused_at_once(bed: &Bed) {
    let token = bed.make_key(KeyWish::default()).await;
    let ask = async || v2::with_token(bed, &token, "GET", "keys/", &Value::Null).await;
    assert_eq!(ask().await.status, 200);
    let keys = bed.registry.api_keys(bed.account).await.unwrap();
    let newest = &keys.last().unwrap().id;
    let revoked = bed.registry.revoke_api_key(bed.account, newest).await;
    assert!(revoked.unwrap());
    v2::detail(&ask().await, 401, INVALID);
}

pub(crate) async fn every_call_needs_its_scope(bed: &Bed) {
    let id = v2::made(bed, &json!({"public_key": public_key()})).await["id"].clone();
    let mut refused = 0;
    for (method, path, needed) in CALLS {
        let path = path_of(path, &id);
        let others: Vec<Scope> = Scope::ALL
            .into_iter()
            .filter(|scope| *scope != needed)
            .collect();
        let narrow = bed.scoped(&others).await;
        let reply = v2::with_token(bed, &narrow, method, &path, &json!({})).await;
        v2::detail(&reply, 403, NOT_PERMITTED);
        refused += 1;
        if method != "DELETE" {
            let wide = bed.scoped(&[needed]).await;
            let reply = v2::with_token(bed, &wide, method, &path, &json!({})).await;
            assert!([200, 400].contains(&reply.status), "{}", reply.body);
        }
    }
    assert_eq!(refused, CALLS.len());
    let right = bed.scoped(&[Scope::DeviceDelete]).await;
    let path = format!("keys/{id}/");
    let reply = v2::with_token(bed, &right, "DELETE", &path, &Value::Null).await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
}

pub(crate) async fn a_suspended_account_is_403(bed: &Bed) {
    let id = v2::made(bed, &json!({"public_key": public_key()})).await["id"].clone();
    let suspend = async |suspended| {
        let done = bed.registry.suspend_account(bed.account, suspended).await;
        assert!(done.unwrap());
    };
    suspend(true).await;
    for (method, path, _) in CALLS {
        let reply = v2::send(bed, method, &path_of(path, &id), &json!({})).await;
        v2::detail(&reply, 403, "Account is inactive.");
    }
    suspend(false).await;
    assert_eq!(v2::get(bed, "keys/").await.status, 200);
}

pub(crate) async fn a_device_context_sees_its_devices_only(bed: &Bed) {
    let mine = bed.device(&[]).await;
    let other = bed.device(&[]).await;
    let (mine_number, other_number) = (
        v2::number_of(bed, &mine).await,
        v2::number_of(bed, &other).await,
    );
    let narrow = async |context| {
        let wish = KeyWish {
            context,
            ..KeyWish::default()
        };
        bed.make_key(wish).await
    };
    let token = narrow(KeyContext::Devices(vec![device_id(&mine)])).await;
    let seen = v2::results(bed, &token, "keys/").await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["id"], mine_number);
    let own = format!("keys/{mine_number}/");
    let reply = v2::with_token(bed, &token, "PATCH", &own, &json!({"name": "mine"})).await;
    assert_eq!(reply.json()["name"], "mine");
    hidden(bed, &token, other_number).await;
    let new = json!({"public_key": public_key()});
    let made = v2::with_token(bed, &token, "POST", "keys/", &new).await;
    v2::detail(&made, 403, NOT_PERMITTED);
    let apps = narrow(KeyContext::Apps(vec!["app".into()])).await;
    assert!(v2::results(bed, &apps, "keys/").await.is_empty());
    hidden(bed, &apps, mine_number).await;
}

/// Every call about that key answers as if there were none.
async fn hidden(bed: &Bed, token: &str, number: i64) {
    let mut refused = 0;
    for (method, path, _) in CALLS {
        if path.contains("{}") {
            let path = path_of(path, &number.into());
            let reply = v2::with_token(bed, token, method, &path, &json!({"name": "x"})).await;
            v2::detail(&reply, 404, NOT_FOUND);
            refused += 1;
        }
    }
    assert_eq!(refused, 6);
}

pub(crate) async fn a_foreign_account_is_as_if_it_were_not(bed: &Bed) {
    let item = v2::made(bed, &json!({"public_key": public_key(), "name": "ours"})).await;
    let other = bed.registry.create_account("v2-foreign").await;
    let token = bed.key_of(other.unwrap().id, KeyWish::default()).await;
    assert!(v2::results(bed, &token, "keys/").await.is_empty());
    hidden(bed, &token, item["id"].as_i64().unwrap()).await;
    hidden(bed, &token, i64::MAX).await;
    let same_name = json!({"public_key": public_key(), "name": "Ours"});
    let theirs = v2::with_token(bed, &token, "POST", "keys/", &same_name).await;
    assert_eq!(theirs.status, 201, "names are per account");
    assert_eq!(v2::results(bed, &bed.key, "keys/").await, [item]);
}

pub(crate) async fn the_rate_of_a_key_is_one_budget(bed: &Bed) {
    let wish = KeyWish {
        rate: 3,
        ..KeyWish::default()
    };
    let token = bed.make_key(wish).await;
    let ask = async || v2::with_token(bed, &token, "GET", "keys/", &Value::Null).await;
    assert_eq!(ask().await.status, 200);
    let listed = bed.bare("device_list", &[("api_key", &token)]).await;
    assert_eq!(listed.verdict().0, 0);
    assert_eq!(ask().await.status, 200);
    let reply = ask().await;
    let seconds = reply.header("retry-after").unwrap().to_owned();
    assert!((1..=20).contains(&seconds.parse::<u64>().unwrap()));
    let told = format!("Request was throttled. Expected available in {seconds} seconds.");
    v2::detail(&reply, 429, &told);
    let listed = bed.bare("device_list", &[("api_key", &token)]).await;
    assert_eq!(listed.verdict().0, 22, "one budget for all surfaces");
}

pub(crate) async fn guessing_is_limited_per_address(bed: &Bed) {
    let from = IpAddr::from([127, 0, 7, 7]);
    let guess = async || {
        let target = v2::target("keys/", &[("token", "guessed")]);
        http::send(bed.http, from, "GET", &target, None, b"").await
    };
    let mut refused = 0;
    let limited = loop {
        let reply = guess().await;
        if reply.status == 429 {
            break reply;
        }
        v2::detail(&reply, 401, INVALID);
        refused += 1;
        assert!(refused < 200, "never limited");
    };
    assert!(refused >= 60, "{refused}");
    assert!(limited.header("retry-after").is_some());
    assert_eq!(v2::get(bed, "keys/").await.status, 200, "from elsewhere");
}
