//! Section 4.1: `create_new_client`.

use std::collections::HashSet;

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::model::{KeyLimits, Node, NodeStatus};

use crate::bed::{Bed, KeyWish, device_id, public_key, text};

pub(crate) async fn serial_names_count_up(bed: &Bed) {
    let name =
        async |parameters: &[(&str, &str)]| text(&bed.create(parameters).await, "client_name");
    assert_eq!(name(&[]).await, "000001");
    assert_eq!(name(&[("prefix", "cam")]).await, "cam000001");
    assert_eq!(
        name(&[("prefix", "cam"), ("type", "serial")]).await,
        "cam000002"
    );
    assert_eq!(name(&[]).await, "000002");
    bed.create(&[("name", "cam000003")]).await;
    assert_eq!(
        name(&[("prefix", "cam")]).await,
        "cam000004",
        "a taken name is skipped"
    );
    let gone = bed.device(&[("prefix", "cam")]).await;
    assert_eq!(bed.code("delete_client", &[("client_id", &gone)]).await, 0);
    assert_eq!(
        name(&[("prefix", "cam")]).await,
        "cam000006",
        "a number is not given twice"
    );
    assert_eq!(
        bed.code(
            "create_new_client",
            &[("region", "nowhere"), ("prefix", "cam")]
        )
        .await,
        41
    );
    assert_eq!(
        name(&[("prefix", "cam")]).await,
        "cam000007",
        "a refused call takes none"
    );
}

pub(crate) async fn names_are_unique_without_case(bed: &Bed) {
    let given = [("name", "Kiln-3"), ("prefix", "cam"), ("type", "random")];
    assert_eq!(text(&bed.create(&given).await, "client_name"), "Kiln-3");
    let again = bed
        .verdict("create_new_client", &[("name", "kILN-3")])
        .await;
    assert_eq!(again, (31, "Wrong data: name is already in use".into()));
    let both = [("name", "fine"), ("prefix", "-")];
    assert_eq!(
        bed.code("create_new_client", &both).await,
        31,
        "checked though not used"
    );
}

pub(crate) async fn random_names_have_twenty_characters(bed: &Bed) {
    let made = bed.create(&[("type", "random"), ("prefix", "cam")]).await;
    let name = text(&made, "client_name");
    assert!(
        name.len() == 20 && name.chars().all(|c| c.is_ascii_alphanumeric()),
        "{name}"
    );
}

pub(crate) async fn the_answer_tells_where_to_go(bed: &Bed) {
    let reply = bed
        .get("create_new_client", &[("name", "n"), ("fwport", "8022")])
        .await;
    let json = reply.json();
    let id = text(&json, "client_id");
    let expected = format!(
        r#"{{"message":"OK","error_code":0,"success":true,"client_name":"n","client_id":"{id}","region":"local","forwarding_server":"127.0.0.1","port":{},"ports_id":{},"created":true}}"#,
        json["port"], json["ports_id"]
    );
    assert_eq!(reply.body, expected);
    assert!((20_000..=40_000).contains(&json["port"].as_u64().unwrap()));
    let device = bed.registry.device(device_id(&id)).await.unwrap().unwrap();
    assert_eq!(device.forwards[0].device_port, 8022);
    assert_eq!(
        (device.max_connections_per_minute, device.ip_link_protection),
        (10, false)
    );
}

pub(crate) async fn a_public_key_makes_it_idempotent(bed: &Bed) {
    let key = public_key();
    let first = bed
        .create(&[
            ("public_key", &format!("{key} root@first")),
            ("name", "mine"),
            ("hostname", "a"),
        ])
        .await;
    assert_eq!(first["created"], true);
    let (kind, data) = key.split_once(' ').unwrap();
    let spelled = format!(
        "  {kind} {}\n{} other comment\r\n",
        &data[..20],
        &data[20..]
    );
    let hardware = r#"{"model":"m2"}"#;
    let again = [
        ("public_key", spelled.as_str()),
        ("name", "mine"),
        ("region", "nowhere"),
        ("fwport", "99"),
        ("hostname", "b"),
        ("hardware", hardware),
    ];
    let second = bed.create(&again).await;
    assert_eq!(second["created"], false);
    for name in [
        "client_id",
        "client_name",
        "port",
        "ports_id",
        "region",
        "forwarding_server",
    ] {
        assert_eq!(second[name], first[name], "{name}");
    }
    let device = bed
        .registry
        .device(device_id(&text(&first, "client_id")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (device.hostname.as_deref(), device.hardware.as_deref()),
        (Some("b"), Some(hardware))
    );
    assert_eq!(
        device.forwards[0].device_port, 22,
        "other parameters are not applied"
    );
    let bad = [("public_key", key.as_str()), ("fwport", "0")];
    assert_eq!(bed.code("create_new_client", &bad).await, 31, "but checked");
    bed.set_node(NodeStatus::Down).await;
    assert_eq!(bed.create(&[("public_key", &key)]).await["created"], false);
    bed.set_node(NodeStatus::Active).await;
    assert_eq!(
        text(&bed.create(&[]).await, "client_name"),
        "000001",
        "no serial was used"
    );
    let stranger = bed
        .registry
        .create_account("key-stranger")
        .await
        .unwrap()
        .id;
    let foreign = bed.key_of(stranger, KeyWish::default()).await;
    let reply = bed
        .bare(
            "create_new_client",
            &[("api_key", &foreign), ("public_key", &key)],
        )
        .await;
    assert_eq!(
        reply.verdict(),
        (31, "Wrong data: public_key is already in use".into())
    );
    let id = text(&first, "client_id");
    assert_eq!(bed.code("delete_client", &[("client_id", &id)]).await, 0);
    let reborn = bed.create(&[("public_key", &key)]).await;
    assert_eq!(reborn["created"], true);
    assert_ne!(reborn["client_id"], first["client_id"]);
}

pub(crate) async fn parallel_calls_of_one_device_make_one(bed: &Bed) {
    let key = public_key();
    let parameters = [("public_key", key.as_str()), ("prefix", "p")];
    let calls = (0..20).map(|_| bed.create(&parameters));
    let made = futures::future::join_all(calls).await;
    let ids: HashSet<String> = made.iter().map(|made| text(made, "client_id")).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        made.iter().filter(|made| made["created"] == true).count(),
        1
    );
    let one = [("prefix", "q")];
    let calls = (0..40).map(|_| bed.create(&one));
    let made = futures::future::join_all(calls).await;
    let names: HashSet<String> = made.iter().map(|made| text(made, "client_name")).collect();
    let ports: HashSet<u64> = made
        .iter()
        .filter_map(|made| made["port"].as_u64())
        .collect();
    assert_eq!((names.len(), ports.len()), (40, 40));
}

pub(crate) async fn limits_of_a_key_bind(bed: &Bed) {
    let wish = |limits| KeyWish {
        limits,
        ..KeyWish::default()
    };
    let known = public_key();
    bed.create(&[("public_key", &known)]).await;
    let bound = bed
        .make_key(wish(KeyLimits {
            prefix: Some("cam".into()),
            region: Some("local".into()),
            uses: Some(2),
            expires_at: None,
        }))
        .await;
    let ask = async |parameters: &[(&str, &str)]| {
        let with_key = [&[("api_key", bound.as_str())], parameters].concat();
        bed.bare("create_new_client", &with_key).await
    };
    let wrong = (
        31,
        "Wrong data: prefix is not allowed for this key".to_owned(),
    );
    assert_eq!(ask(&[("prefix", "dog")]).await.verdict(), wrong);
    assert_eq!(
        ask(&[("region", "other")]).await.verdict(),
        (41, "Invalid region key".into())
    );
    let both = [
        ("public_key", known.as_str()),
        ("prefix", "dog"),
        ("region", "other"),
    ];
    assert_eq!(
        ask(&both).await.verdict().0,
        0,
        "a known device is only answered"
    );
    assert_eq!(
        text(&ask(&[]).await.json(), "client_name"),
        "cam000001",
        "supplied when absent"
    );
    let mine = public_key();
    let last = ask(&[
        ("prefix", "cam"),
        ("region", "local"),
        ("public_key", &mine),
    ])
    .await;
    assert_eq!(text(&last.json(), "client_name"), "cam000002");
    assert_eq!(ask(&[]).await.verdict().0, 32, "used up");
    assert_eq!(
        ask(&[("prefix", "dog")]).await.verdict().0,
        32,
        "before bad parameters"
    );
    assert_eq!(ask(&[("public_key", &mine)]).await.json()["created"], false);
}

pub(crate) async fn regions_are_chosen(bed: &Bed) {
    assert_eq!(bed.create(&[("region", "local")]).await["region"], "local");
    assert_eq!(
        bed.create(&[]).await["region"],
        "local",
        "the only node there is"
    );
    let told = bed
        .verdict("create_new_client", &[("region", "LOCAL")])
        .await;
    assert_eq!(told, (41, "Invalid region key".into()));
}

pub(crate) async fn a_node_that_is_down_is_40(bed: &Bed) {
    let refused = (40, "Cannot access forwarding server".to_owned());
    for status in [NodeStatus::Down, NodeStatus::Draining] {
        bed.set_node(status).await;
        let told = bed.verdict("create_new_client", &[("prefix", "d")]).await;
        assert_eq!(told, refused);
    }
    bed.set_node(NodeStatus::Active).await;
    let node = bed.node().await;
    let full = Node {
        ports: (1, 1),
        ..node.clone()
    };
    bed.registry.put_node(full).await.unwrap();
    let taken = bed
        .get("create_new_client", &[("prefix", "d")])
        .await
        .verdict()
        .0;
    let none_left = bed.verdict("create_new_client", &[("prefix", "d")]).await;
    bed.registry.put_node(node).await.unwrap();
    assert_eq!(taken, 0, "the one port there was");
    assert_eq!(none_left, refused, "no free port");
    assert_eq!(
        text(&bed.create(&[("prefix", "d")]).await, "client_name"),
        "d000002"
    );
}

pub(crate) async fn states_refuse_creation(bed: &Bed) {
    let key = public_key();
    let id = bed.device(&[("public_key", &key)]).await;
    bed.set_state(&id, DeviceState::Blocked).await;
    let told = bed
        .verdict("create_new_client", &[("public_key", &key)])
        .await;
    assert_eq!(told, (23, "Client blocked".into()));
    bed.set_state(&id, DeviceState::Inactive).await;
    let told = bed
        .verdict("create_new_client", &[("public_key", &key)])
        .await;
    assert_eq!(told, (24, "Client inactive".into()));
}
