//! Sections 2 and 6: paths, verbs, bodies, errors, their order.

use serde_json::{Value, json};

use crate::apiclients::desk::{
    ALL, Holder, ask, at, code, get, good, key_at, make, problem, problems, refusal, root, scoped,
    send,
};
use crate::bed::{Bed, text};

pub(crate) async fn both_roots_are_the_same_resources(bed: &Bed) {
    let by = root(bed).await;
    let account = bed.registry.account(bed.account).await.unwrap().unwrap();
    let made = make(bed, &by, json!({"name": "Camera"})).await;
    let id = text(&made, "id");
    let mut roots = vec!["/v3".to_owned()];
    for named in [
        "_this_",
        &account.uid,
        &account.name,
        &account.name.to_uppercase(),
    ] {
        roots.push(format!("/v3/accounts/{named}"));
    }
    for root in roots {
        for slash in ["", "/"] {
            for reference in [id.as_str(), "Camera", "cAMERA"] {
                let path = format!("{root}/apiclients/{reference}{slash}");
                assert_eq!(good(&get(bed, &by, &path).await), made, "{path}");
                let path = format!("{root}/apiclients/{reference}/apikey{slash}");
                let key = good(&get(bed, &by, &path).await);
                assert_eq!(text(&key, "ownerId"), id);
            }
            let list = good(&get(bed, &by, &format!("{root}/apiclients{slash}?name=camera")).await);
            assert_eq!(list["results"], json!([made]));
        }
    }
    let unknown = get(bed, &by, "/v3/accounts/other/apiclients").await;
    assert_eq!(code(&unknown), refusal(404, "ResourceNotFound"));
}

pub(crate) async fn errors_have_their_shape(bed: &Bed) {
    let by = root(bed).await;
    let reply = get(bed, &by, &at("nobody")).await;
    let json = reply.json();
    assert_eq!(json[0]["code"], "ResourceNotFound");
    assert_eq!(json[0]["cause"], "Resource not found");
    assert_eq!(
        json[0]["message"],
        "There is no such API client in this account."
    );
    let url = text(&json[0], "moreInfoUrl");
    assert!(
        url.starts_with("http://") && url.ends_with("/v3/error/resourcenotfound"),
        "{url}"
    );
    let page = url.split_once("/v3").unwrap().1;
    let reply = send(bed, None, "GET", &format!("/v3{page}"), b"").await;
    assert_eq!(reply.status, 200);
    let reply = ask(bed, &by, "POST", ALL, json!({"name": 5, "locked": "x"})).await;
    let (status, found) = problems(&reply);
    assert_eq!((status, found.len()), (400, 2));
    assert_eq!(
        get(bed, &by, &at("nobody")).await.header("cache-control"),
        Some("no-store")
    );
}

pub(crate) async fn a_parameter_stands_for_the_method(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "x"})).await;
    let path = format!("{}?_method=PUT", at("x"));
    let put = ask(bed, &by, "POST", &path, json!({"description": "d"})).await;
    assert_eq!(good(&put)["description"], "d");
    let path = format!("{}?_METHOD=PUT", key_at("x"));
    let put = ask(bed, &by, "POST", &path, json!({"rateLimit": 7})).await;
    assert_eq!(good(&put)["rateLimit"], 7);
    for other in ["PATCH", "GET", "POST", ""] {
        let path = format!("{}?_method={other}", at("x"));
        let reply = ask(bed, &by, "POST", &path, json!({})).await;
        let (status, code, message) = problem(&reply);
        assert_eq!((status, code.as_str()), (400, "InvalidParameter"));
        assert_eq!(message, "Parameter _method must be PUT or DELETE.");
    }
    let path = format!("{}?_method=DELETE", at("x"));
    assert_eq!(
        good(&get(bed, &by, &path).await)["name"],
        "x",
        "of POST alone"
    );
    let gone = ask(bed, &by, "POST", &path, Value::Null).await;
    assert_eq!(good(&gone), json!({"nrOfItems": 1}));
    assert_eq!(get(bed, &by, &at("x")).await.status, 404);
}

pub(crate) async fn methods_and_paths_that_are_not_there(bed: &Bed) {
    let by = root(bed).await;
    make(bed, &by, json!({"name": "x"})).await;
    for (method, path, allow) in [
        ("PUT", ALL.to_owned(), "GET, HEAD, POST"),
        ("DELETE", ALL.to_owned(), "GET, HEAD, POST"),
        ("PATCH", at("x"), "GET, HEAD, POST, PUT, DELETE"),
        ("DELETE", key_at("x"), "GET, HEAD, POST, PUT"),
    ] {
        let reply = send(bed, Some(&by), method, &path, b"").await;
        let (status, code, message) = problem(&reply);
        assert_eq!((status, code.as_str()), (405, "MethodNotAllowed"));
        assert_eq!(message, format!("This endpoint does not support {method}."));
        assert_eq!(reply.header("allow"), Some(allow));
    }
    for path in [
        "/v3",
        "/v3/",
        "/v3/devices",
        "/v3/apiclients/x/key",
        "/v3/apiclients//",
        "/v3/apiclients/%ff",
    ] {
        let (status, code, message) = problem(&get(bed, &by, path).await);
        assert_eq!((status, code.as_str()), (404, "ResourceNotFound"), "{path}");
        assert_eq!(message, "There is no such endpoint.");
    }
    let head = send(bed, Some(&by), "HEAD", &at("x"), b"").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

pub(crate) async fn bodies_have_their_form_and_length(bed: &Bed) {
    let by = root(bed).await;
    for body in [
        "[]",
        "[{}]",
        "{",
        "5",
        "null",
        "\"x\"",
        "{\"name\":\"\u{1}",
        "name=x",
    ] {
        let reply = send(bed, Some(&by), "POST", ALL, body.as_bytes()).await;
        let (status, code, message) = problem(&reply);
        assert_eq!((status, code.as_str()), (400, "InvalidBody"), "{body}");
        assert_eq!(message, "The request body must be a JSON object.");
    }
    let not_utf8 = send(bed, Some(&by), "POST", ALL, b"{\"name\":\"\xff\"}").await;
    assert_eq!(code(&not_utf8), refusal(400, "InvalidBody"));
    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    let reply = send(bed, Some(&by), "POST", ALL, padded(64 * 1024).as_bytes()).await;
    good(&reply);
    let reply = send(
        bed,
        Some(&by),
        "POST",
        ALL,
        padded(64 * 1024 + 1).as_bytes(),
    )
    .await;
    let (status, code, message) = problem(&reply);
    assert_eq!((status, code.as_str()), (413, "BodyTooLarge"));
    assert_eq!(message, "The request body may have 64 KiB at most.");
}

pub(crate) async fn codes_have_their_pages(bed: &Bed) {
    let codes = [
        "InvalidBody",
        "MissingAttribute",
        "InvalidAttribute",
        "InvalidParameter",
        "InvalidCredentials",
        "InsufficientScope",
        "AccountDisabled",
        "HttpsRequired",
        "ResourceNotFound",
        "MethodNotAllowed",
        "NameAlreadyExists",
        "EntityLocked",
        "BodyTooLarge",
        "TooManyRequests",
        "InternalError",
    ];
    for name in codes {
        for path in [name.to_lowercase(), format!("{name}/")] {
            let reply = send(bed, None, "GET", &format!("/v3/error/{path}"), b"").await;
            assert_eq!(reply.status, 200, "{path}");
            assert!(reply.body.contains(name), "{}", reply.body);
        }
    }
    let reply = send(bed, None, "GET", "/v3/error/nothing", b"").await;
    assert_eq!(code(&reply), refusal(404, "ResourceNotFound"));
    let reply = send(bed, None, "POST", "/v3/error/internalerror", b"").await;
    assert_eq!(code(&reply), refusal(405, "MethodNotAllowed"));
}

pub(crate) async fn checks_come_in_their_order(bed: &Bed) {
    let full = root(bed).await;
    make(bed, &full, json!({"name": "locked", "locked": true})).await;
    make(bed, &full, json!({"name": "taken"})).await;
    let nobody = Holder {
        id: "_key_1".into(),
        secret: "x".into(),
    };
    let reader = scoped(bed, &["apiclient:read"]).await;
    let told = async |by: &Holder, method: &str, path: &str, body: &str| {
        let reply = send(bed, Some(by), method, path, body.as_bytes()).await;
        problems(&reply).1.remove(0).0
    };
    // Credentials before path, path before scope, scope before body.
    assert_eq!(
        told(&nobody, "GET", "/v3/nothing", "").await,
        "InvalidCredentials"
    );
    assert_eq!(
        told(&reader, "PUT", "/v3/nothing", "[").await,
        "ResourceNotFound"
    );
    assert_eq!(
        told(&reader, "PATCH", &at("nobody"), "[").await,
        "MethodNotAllowed"
    );
    assert_eq!(
        told(&reader, "PUT", &at("nobody"), "[").await,
        "InsufficientScope"
    );
    // Body before existence, existence before lock, lock before name.
    assert_eq!(told(&full, "PUT", &at("nobody"), "[").await, "InvalidBody");
    assert_eq!(
        told(&full, "PUT", &at("nobody"), "{\"name\":5}").await,
        "InvalidAttribute"
    );
    assert_eq!(
        told(&full, "PUT", &at("nobody"), "{}").await,
        "ResourceNotFound"
    );
    assert_eq!(
        told(&full, "PUT", &at("locked"), "{\"name\":\"taken\"}").await,
        "EntityLocked"
    );
}
