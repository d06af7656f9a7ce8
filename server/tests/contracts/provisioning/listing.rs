//! Section 4.3: `device_list`.

use crate::bed::{Bed, text};

const KEYS: [&str; 12] = [
    "host_name",
    "host_id",
    "client_id",
    "tunnel_open",
    "client_active",
    "forwarding_server",
    "username",
    "port",
    "user_id",
    "ports_id",
    "dbid",
    "last_ping_time",
];

pub(crate) async fn items_have_exactly_these_keys(bed: &Bed) {
    assert_eq!(bed.get("device_list", &[]).await.body, "[]");
    let made = bed.create(&[("name", "n"), ("username", "pi")]).await;
    let reply = bed.get("device_list", &[]).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let id = text(&made, "client_id");
    let dbid = text(&reply.json()[0], "dbid");
    let expected = format!(
        r#"[{{"host_name":"n","host_id":"{id}","client_id":"{id}","tunnel_open":false,"client_active":false,"forwarding_server":"","username":"pi","port":{},"user_id":{},"ports_id":{},"dbid":"{dbid}","last_ping_time":""}}]"#,
        made["port"], bed.account, made["ports_id"]
    );
    assert_eq!(reply.body, expected);
    assert_eq!(dbid.len(), 20);
    let item = reply.json()[0].as_object().unwrap().clone();
    assert_eq!(item.len(), KEYS.len());
    assert!(KEYS.iter().all(|key| item.contains_key(*key)));
}

pub(crate) async fn pages_and_prefixes_cut_the_list(bed: &Bed) {
    for name in ["b1", "a1", "b2", "B3", "b_4", "b%"] {
        if name != "b%" {
            bed.create(&[("name", name)]).await;
        }
    }
    let names = async |parameters: &[(&str, &str)]| -> String {
        let list = bed.get("device_list", parameters).await.json();
        let names = list
            .as_array()
            .unwrap()
            .iter()
            .map(|item| text(item, "host_name"));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[]).await, "b1 a1 b2 B3 b_4", "order of creation");
    assert_eq!(names(&[("limit", "2")]).await, "b1 a1");
    assert_eq!(names(&[("limit", "2"), ("offset", "1")]).await, "a1 b2");
    assert_eq!(names(&[("offset", "3")]).await, "B3 b_4");
    assert_eq!(names(&[("offset", "9")]).await, "");
    assert_eq!(names(&[("prefix", "b")]).await, "b1 b2 b_4");
    assert_eq!(names(&[("prefix", "b_")]).await, "b_4", "no wildcard");
    assert_eq!(
        names(&[("prefix", "b"), ("offset", "1"), ("limit", "1")]).await,
        "b2"
    );
}

/// More than two pages of the writer.
pub(crate) async fn long_lists_come_whole(bed: &Bed) {
    const COUNT: usize = 1_203;
    let one = [("prefix", "l")];
    for _ in 0..COUNT / 401 {
        let calls = (0..401).map(|_| bed.create(&one));
        futures::future::join_all(calls).await;
    }
    let list = bed.list(&bed.key).await;
    assert_eq!(list.len(), COUNT);
    let ids: std::collections::HashSet<String> =
        list.iter().map(|item| text(item, "client_id")).collect();
    assert_eq!(ids.len(), COUNT);
    let reply = bed
        .get("device_list", &[("limit", "1002"), ("offset", "100")])
        .await;
    assert_eq!(reply.json().as_array().unwrap().len(), 1002);
}
