//! Section 3: `nodes/`, `openforiplinkclicks/`, `specs/`.

use moorline_server::registry::model::{KeyContext, Node, NodeStatus, Timestamp};
use serde_json::{Value, json};

use crate::bed::{Bed, KeyWish, device_id, public_key, text};
use crate::openport::v2;

pub(crate) async fn nodes_need_no_token(bed: &Bed) {
    let mut node = Node {
        name: "zz9".into(),
        public_host: "localhost".into(),
        status: NodeStatus::Draining,
        ..bed.node().await
    };
    bed.registry.put_node(node.clone()).await.unwrap();
    node.name = "zz8".into();
    node.public_host = "no-such-host.invalid".into();
    bed.registry.put_node(node.clone()).await.unwrap();
    let list = async |query: &[(&str, &str)]| {
        let reply = v2::bare(bed, "GET", "nodes/", query).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    };
    let page = list(&[]).await;
    assert_eq!(page["count"], 3);
    let expected = json!([
        {"name": "local", "public_ip": "127.0.0.1", "status": "active", "public_dns_name": "127.0.0.1"},
        {"name": "zz8", "public_ip": "", "status": "draining", "public_dns_name": "no-such-host.invalid"},
        {"name": "zz9", "public_ip": "127.0.0.1", "status": "draining", "public_dns_name": "localhost"},
    ]);
    assert_eq!(page["results"], expected);
    let second = list(&[("offset", "1"), ("limit", "1")]).await;
    assert_eq!(second["results"][0]["name"], "zz8");
    assert_eq!(second["next"], "http://x/api/v2/nodes/?limit=1&offset=2");
    let unknown = list(&[("token", "whatever")]).await;
    assert_eq!(unknown["count"], 3);
    // Other stories look for the only node there is.
    for name in ["zz8", "zz9"] {
        assert!(bed.registry.node(name).await.unwrap().is_some());
    }
    remove_nodes(bed).await;
}

/// No call removes a node.
async fn remove_nodes(bed: &Bed) {
    use sea_orm::ConnectionTrait as _;
    let database = sea_orm::Database::connect(bed.database_url())
        .await
        .unwrap();
    let statement = "DELETE FROM nodes WHERE name <> 'local'";
    database.execute_unprepared(statement).await.unwrap();
}

pub(crate) async fn clicks_are_listed_and_outlive_the_key(bed: &Bed) {
    let mine = bed.device(&[("name", "mine")]).await;
    let other = bed.device(&[("name", "other")]).await;
    let foreign = bed.registry.create_account("v2-clicks").await.unwrap().id;
    let theirs = bed.key_of(foreign, KeyWish::default()).await;
    let elsewhere = bed.bare("create_new_client", &[("api_key", &theirs)]).await;
    let elsewhere = text(&elsewhere.json(), "client_id");
    let at = |seconds: i64| Timestamp(1_795_317_857_000_007 + seconds * 1_000_000);
    let click = async |client_id: &str, seconds, ip: &str| {
        let device = bed.registry.device(device_id(client_id)).await;
        let device = device.unwrap().unwrap();
        let (forward, ip) = (&device.forwards[0], ip.parse().unwrap());
        let recorded = bed.registry.record_click(&device, forward, ip, at(seconds));
        recorded.await.unwrap();
        forward.public_port
    };
    let port = click(&mine, 0, "192.0.2.7").await;
    click(&other, 1, "2001:db8::7").await;
    click(&mine, 2, "192.0.2.8").await;
    click(&elsewhere, 3, "192.0.2.9").await;
    let first = json!({
        "port": port,
        "source_ip": "192.0.2.7",
        "timestamp": at(0).to_openport_micros(),
        "key_name": "mine",
    });
    assert!(text(&first, "timestamp").ends_with(".000007+00:00"));
    let path = "openforiplinkclicks/";
    let ips = async |token: &str| {
        let clicks = v2::results(bed, token, path).await;
        let ips = clicks.iter().map(|click| text(click, "source_ip"));
        ips.collect::<Vec<_>>()
    };
    assert_eq!(v2::results(bed, &bed.key, path).await[0], first);
    let removed = bed.code("delete_client", &[("client_id", &mine)]).await;
    assert_eq!(removed, 0);
    let all = ["192.0.2.7", "2001:db8::7", "192.0.2.8"];
    assert_eq!(ips(&bed.key).await, all);
    let query = [("token", bed.key.as_str()), ("limit", "1"), ("offset", "1")];
    let page = v2::bare(bed, "GET", path, &query).await.json();
    assert_eq!(
        (
            page["count"].clone(),
            page["results"].as_array().unwrap().len()
        ),
        (3.into(), 1)
    );
    let narrow = KeyWish {
        context: KeyContext::Devices(vec![device_id(&other)]),
        ..KeyWish::default()
    };
    let narrow = bed.make_key(narrow).await;
    assert_eq!(ips(&narrow).await, ["2001:db8::7"]);
    assert_eq!(ips(&theirs).await, ["192.0.2.9"]);
}

pub(crate) async fn the_document_describes_what_is_answered(bed: &Bed) {
    let reply = v2::bare(bed, "GET", "specs/", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.json();
    assert!(text(&document, "openapi").starts_with("3."));
    let key = v2::made(bed, &json!({"public_key": public_key()})).await;
    let settings = v2::get(bed, &format!("keys/{}/settings/", key["id"])).await;
    let node = v2::bare(bed, "GET", "nodes/", &[]).await.json()["results"][0].clone();
    let page = v2::get(bed, "keys/").await.json();
    let described = |name: &str| -> Vec<String> {
        let schema = &document["components"]["schemas"][format!("openport.{name}")];
        let required = schema["required"].as_array().unwrap().len();
        let described = schema["properties"].as_object().unwrap().len();
        assert_eq!(required, described, "{name}: every key is always there");
        names(&schema["properties"])
    };
    for (schema, answer) in [
        ("Key", key),
        ("Settings", settings.json()),
        ("Node", node),
        ("KeyPage", page),
    ] {
        assert_eq!(described(schema), names(&answer), "{schema}");
    }
    let session = [
        "http_forwarding_address",
        "key",
        "local_port",
        "open_port_for_ip_link",
        "port",
        "redirect_url",
        "server",
    ];
    assert_eq!(described("Session"), session);
    let whole = crate::http::send(bed.http, bed.from, "GET", "/openapi.json", None, b"").await;
    let paths = &whole.json()["paths"];
    let parts = document["paths"].as_object().unwrap();
    assert_eq!(parts.len(), 7);
    assert!(parts.iter().all(|(path, item)| paths[path] == *item));
}

fn names(object: &Value) -> Vec<String> {
    let mut names: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    names
}
