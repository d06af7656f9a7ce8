//! Section 2 and 3: requests, answers, order of checks.

use crate::bed::{Bed, KeyWish, public_key, text};
use crate::http;
use moorline_protocol::operator::DeviceState;
use moorline_server::registry::model::NodeStatus;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json; charset=utf-8");

pub(crate) async fn query_form_and_json_say_the_same(bed: &Bed) {
    let key = &bed.key;
    let made = bed
        .create(&[("name", "by-query"), ("fwport", "2022")])
        .await;
    assert_eq!(text(&made, "client_name"), "by-query");
    let form = format!("api_key={key}&name=by%2Dform&fwport=22&hardware=%7B%7D");
    let reply = bed.post("create_new_client", FORM, &form).await;
    assert_eq!(text(&reply.json(), "client_name"), "by-form");
    let json = format!(
        r#"{{"api_key":"{key}","name":"by-json","fwport":22,"hardware":{{"model":"x"}},"unknown":true}}"#
    );
    let reply = bed.post("create_new_client", JSON, &json).await;
    assert_eq!(text(&reply.json(), "client_name"), "by-json");
    let reply = bed
        .post("device_list", None, &format!("api_key={key}"))
        .await;
    assert_eq!(
        reply.json().as_array().unwrap().len(),
        3,
        "a form without its name"
    );
    let head = format!("/init/api/device_list?api_key={key}");
    let reply = http::send(bed.http, bed.from, "HEAD", &head, None, b"").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
}

pub(crate) async fn the_body_wins_and_the_last_one_counts(bed: &Bed) {
    let key = &bed.key;
    let query = "create_new_client?name=from-query&fwport=x&fwport=22&type=";
    let reply = bed
        .post(
            query,
            FORM,
            &format!("api_key=bad&api_key={key}&name=from-body"),
        )
        .await;
    assert_eq!(text(&reply.json(), "client_name"), "from-body");
    let reply = bed
        .post(
            "create_new_client?name=q",
            JSON,
            &format!(r#"{{"api_key":"{key}"}}"#),
        )
        .await;
    assert_eq!(
        text(&reply.json(), "client_name"),
        "q",
        "query and body are merged"
    );
}

pub(crate) async fn answers_have_their_shape(bed: &Bed) {
    let id = bed.device(&[]).await;
    let reply = bed
        .get(
            "set_allow_clientless",
            &[("client_id", &id), ("allow", "1")],
        )
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(
        reply.body,
        r#"{"message":"OK","error_code":0,"success":true}"#
    );
    let reply = bed.get("client_status", &[("client_id", "x")]).await;
    assert_eq!(
        reply.body,
        r#"{"message":"Wrong data: client_id is unknown","error_code":31,"success":false}"#
    );
    let reply = http::raw(bed.http, bed.from, b"not HTTP at all\r\n\r\n").await;
    assert_eq!(reply.status, 400);
}

pub(crate) async fn unknown_calls_and_methods_are_21(bed: &Bed) {
    let wrong = (21, "invalid API call".to_owned());
    for call in [
        "nonsense",
        "Create_new_client",
        "create_new_client/",
        "create_new_client/x",
        "device_list%20",
        "",
    ] {
        assert_eq!(bed.verdict(call, &[]).await, wrong, "{call}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let target = format!("/init/api/device_list?api_key={}", bed.key);
        let reply = http::send(bed.http, bed.from, method, &target, None, b"").await;
        assert_eq!(
            (reply.status, reply.verdict()),
            (200, wrong.clone()),
            "{method}"
        );
    }
    let reply = http::send(bed.http, bed.from, "GET", "/init/other", None, b"").await;
    assert_eq!(reply.status, 404);
}

pub(crate) async fn bodies_have_their_limits(bed: &Bed) {
    let key = &bed.key;
    let full = |length: usize| {
        let body = format!("api_key={key}&x=");
        let rest = length - body.len();
        body + &"x".repeat(rest)
    };
    assert_eq!(
        bed.post("device_list", FORM, &full(65_536)).await.status,
        200
    );
    let reply = bed.post("device_list", FORM, &full(65_537)).await;
    assert_eq!(
        (reply.status, reply.json()["success"].as_bool()),
        (413, Some(false))
    );
    let with_key = format!("device_list?api_key={key}");
    for body in ["{", "[]", "\"x\"", "{\"a\":[1]}", "{\"a\":{}}", "nul"] {
        let reply = bed.post(&with_key, JSON, body).await;
        let wrong = (31, "Wrong data: body is not valid JSON".to_owned());
        assert_eq!(
            (reply.status, reply.verdict()),
            (200, wrong.clone()),
            "{body}"
        );
        let reply = bed.post("device_list", JSON, body).await;
        assert_eq!(
            (reply.status, reply.verdict()),
            (200, wrong),
            "the key may be in there"
        );
    }
    let reply = bed.post("device_list?api_key=bad", JSON, "{").await;
    assert_eq!(reply.verdict().0, 32);
    let reply = bed.post("nonsense", JSON, "{").await;
    assert_eq!(reply.verdict().0, 21);
}

pub(crate) async fn bad_parameters_are_named(bed: &Bed) {
    bed.create(&[("name", "Taken")]).await;
    let long = |count| "a".repeat(count);
    let cases = [
        ("type", "x".to_owned(), "type must be serial or random"),
        (
            "prefix",
            long(33),
            "prefix must be at most 32 characters of A-Z a-z 0-9 . _ -",
        ),
        (
            "name",
            "-x".into(),
            "name must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
        ),
        ("name", "tAKEN".into(), "name is already in use"),
        (
            "fwport",
            "0".into(),
            "fwport must be a number from 1 to 65535",
        ),
        (
            "username",
            "a b".into(),
            "username must be at most 64 characters without blanks",
        ),
        (
            "public_key",
            "ssh-dss x".into(),
            "public_key is not a supported OpenSSH public key",
        ),
        (
            "hostname",
            long(254),
            "hostname must be at most 253 characters",
        ),
        (
            "hardware",
            "[]".into(),
            "hardware must be a JSON object of at most 4096 bytes",
        ),
    ];
    for (name, value, text) in &cases {
        let told = bed.verdict("create_new_client", &[(name, value)]).await;
        assert_eq!(told, (31, format!("Wrong data: {text}")));
    }
    for (name, value, text) in [
        ("limit", "0", "limit must be a number from 1 to 10000"),
        ("limit", "10001", "limit must be a number from 1 to 10000"),
        ("offset", "-1", "offset must be a number from 0"),
        (
            "prefix",
            "/",
            "prefix must be at most 32 characters of A-Z a-z 0-9 . _ -",
        ),
    ] {
        let told = bed.verdict("device_list", &[(name, value)]).await;
        assert_eq!(told, (31, format!("Wrong data: {text}")));
    }
    let calls = [
        "get_client_script",
        "delete_client",
        "connect",
        "disconnect",
        "client_status",
        "set_allow_clientless",
        "upload_public_key",
    ];
    for call in calls {
        let told = bed.verdict(call, &[]).await;
        assert_eq!(
            told,
            (31, "Wrong data: client_id is required".into()),
            "{call}"
        );
        let told = bed.verdict(call, &[("client_id", "nobody")]).await;
        assert_eq!(
            told,
            (31, "Wrong data: client_id is unknown".into()),
            "{call}"
        );
    }
    assert_eq!(
        bed.list(&bed.key).await.len(),
        1,
        "a call that fails changes nothing"
    );
}

/// 21, 22, 32, 24 (account), 31, 23 or 24 (device), 41, 40.
pub(crate) async fn checks_come_in_their_order(bed: &Bed) {
    let key = public_key();
    let made = bed.device(&[("public_key", &key)]).await;
    bed.set_state(&made, DeviceState::Blocked).await;
    bed.set_node(NodeStatus::Down).await;
    let mut all = vec![
        ("fwport", "0"),
        ("region", "nowhere"),
        ("public_key", key.as_str()),
    ];
    assert_eq!(bed.code("nonsense", &all).await, 21);
    bed.registry
        .suspend_account(bed.account, true)
        .await
        .unwrap();
    let reply = bed
        .bare("create_new_client", &[("api_key", "x"), ("fwport", "0")])
        .await;
    assert_eq!(reply.verdict().0, 32);
    let narrow = bed.scoped(&[]).await;
    let reply = bed
        .bare(
            "create_new_client",
            &[("api_key", &narrow), ("fwport", "0")],
        )
        .await;
    assert_eq!(reply.verdict().0, 32, "before the account");
    assert_eq!(bed.code("create_new_client", &all).await, 24);
    bed.registry
        .suspend_account(bed.account, false)
        .await
        .unwrap();
    assert_eq!(bed.code("create_new_client", &all).await, 31);
    all.remove(0);
    assert_eq!(bed.code("create_new_client", &all).await, 23);
    assert_eq!(
        bed.code("create_new_client", &[("region", "nowhere")])
            .await,
        41
    );
    assert_eq!(bed.code("create_new_client", &[]).await, 40);
    bed.set_node(NodeStatus::Active).await;
    let once = bed
        .make_key(KeyWish {
            rate: 1,
            ..KeyWish::default()
        })
        .await;
    let with = async |call: &str| {
        bed.bare(call, &[("api_key", once.as_str()), ("fwport", "0")])
            .await
    };
    assert_eq!(with("create_new_client").await.verdict().0, 31);
    assert_eq!(with("create_new_client").await.verdict().0, 22);
    assert_eq!(with("nonsense").await.verdict().0, 21);
}
