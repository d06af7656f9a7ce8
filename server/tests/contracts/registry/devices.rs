//! Finding and changing devices.

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::error::{CreateDeviceError, ForwardError, RenameError, SetKeyError};
use moorline_server::registry::model::{
    DeviceFilter, DeviceId, EventFilter, ForwardId, NewDevice, NewEvent, Node, NodeStatus,
    Standing, Timestamp, Wanted,
};
use uuid::Uuid;

use crate::registry::bed::{Bed, new_client, node, public_key};

pub(crate) async fn accounts_do_not_see_each_other(bed: Bed) {
    let ours = bed.made(bed.with_key(1)).await;
    let other = bed.registry.create_account("other").await.unwrap().id;
    let (key, _) = bed
        .registry
        .create_api_client(other, new_client("first"))
        .await
        .unwrap();
    let theirs = |new: NewDevice| NewDevice {
        account: other,
        api_key_id: key.id.clone(),
        ..new
    };
    let refused = bed.create(theirs(bed.with_key(1))).await;
    assert!(matches!(
        refused,
        Err(CreateDeviceError::PublicKeyElsewhere)
    ));
    // Another account's key does not work, and neither do series and names get in each other's way.
    let foreign = NewDevice {
        account: other,
        ..bed.new_device()
    };
    assert!(matches!(
        bed.create(foreign).await,
        Err(CreateDeviceError::KeyRefused)
    ));
    let made = bed.made(theirs(bed.new_device())).await;
    assert_eq!(made.name, ours.name);
    let registry = &bed.registry;
    let found = registry
        .device_by_name(other, &ours.name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id, made.id);
    assert_eq!(
        registry
            .devices(other, DeviceFilter::default())
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(!registry.delete_device(other, ours.id).await.unwrap());
    assert!(!registry.revoke_api_key(other, &bed.key.id).await.unwrap());
    assert_eq!(registry.api_keys(other).await.unwrap().len(), 1);
    assert!(registry.device(ours.id).await.unwrap().is_some());
    // Both at once ask for one new key: one account gets it.
    let both = bed
        .at_once([bed.with_key(2), theirs(bed.with_key(2))])
        .await;
    assert_eq!(both.iter().filter(|made| made.is_ok()).count(), 1);
}

pub(crate) async fn the_four_parts_have_to_fit(bed: Bed) {
    let made = bed.made(bed.new_device()).await;
    let device = bed.registry.device(made.id).await.unwrap().unwrap();
    let dbid = device.dbid.expose().clone();
    let ask = |dbid: &str, id, ports, user| {
        let (dbid, registry) = (dbid.to_owned(), bed.registry.clone());
        async move {
            let found = registry.device_by_quadruple(&dbid, id, ports, user).await;
            found.unwrap().is_some()
        }
    };
    let ports = made.forward.id;
    let (wrong_id, wrong_ports) = (DeviceId(Uuid::new_v4()), ForwardId(ports.0 + 1));
    let wrong_user = moorline_server::registry::model::AccountId(bed.account.0 + 1);
    assert!(ask(&dbid, made.id, Some(ports), bed.account).await);
    assert!(ask(&dbid, made.id, None, bed.account).await);
    assert!(!ask("x", made.id, Some(ports), bed.account).await);
    assert!(!ask(&dbid, wrong_id, Some(ports), bed.account).await);
    assert!(!ask(&dbid, made.id, Some(wrong_ports), bed.account).await);
    assert!(!ask(&dbid, made.id, Some(ForwardId(0)), bed.account).await);
    assert!(!ask(&dbid, made.id, Some(ports), wrong_user).await);
    bed.sql("DELETE FROM forwards").await;
    assert!(ask(&dbid, made.id, Some(ForwardId(0)), bed.account).await);
}

pub(crate) async fn lists_are_in_order_and_can_be_cut(bed: Bed) {
    let names = ["cam_1", "Cam_2", "cam_3", "gate%", "cam", "cb"];
    let mut ids = Vec::new();
    for name in names {
        ids.push(bed.made(bed.named(name)).await.id);
    }
    let list = async |filter| -> Vec<String> {
        let devices = bed.registry.devices(bed.account, filter).await.unwrap();
        devices.into_iter().map(|device| device.name).collect()
    };
    let all = DeviceFilter::default;
    assert_eq!(list(all()).await, names);
    let prefix = |prefix: &str| DeviceFilter {
        prefix: Some(prefix.into()),
        ..all()
    };
    assert_eq!(list(prefix("cam")).await, ["cam_1", "cam_3", "cam"]);
    assert_eq!(list(prefix("gate%")).await, ["gate%"]);
    assert_eq!(list(prefix("%")).await, [""; 0]);
    let part = |limit, offset| DeviceFilter {
        limit,
        offset,
        ..all()
    };
    assert_eq!(list(part(Some(2), 1)).await, names[1..3]);
    assert_eq!(list(part(None, 4)).await, names[4..]);
    assert_eq!(list(part(Some(5), 9)).await, [""; 0]);
    let chosen = DeviceFilter {
        ids: Some(vec![ids[3], ids[0]]),
        ..all()
    };
    assert_eq!(list(chosen).await, ["cam_1", "gate%"]);
    assert_eq!(
        list(DeviceFilter {
            ids: Some(Vec::new()),
            ..all()
        })
        .await,
        [""; 0]
    );
    assert_eq!(bed.count().await, 6);
    let count = bed.registry.count_devices(bed.account, Some("cam")).await;
    assert_eq!(count.unwrap(), 3);
}

pub(crate) async fn changes_are_kept(bed: Bed) {
    let (registry, id) = (&bed.registry, bed.made(bed.new_device()).await.id);
    let fresh = registry.device(id).await.unwrap().unwrap();
    assert_eq!(
        (fresh.wanted, fresh.allow_clientless),
        (Wanted::Open, false)
    );
    assert!(registry.set_wanted(id, Wanted::Closed).await.unwrap());
    assert!(registry.set_allow_clientless(id, true).await.unwrap());
    assert!(registry.set_state(id, DeviceState::Inactive).await.unwrap());
    let hostname = Some("host".to_owned());
    assert!(registry.refresh_device(id, hostname, None).await.unwrap());
    assert!(
        registry
            .refresh_device(id, None, Some("{}".into()))
            .await
            .unwrap()
    );
    assert!(registry.refresh_device(id, None, None).await.unwrap());
    let keys = vec!["ssh-ed25519 AAAA".to_owned(), "ssh-rsa BBBB".to_owned()];
    assert!(registry.set_sshd_host_keys(id, keys.clone()).await.unwrap());
    let device = registry.device(id).await.unwrap().unwrap();
    assert_eq!(
        (device.wanted, device.allow_clientless),
        (Wanted::Closed, true)
    );
    assert_eq!(device.state, DeviceState::Inactive);
    assert_eq!(
        (device.hostname.as_deref(), device.hardware.as_deref()),
        (Some("host"), Some("{}"))
    );
    assert_eq!(device.sshd_host_keys, keys);
    let nobody = DeviceId(Uuid::new_v4());
    assert!(!registry.set_wanted(nobody, Wanted::Open).await.unwrap());
    assert!(!registry.refresh_device(nobody, None, None).await.unwrap());
}

pub(crate) async fn names_and_keys_stay_unique(bed: Bed) {
    let registry = &bed.registry;
    let one = bed
        .made(NewDevice {
            public_key: Some(public_key(1)),
            ..bed.named("one")
        })
        .await
        .id;
    let two = bed.made(bed.named("two")).await.id;
    let nobody = DeviceId(Uuid::new_v4());
    let taken = registry.rename_device(two, "ONE").await;
    assert!(matches!(taken, Err(RenameError::NameTaken)));
    assert!(matches!(
        registry.rename_device(nobody, "x").await,
        Err(RenameError::UnknownDevice)
    ));
    registry.rename_device(one, "ONE").await.unwrap();
    registry.rename_device(two, "three").await.unwrap();
    let found = registry
        .device_by_name(bed.account, "Three")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.id, found.name.as_str()), (two, "three"));
    let in_use = registry.set_device_key(two, public_key(1)).await;
    assert!(matches!(in_use, Err(SetKeyError::InUse)));
    let unknown = registry.set_device_key(nobody, public_key(9)).await;
    assert!(matches!(unknown, Err(SetKeyError::UnknownDevice)));
    registry.set_device_key(one, public_key(1)).await.unwrap();
    registry.set_device_key(one, public_key(2)).await.unwrap();
    registry.set_device_key(two, public_key(1)).await.unwrap();
    let owner = registry
        .device_by_key(&public_key(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(owner.id, two);
    assert_eq!(owner.public_key.unwrap().comment, "device 1");
}

pub(crate) async fn signs_of_life_never_go_back(bed: Bed) {
    let (registry, id) = (&bed.registry, bed.made(bed.new_device()).await.id);
    let other = bed.made(bed.new_device()).await.id;
    let gone = DeviceId(Uuid::new_v4());
    let seen = async || {
        let device = registry.device(id).await.unwrap().unwrap();
        (device.last_seen_at, device.last_end)
    };
    assert_eq!(seen().await, (None, None));
    let times = |at: &[i64]| at.iter().map(|at| (id, Timestamp(*at))).collect::<Vec<_>>();
    let mut batch = times(&[5, 7, 6]);
    batch.extend([(other, Timestamp(9)), (gone, Timestamp(9))]);
    registry.record_seen(batch).await.unwrap();
    assert_eq!(seen().await, (Some(Timestamp(7)), None));
    registry
        .record_end(id, "timed out", Timestamp(8))
        .await
        .unwrap();
    registry.record_seen(times(&[3])).await.unwrap();
    assert_eq!(seen().await, (Some(Timestamp(7)), Some("timed out".into())));
    registry
        .record_end(id, "clean stop", Timestamp(9))
        .await
        .unwrap();
    registry.record_seen(times(&[11])).await.unwrap();
    assert_eq!(
        seen().await,
        (Some(Timestamp(11)), Some("clean stop".into()))
    );
    registry
        .record_end(gone, "clean stop", Timestamp(9))
        .await
        .unwrap();
    registry.record_seen(Vec::new()).await.unwrap();
    let many = (0..1200)
        .map(|_| (DeviceId(Uuid::new_v4()), Timestamp(1)))
        .collect();
    registry.record_seen(many).await.unwrap();
    assert!(registry.delete_device(bed.account, id).await.unwrap());
}

pub(crate) async fn a_device_without_forward_gets_one(bed: Bed) {
    let made = bed.made(bed.with_key(1)).await;
    let first = bed.registry.ensure_first_forward(made.id).await.unwrap();
    assert_eq!(first.id, made.forward.id);
    bed.sql("DELETE FROM forwards").await;
    let second = bed.registry.ensure_first_forward(made.id).await.unwrap();
    assert_eq!(second.device_port, 22);
    assert_ne!(second.id, first.id);
    assert_eq!(
        bed.registry.ensure_first_forward(made.id).await.unwrap(),
        second
    );
    bed.sql("DELETE FROM forwards").await;
    let again = bed.made(bed.with_key(1)).await;
    assert!(!again.created);
    let device = bed.registry.device(made.id).await.unwrap().unwrap();
    assert_eq!(device.forwards[0].id, again.forward.id);
    assert_eq!(device.forwards.len(), 1);
    bed.sql("DELETE FROM forwards").await;
    let down = Node {
        status: NodeStatus::Down,
        ..node("eu1", (10_000, 59_999))
    };
    bed.registry.put_node(down).await.unwrap();
    let refused = bed.registry.ensure_first_forward(made.id).await;
    assert!(matches!(refused, Err(ForwardError::NodeUnavailable)));
    let unknown = bed
        .registry
        .ensure_first_forward(DeviceId(Uuid::new_v4()))
        .await;
    assert!(matches!(unknown, Err(ForwardError::UnknownDevice)));
}

pub(crate) async fn nodes_are_replaced_by_name(bed: Bed) {
    let registry = &bed.registry;
    registry.ping().await.unwrap();
    let new = Node {
        public_host: "new.example.net".into(),
        ssh_port: 443,
        ..node("eu1", (1, 65_535))
    };
    registry.put_node(new).await.unwrap();
    registry.put_node(node("af1", (1, 2))).await.unwrap();
    let nodes = registry.nodes().await.unwrap();
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["af1", "eu1"]);
    let eu1 = registry.node("eu1").await.unwrap().unwrap();
    assert_eq!(
        (eu1.public_host.as_str(), eu1.ssh_port, eu1.ports),
        ("new.example.net", 443, (1, 65_535))
    );
    assert!(registry.node("nowhere").await.unwrap().is_none());
}

pub(crate) async fn events_are_listed_newest_first(bed: Bed) {
    let device = DeviceId(Uuid::new_v4());
    for n in 0..5 {
        let event = NewEvent {
            account: Some(bed.account),
            device: (n % 2 == 0).then_some(device),
            user: None,
            host: None,
            task: None,
            level: "warn",
            kind: "auth.failed",
            message: format!("attempt {n}"),
            metadata: serde_json::json!({"n": n}),
        };
        bed.registry.record_event(event).await.unwrap();
    }
    let list = async |filter| bed.registry.events(filter).await.unwrap();
    let of_device = EventFilter {
        account: Some(bed.account),
        device: Some(device),
        limit: 2,
        ..EventFilter::default()
    };
    let first = list(of_device.clone()).await;
    assert_eq!(first.len(), 2);
    assert_eq!(
        (first[0].message.as_str(), &first[0].metadata["n"]),
        ("attempt 4", &4.into())
    );
    let rest = EventFilter {
        before: Some(first[1].id),
        ..of_device
    };
    let rest = list(rest).await;
    assert_eq!((rest.len(), rest[0].message.as_str()), (1, "attempt 0"));
    let none = EventFilter {
        kind: Some("other".into()),
        limit: 10,
        ..EventFilter::default()
    };
    assert!(list(none).await.is_empty());
    assert_eq!(bed.registry.forget_events(Timestamp(1)).await.unwrap(), 0);
    let now = Timestamp::now();
    assert_eq!(bed.registry.forget_events(now).await.unwrap(), 5);
}

pub(crate) async fn how_devices_stand_is_told(bed: Bed) {
    let registry = &bed.registry;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bed.made(bed.new_device()).await.id);
    }
    let standing = async |n: usize| {
        let standings = registry.standings(&ids).await.unwrap();
        standings.get(&ids[n]).copied()
    };
    for n in 0..5 {
        assert_eq!(standing(n).await, Some(Standing::Open));
    }
    registry
        .set_state(ids[0], DeviceState::Blocked)
        .await
        .unwrap();
    registry
        .set_state(ids[1], DeviceState::Inactive)
        .await
        .unwrap();
    registry.set_wanted(ids[2], Wanted::Closed).await.unwrap();
    registry.delete_device(bed.account, ids[3]).await.unwrap();
    assert_eq!(standing(0).await, Some(Standing::Blocked));
    assert_eq!(standing(1).await, Some(Standing::Inactive));
    assert_eq!(standing(2).await, Some(Standing::Closed));
    assert_eq!(standing(3).await, None);
    registry.suspend_account(bed.account, true).await.unwrap();
    assert_eq!(standing(0).await, Some(Standing::Blocked));
    assert_eq!(standing(4).await, Some(Standing::Inactive));
}
