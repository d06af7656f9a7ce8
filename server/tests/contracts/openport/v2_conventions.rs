//! Section 2: paths, methods, bodies, errors, pages.

use serde_json::{Value, json};

use crate::bed::{Bed, public_key, text};
use crate::http;
use crate::openport::v2::{self, FORM, JSON};

const NOT_FOUND: &str = "Not found.";

pub(crate) async fn paths_end_in_a_slash(bed: &Bed) {
    let mut redirected = 0;
    for path in [
        "sessions",
        "keys",
        "keys/7",
        "keys/7/settings",
        "nodes",
        "openforiplinkclicks",
        "specs",
    ] {
        let target = format!("/api/v2/{path}?b=%20x&token=T&a=");
        for method in ["GET", "HEAD"] {
            let reply = http::send(bed.http, bed.from, method, &target, None, b"").await;
            assert_eq!(reply.status, 301, "{method} {path}");
            let place = format!("/api/v2/{path}/?b=%20x&token=T&a=");
            assert_eq!(reply.header("location"), Some(place.as_str()));
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = http::send(bed.http, bed.from, method, &target, JSON, b"{}").await;
            v2::detail(&reply, 404, NOT_FOUND);
        }
        redirected += 1;
    }
    assert_eq!(redirected, 7);
    for path in ["", "x/", "x", "keys/x/", "keys/7/x/", "keys//", "Keys/"] {
        let reply = v2::get(bed, path).await;
        v2::detail(&reply, 404, NOT_FOUND);
    }
    let whole = http::send(bed.http, bed.from, "GET", "/api/v2", None, b"").await;
    v2::detail(&whole, 404, NOT_FOUND);
}

pub(crate) async fn methods_that_are_not_allowed_are_405(bed: &Bed) {
    let id = v2::made(bed, &json!({"public_key": public_key()})).await["id"].clone();
    let paths = [
        ("sessions/".to_owned(), "GET, HEAD"),
        ("keys/".to_owned(), "GET, HEAD, POST"),
        (format!("keys/{id}/"), "GET, HEAD, PUT, PATCH, DELETE"),
        (format!("keys/{id}/settings/"), "GET, HEAD, PUT, PATCH"),
        ("nodes/".to_owned(), "GET, HEAD"),
        ("openforiplinkclicks/".to_owned(), "GET, HEAD"),
        ("specs/".to_owned(), "GET, HEAD"),
    ];
    let mut refused = 0;
    for (path, allowed) in &paths {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
            if allowed.split(", ").any(|one| one == method) {
                continue;
            }
            let reply = v2::send(bed, method, path, &json!({})).await;
            v2::detail(&reply, 405, &format!("Method \"{method}\" not allowed."));
            assert_eq!(reply.header("allow"), Some(*allowed));
            refused += 1;
        }
        let head = v2::send(bed, "HEAD", path, &Value::Null).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    assert_eq!(refused, 36);
}

pub(crate) async fn bodies_come_in_three_forms(bed: &Bed) {
    let keys = [public_key(), public_key(), public_key()];
    let form = format!("name=in+a+form&public_key={}&x=1", http::encode(&keys[0]));
    let multipart = format!(
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nin parts\r\n--b\r\n\
         Content-Disposition: form-data; name=\"public_key\"; filename=\"id.pub\"\r\n\r\n{}\n\r\n--b--\r\n",
        keys[1]
    );
    let json = json!({"name": "in JSON", "public_key": keys[2], "x": [1]}).to_string();
    let bodies = [
        (FORM, form, "in a form"),
        (
            Some("multipart/form-data; boundary=b"),
            multipart,
            "in parts",
        ),
        (Some("application/json; charset=utf-8"), json, "in JSON"),
    ];
    for ((kind, body, name), key) in bodies.iter().zip(&keys) {
        let reply = v2::raw(bed, "POST", "keys/", *kind, body.as_bytes()).await;
        assert_eq!(reply.status, 201, "{name}: {}", reply.body);
        let item = reply.json();
        assert_eq!(text(&item, "name"), *name);
        assert_eq!(text(&item, "public_key"), *key);
    }
}

pub(crate) async fn bodies_have_their_limits(bed: &Bed) {
    let post = async |kind, body: &[u8]| v2::raw(bed, "POST", "keys/", kind, body).await;
    for body in ["{", "[]", "\"x\"", "{\"name\":\"\u{1}", "x"] {
        v2::detail(&post(JSON, body.as_bytes()).await, 400, "JSON parse error");
    }
    let broken = post(Some("multipart/form-data; boundary=b"), b"--b\r\n").await;
    v2::detail(&broken, 400, "JSON parse error");
    for kind in ["text/plain", "application/xml; charset=utf-8"] {
        let told = format!("Unsupported media type \"{kind}\" in request.");
        v2::detail(&post(Some(kind), b"x").await, 415, &told);
    }
    let untyped = post(None, b"x").await;
    v2::detail(&untyped, 415, "Unsupported media type \"\" in request.");
    let longest = format!("{{\"x\":\"{}\"}}", "a".repeat(64 * 1024 - 8));
    assert_eq!(longest.len(), 64 * 1024);
    let required = json!({"public_key": ["This field is required."]});
    v2::refused(&post(JSON, longest.as_bytes()).await, 400, &required);
    let longer = format!("{longest} ");
    let large = post(JSON, longer.as_bytes()).await;
    v2::detail(&large, 413, "Request body is too large.");
    v2::refused(&post(Some("text/plain"), b"").await, 400, &required);
}

pub(crate) async fn bad_fields_are_reported_all_at_once(bed: &Bed) {
    let taken = public_key();
    let item = v2::made(bed, &json!({"public_key": taken, "name": "Taken"})).await;
    let keys = "keys/".to_owned();
    let one = format!("keys/{}/", item["id"]);
    let settings = format!("{one}settings/");
    let required = "This field is required.";
    let blank = "This field may not be blank.";
    let not_null = "This field may not be null.";
    let key_taken = "key with this public key already exists.";
    let name_taken = "key with this name already exists.";
    let invalid = "Enter a valid SSH public key.";
    for (method, path, body, errors) in [
        ("POST", &keys, json!({}), json!({"public_key": [required]})),
        (
            "POST",
            &keys,
            json!({"public_key": "", "name": " "}),
            json!({"public_key": [blank], "name": [blank]}),
        ),
        (
            "POST",
            &keys,
            json!({"public_key": null, "name": null}),
            json!({"public_key": [not_null], "name": [not_null]}),
        ),
        (
            "POST",
            &keys,
            json!({"public_key": taken, "name": "TAKEN"}),
            json!({"public_key": [key_taken], "name": [name_taken]}),
        ),
        (
            "POST",
            &keys,
            json!({"public_key": "ssh-dss AAAA", "name": "x".repeat(65)}),
            json!({"public_key": [invalid], "name": ["Ensure this field has no more than 64 characters."]}),
        ),
        ("PUT", &one, json!({}), json!({"name": [required]})),
        (
            "PATCH",
            &one,
            json!({"public_key": "", "name": ""}),
            json!({"public_key": [blank], "name": [blank]}),
        ),
        (
            "PUT",
            &settings,
            json!({"state": null}),
            json!({
                "ip_link_protection": [required],
                "max_connections_per_minute": [required],
                "state": [not_null],
            }),
        ),
    ] {
        let reply = v2::send(bed, method, path, &body).await;
        v2::refused(&reply, 400, &errors);
    }
    assert_eq!(v2::results(bed, &bed.key, "keys/").await, [item]);
}

pub(crate) async fn pages_lead_to_their_neighbours(bed: &Bed) {
    let mut made = Vec::new();
    for n in 0..5 {
        let new = json!({"public_key": public_key(), "name": format!("k{n}")});
        made.push(v2::made(bed, &new).await["id"].clone());
    }
    let page = async |query: &[(&str, &str)]| {
        let query = [&[("token", bed.key.as_str())], query].concat();
        let reply = v2::bare(bed, "GET", "keys/", &query).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let page = reply.json();
        assert_eq!(page["count"], 5);
        let ids: Vec<Value> = page["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].clone())
            .collect();
        (ids, page["next"].clone(), page["previous"].clone())
    };
    let url = |query: &str| Value::from(format!("http://x/api/v2/keys/?{query}&token={}", bed.key));
    assert_eq!(page(&[]).await, (made.clone(), Value::Null, Value::Null));
    let first = page(&[("limit", "2")]).await;
    assert_eq!(
        first,
        (made[..2].to_vec(), url("limit=2&offset=2"), Value::Null)
    );
    let second = page(&[("limit", "2"), ("offset", "2"), ("b", "ä b"), ("a", "1")]).await;
    assert_eq!(second.0, made[2..4]);
    assert_eq!(second.1, url("limit=2&offset=4&a=1&b=%C3%A4+b"));
    assert_eq!(second.2, url("limit=2&a=1&b=%C3%A4+b"));
    let last = page(&[("limit", "2"), ("offset", "4")]).await;
    assert_eq!(
        last,
        (made[4..].to_vec(), Value::Null, url("limit=2&offset=2"))
    );
    let odd = page(&[("limit", "2"), ("offset", "1")]).await;
    assert_eq!(odd.2, url("limit=2"), "not below 0");
    let past = page(&[("limit", "2"), ("offset", "9")]).await;
    assert_eq!(past, (Vec::new(), Value::Null, url("limit=2&offset=7")));
    for (limit, offset) in [("0", "-1"), ("x", "1.5"), ("-5", ""), ("1001", "0")] {
        let absent = page(&[("limit", limit), ("offset", offset)]).await;
        assert_eq!(absent, (made.clone(), Value::Null, Value::Null));
    }
    let next = text(&json!({ "next": first.1 }), "next");
    let target = next.strip_prefix("http://x").unwrap();
    let followed = http::send(bed.http, bed.from, "GET", target, None, b"").await;
    assert_eq!(followed.json()["results"][0]["id"], made[2]);
}
