//! Section 1: credentials, scopes, no escalation, HTTPS, `root`.

use std::net::IpAddr;

use data_encoding::BASE64;
use moorline_protocol::scope::Scope;
use moorline_server::registry::model::{KeyContext, KeyLimits, NewApiClient, Timestamp};
use serde_json::{Value, json};

use crate::apiclients::desk::{
    ALL, Holder, ask, at, code, get, good, holder, key_at, make, problem, refusal, root, scoped,
    send, with_authorization,
};
use crate::bed::{Bed, past};

const WRONG: &str = "API key id or secret is wrong or missing.";

pub(crate) async fn credentials_are_checked(bed: &Bed) {
    let by = root(bed).await;
    let other = root(bed).await;
    assert_eq!(get(bed, &by, ALL).await.status, 200);
    let pair = |id: &str, secret: &str| Holder {
        id: id.into(),
        secret: secret.into(),
    };
    let wrong = [
        pair(&by.id, &other.secret),
        pair(&by.id, ""),
        pair("", &by.secret),
        pair(&by.id.to_uppercase(), &by.secret),
        pair(&by.id, &by.secret.to_uppercase()),
        pair("_key_000000000000000000", &"0".repeat(32)),
    ];
    for pair in wrong {
        let (status, code, message) = problem(&get(bed, &pair, ALL).await);
        assert_eq!((status, code.as_str()), (401, "InvalidCredentials"));
        assert_eq!(message, WRONG);
    }
    let credentials = BASE64.encode(format!("{}:{}", by.id, by.secret).as_bytes());
    for authorization in [
        None,
        Some(format!("Bearer {credentials}")),
        Some("Basic !".into()),
        Some(format!("Basic {}", BASE64.encode(b"no colon"))),
    ] {
        let reply = with_authorization(bed, authorization.as_deref(), "GET", ALL, b"").await;
        assert_eq!(code(&reply), refusal(401, "InvalidCredentials"));
        let realm = reply.header("www-authenticate");
        assert_eq!(realm, Some("Basic realm=\"moorline\""));
    }
    let scheme = format!("basic {credentials}");
    let reply = with_authorization(bed, Some(&scheme), "GET", ALL, b"").await;
    assert_eq!(reply.status, 200, "the scheme has no case");
    let expired = NewApiClient {
        name: None,
        context: KeyContext::Account,
        scope: Scope::ALL.map(|scope| scope.as_str().to_owned()).to_vec(),
        rate_limit: -1,
        limits: KeyLimits {
            expires_at: Some(past()),
            ..KeyLimits::default()
        },
    };
    let made = bed.registry.create_api_client(bed.account, expired).await;
    let (key, secret) = made.unwrap();
    let reply = get(bed, &pair(&key.id, secret.expose()), ALL).await;
    assert_eq!(code(&reply), refusal(401, "InvalidCredentials"));
}

pub(crate) async fn every_operation_needs_its_scope(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "target", "scope": []})).await;
    let operations = [
        (
            "POST",
            ALL.to_owned(),
            "apiclient:create",
            json!({"scope": []}),
        ),
        ("GET", ALL.to_owned(), "apiclient:read", Value::Null),
        ("GET", at("target"), "apiclient:read", Value::Null),
        ("GET", key_at("target"), "apiclient:read", Value::Null),
        ("PUT", at("target"), "apiclient:modify", json!({})),
        ("POST", at("target"), "apiclient:modify", json!({})),
        ("PUT", key_at("target"), "apiclient:modify", json!({})),
        ("POST", key_at("target"), "apiclient:modify", Value::Null),
        ("DELETE", at("target"), "apiclient:delete", Value::Null),
    ];
    let mut seen = 0;
    for (method, path, needed, body) in operations {
        let others: Vec<&str> = Scope::ALL
            .into_iter()
            .map(Scope::as_str)
            .filter(|scope| *scope != needed)
            .collect();
        let narrow = scoped(bed, &others).await;
        let reply = ask(bed, &narrow, method, &path, body.clone()).await;
        let (status, code, message) = problem(&reply);
        assert_eq!(
            (status, code.as_str()),
            (401, "InsufficientScope"),
            "{method} {path}"
        );
        assert_eq!(message, format!("This API key needs the scope {needed}."));
        let only = scoped(bed, &[needed]).await;
        let reply = ask(bed, &only, method, &path, body).await;
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
        seen += 1;
    }
    assert_eq!(seen, 9);
}

pub(crate) async fn a_key_without_the_account_as_context_is_refused(bed: &Bed) {
    let device = bed.device(&[]).await;
    let all = Scope::ALL.map(Scope::as_str);
    let contexts = [
        KeyContext::Devices(vec![crate::bed::device_id(&device)]),
        KeyContext::Apps(vec!["app".into()]),
    ];
    for context in contexts {
        let by = holder(bed, bed.account, &all, context, -1).await;
        let reply = get(bed, &by, ALL).await;
        assert_eq!(code(&reply), refusal(401, "InsufficientScope"));
    }
}

pub(crate) async fn nobody_gives_more_than_they_have(bed: &Bed) {
    let full = root(bed).await;
    let mine = ["apiclient:create", "apiclient:modify", "device:read"];
    let by = scoped(bed, &mine).await;
    let beyond = async |method: &str, path: &str, body: Value| {
        let reply = ask(bed, &by, method, path, body).await;
        let (status, code, message) = problem(&reply);
        assert_eq!(
            (status, code.as_str()),
            (401, "InsufficientScope"),
            "{method} {path}"
        );
        message
    };
    let told = beyond(
        "POST",
        ALL,
        json!({"scope": ["device:read", "device:delete"]}),
    )
    .await;
    assert_eq!(told, "This API key needs the scope device:delete.");
    let told = beyond("POST", ALL, json!({})).await;
    assert_eq!(told, "This API key needs the scope device:create.");
    beyond("POST", ALL, json!({"scope": ["user:read"]})).await;
    make(bed, &by, json!({"name": "mine", "scope": ["device:read"]})).await;
    beyond("PUT", &at("mine"), json!({"scope": ["device:create"]})).await;
    beyond(
        "PUT",
        &key_at("mine"),
        json!({"scope": ["device:read", "device:create"]}),
    )
    .await;
    beyond("PUT", &at("nobody"), json!({"scope": ["device:create"]})).await;
    // What is sent back as it is gives nothing; what shrinks to less than the caller's is within.
    make(
        bed,
        &full,
        json!({"name": "wide", "scope": ["device:read", "device:delete"]}),
    )
    .await;
    let same = json!({"scope": ["device:read", "device:delete"], "description": "x"});
    good(&ask(bed, &by, "PUT", &at("wide"), same).await);
    beyond("PUT", &at("wide"), json!({"scope": ["device:delete"]})).await;
    good(
        &ask(
            bed,
            &by,
            "PUT",
            &at("wide"),
            json!({"scope": ["device:read"]}),
        )
        .await,
    );
    let list = good(&get(bed, &full, ALL).await);
    assert_eq!(list["total"], 5, "refused calls made nothing: {list}");
}

pub(crate) async fn nobody_sees_more_than_they_have(bed: &Bed) {
    let full = root(bed).await;
    let by = scoped(bed, &["apiclient:read", "apiclient:modify", "device:read"]).await;
    make(
        bed,
        &full,
        json!({"name": "wide", "scope": ["device:read", "device:delete"]}),
    )
    .await;
    let before = good(&get(bed, &full, &key_at("wide")).await);
    for (method, body) in [
        ("GET", Value::Null),
        ("POST", Value::Null),
        ("PUT", json!({})),
        ("PUT", json!({"rateLimit": 5})),
    ] {
        let reply = ask(bed, &by, method, &key_at("wide"), body).await;
        let (status, code, message) = problem(&reply);
        assert_eq!(
            (status, code.as_str()),
            (401, "InsufficientScope"),
            "{method}"
        );
        assert_eq!(message, "This API key needs the scope device:delete.");
        assert!(!reply.body.contains(before["secret"].as_str().unwrap()));
    }
    assert_eq!(good(&get(bed, &full, &key_at("wide")).await), before);
    assert_eq!(good(&get(bed, &by, &at("wide")).await)["name"], "wide");
    make(
        bed,
        &full,
        json!({"name": "narrow", "scope": ["device:read"]}),
    )
    .await;
    good(&get(bed, &by, &key_at("narrow")).await);
    good(&ask(bed, &by, "POST", &key_at("narrow"), Value::Null).await);
}

pub(crate) async fn a_suspended_account_is_refused(bed: &Bed) {
    let by = root(bed).await;
    assert!(
        bed.registry
            .suspend_account(bed.account, true)
            .await
            .unwrap()
    );
    for path in [ALL, "/v3/nothing"] {
        let (status, code, message) = problem(&get(bed, &by, path).await);
        assert_eq!((status, code.as_str()), (403, "AccountDisabled"));
        assert_eq!(message, "This account is suspended.");
    }
    assert!(
        bed.registry
            .suspend_account(bed.account, false)
            .await
            .unwrap()
    );
    assert_eq!(get(bed, &by, ALL).await.status, 200);
}

pub(crate) async fn guessing_is_limited_per_address(bed: &Bed) {
    let by = root(bed).await;
    let guesser = IpAddr::from([127, 0, 2, bed_number(bed)]);
    let guess = async |from: IpAddr, secret: &str| {
        let credentials = BASE64.encode(format!("{}:{secret}", by.id).as_bytes());
        let head = format!(
            "GET {ALL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {credentials}\r\n\r\n"
        );
        crate::http::raw(bed.http, from, head.as_bytes()).await
    };
    let mut refused = 0;
    let reply = loop {
        let reply = guess(guesser, "guess").await;
        if reply.status != 401 {
            break reply;
        }
        refused += 1;
        assert!(refused < 200, "60 a minute");
    };
    assert!(refused >= 60, "{refused}");
    assert_eq!(code(&reply), refusal(429, "TooManyRequests"));
    assert_eq!(
        guess(guesser, &by.secret).await.status,
        200,
        "a good key still works from there"
    );
    assert_eq!(
        guess(bed.from, "guess").await.status,
        401,
        "another address has its own"
    );
}

fn bed_number(bed: &Bed) -> u8 {
    match bed.from {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 1,
    }
}

pub(crate) async fn plain_http_is_refused() {
    let text = "[http]\nrequire_https = true\ndocs_url = \"https://docs.example.net/\"";
    let bed = Bed::configured(text).await;
    let by = root(&bed).await;
    for path in [ALL, "/v3/error/httpsrequired", "/v3/x"] {
        let reply = send(&bed, Some(&by), "GET", path, b"").await;
        let (status, code, message) = problem(&reply);
        assert_eq!((status, code.as_str()), (403, "HttpsRequired"));
        assert_eq!(message, "Use HTTPS.");
        let page = &reply.json()[0]["moreInfoUrl"];
        assert_eq!(page, "https://docs.example.net/v3/error/httpsrequired");
    }
    let reply = send(&bed, None, "GET", "/healthz", b"").await;
    assert_eq!(reply.status, 200, "other surfaces go on");
    bed.stop().await;
}

pub(crate) async fn the_first_account_gets_root() {
    let bed = Bed::on_sqlite().await;
    let keys = bed.registry.api_keys(bed.account).await.unwrap();
    let names: Vec<&str> = keys.iter().map(|key| key.owner_name.as_str()).collect();
    assert_eq!(names, ["root", "first-devices"]);
    assert_eq!(keys[0].scope, Scope::ALL.map(Scope::as_str));
    assert!(keys[0].created_at <= Timestamp::now());
    let found = bed.registry.api_key_of(bed.account, "root").await.unwrap();
    let (key, secret) = found.unwrap();
    let by = Holder {
        id: key.id,
        secret: secret.into_exposed(),
    };
    let root = good(&get(&bed, &by, &at("root")).await);
    assert_eq!(root["name"], "root");
    good(&get(&bed, &by, &key_at("root")).await);
    bed.stop().await;
}
