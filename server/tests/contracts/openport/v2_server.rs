//! What needs a server of its own: another configuration, and a restart.

use std::net::IpAddr;

use moorline_server::master_key::MasterKey;
use moorline_server::registry::Registry;
use moorline_server::registry::model::Timestamp;
use serde_json::json;

use crate::bed::{Bed, device_id, public_key, text};
use crate::openport::v2;
use crate::tunnel::{Device, take_own_ports, until, visit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_begin_with_the_configured_base() {
    let text_of_file = "[http]\npublic_url = \"https://api.example.net/moor/\"";
    let mut bed = Bed::configured(text_of_file).await;
    bed.turn_page("base").await;
    for _ in 0..2 {
        let item = v2::made(&bed, &json!({"public_key": public_key()})).await;
        let url = format!("https://api.example.net/moor/api/v2/keys/{}/", item["id"]);
        assert_eq!(text(&item, "url"), url);
    }
    let query = [("token", bed.key.as_str()), ("limit", "1")];
    let page = v2::bare(&bed, "GET", "keys/", &query).await.json();
    let next = text(&page, "next");
    assert!(next.starts_with("https://api.example.net/moor/api/v2/keys/?limit=1&offset=1&token="));
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_carried_outlives_the_server() {
    let mut bed = Bed::on_sqlite().await;
    take_own_ports(&bed).await;
    bed.turn_page("restart").await;
    let device = Device::enrolled(&bed).await;
    let held = device.hold(&bed);
    until("a session", async || {
        !v2::results(&bed, &bed.key, "sessions/").await.is_empty()
    })
    .await;
    let sent = vec![b'm'; 10_000];
    let visitor = IpAddr::from([127, 1, 0, 1]);
    assert_eq!(visit(visitor, device.port, &sent).await, sent);
    let month = Timestamp::now().month_start();
    let folder = bed.stop().await;
    drop(held);
    let keys = MasterKey::read_or_create(&folder.path().join("master.key")).unwrap();
    let url = format!("sqlite://{}", folder.path().join("moorline.db").display());
    let registry = Registry::open(&url, keys).await.unwrap();
    let id = device_id(&device.client_id);
    let device = registry.device(id).await.unwrap().unwrap();
    assert_eq!(device.bytes_in(month), 20_000);
    let up = device.last_up_at.expect("the tunnel came up");
    assert!(up >= device.created_at && up <= Timestamp::now());
}
