//! What the Openport surface asks for: devices made from a key, open sessions, clicks, traffic by month.

use std::collections::HashMap;

use moorline_server::registry::error::RegisterKeyError;
use moorline_server::registry::model::{
    DeviceFilter, DeviceId, ForwardId, KeyNaming, LinkClick, NewKeyedDevice, Node, NodeStatus,
    Slice, Timestamp,
};
use uuid::Uuid;

use crate::registry::bed::{Bed, node, public_key};

fn keyed(bed: &Bed, number: u8, naming: KeyNaming) -> NewKeyedDevice {
    NewKeyedDevice {
        account: bed.account,
        public_key: public_key(number),
        naming,
        ip_link_protection: true,
        metadata: serde_json::json!({}),
    }
}

pub(crate) async fn a_key_alone_makes_a_device(bed: Bed) {
    let registry = &bed.registry;
    let make = async |number, naming| {
        let new = keyed(&bed, number, naming);
        registry.create_keyed_device(new).await
    };
    let given = |name: &str| KeyNaming::Given(name.into());
    let one = make(1, given("One")).await.unwrap();
    assert_eq!((one.name.as_str(), one.region.as_str()), ("One", "eu1"));
    assert!(one.forwards.is_empty() && one.ip_link_protection);
    assert_eq!(one.public_key, Some(public_key(1)));
    assert_eq!(one.public_key.as_ref().unwrap().comment, "device 1");
    let found = registry.device_by_number(one.number).await.unwrap();
    assert_eq!(found.unwrap().id, one.id);
    assert!(registry.device_by_number(-1).await.unwrap().is_none());
    let key_taken = make(1, given("two")).await;
    assert!(matches!(key_taken, Err(RegisterKeyError::KeyTaken)));
    let name_taken = make(2, given("oNE")).await;
    assert!(matches!(name_taken, Err(RegisterKeyError::NameTaken)));
    let preferred = |name: &str| KeyNaming::Preferred(name.into());
    let two = make(2, preferred("two")).await.unwrap();
    assert_eq!(two.name, "two");
    let three = make(3, preferred("TWO")).await.unwrap();
    assert_eq!(three.name, format!("key{}", three.number));
    let next = three.number + 1;
    let squatter = make(4, given(&format!("KEY{}", next + 1))).await.unwrap();
    assert_eq!(squatter.number, next);
    let five = make(5, KeyNaming::Number).await.unwrap();
    assert_eq!(five.name, format!("key{}-2", five.number));
    let first = registry.ensure_first_forward(one.id).await.unwrap();
    assert!(first.first && first.link_token.is_some());
    let filter = DeviceFilter {
        ids: Some(vec![one.id, five.id, DeviceId(Uuid::new_v4())]),
        limit: Some(1),
        ..DeviceFilter::default()
    };
    let count = registry.count_filtered_devices(bed.account, &filter).await;
    assert_eq!(count.unwrap(), 2);
}

pub(crate) async fn a_device_from_a_key_gets_a_region(bed: Bed) {
    let registry = &bed.registry;
    let region = async |number| {
        let new = keyed(&bed, number, KeyNaming::Number);
        registry.create_keyed_device(new).await.unwrap().region
    };
    registry.put_node(node("af1", (1, 3))).await.unwrap();
    assert_eq!(region(1).await, "eu1", "it has most free ports");
    let down = Node {
        status: NodeStatus::Down,
        ..node("eu1", (10_000, 59_999))
    };
    registry.put_node(down).await.unwrap();
    assert_eq!(region(2).await, "af1", "it is active");
    let set = registry.set_default_region(bed.account, Some("eu1".into()));
    assert!(set.await.unwrap());
    assert_eq!(region(3).await, "eu1", "the account says so");
}

pub(crate) async fn open_sessions_are_found_by_account(bed: Bed) {
    let registry = &bed.registry;
    let other = registry.create_account("other").await.unwrap().id;
    let mut open = Vec::new();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let made = bed.made(bed.new_device()).await;
        numbers.push(made.forward.id);
        open.insert(0, made.forward.id);
    }
    let closed = bed.made(bed.new_device()).await.forward.id;
    open.extend((0..1500).map(|n| ForwardId(1_000_000 + n)));
    let ask = async |account, limit, offset| {
        let slice = Slice { limit, offset };
        let (total, sessions) = registry.open_sessions(account, &open, slice).await.unwrap();
        let ids: Vec<_> = sessions.iter().map(|one| one.forward.id).collect();
        for session in &sessions {
            assert!(session.device.forwards.contains(&session.forward));
        }
        (total, ids)
    };
    assert_eq!(ask(bed.account, 100, 0).await, (3, numbers.clone()));
    assert_eq!(ask(bed.account, 1, 1).await, (3, numbers[1..2].to_vec()));
    assert_eq!(ask(bed.account, 100, 3).await, (3, Vec::new()));
    assert_eq!(ask(bed.account, u64::MAX, u64::MAX).await, (3, Vec::new()));
    assert_eq!(ask(other, 100, 0).await, (0, Vec::new()));
    assert!(!numbers.contains(&closed));
    let none = Slice {
        limit: 1,
        offset: 0,
    };
    let (total, _) = registry
        .open_sessions(bed.account, &[], none)
        .await
        .unwrap();
    assert_eq!(total, 0);
}

pub(crate) async fn clicks_outlive_their_device(bed: Bed) {
    let registry = &bed.registry;
    let one = bed.made(bed.named("one")).await.id;
    let two = bed.made(bed.named("two")).await.id;
    let visitor = "2001:db8::1".parse().unwrap();
    let mut made = Vec::new();
    for (at, id) in [(9, one), (8, two), (7, one)] {
        let device = registry.device(id).await.unwrap().unwrap();
        let (forward, at) = (&device.forwards[0], Timestamp(at));
        let recorded = registry.record_click(&device, forward, visitor, at).await;
        recorded.unwrap();
        made.push(LinkClick {
            at,
            account: bed.account,
            device: id,
            forward: forward.id,
            port: forward.public_port,
            source_ip: visitor,
            key_name: device.name.clone(),
        });
    }
    assert!(registry.delete_device(bed.account, one).await.unwrap());
    registry.rename_device(two, "three").await.unwrap();
    let all = Slice {
        limit: 9,
        offset: 0,
    };
    let listed = async |devices: Option<&[DeviceId]>, slice| {
        let clicks = registry.link_clicks(bed.account, devices, slice).await;
        clicks.unwrap()
    };
    assert_eq!(listed(None, all).await, (3, made.clone()), "oldest first");
    let part = Slice {
        limit: 1,
        offset: 1,
    };
    assert_eq!(listed(Some(&[one]), part).await, (2, made[2..].to_vec()));
    assert_eq!(listed(Some(&[]), all).await, (0, Vec::new()));
    let other = registry.create_account("other").await.unwrap().id;
    let theirs = registry.link_clicks(other, None, all).await.unwrap();
    assert_eq!(theirs, (0, Vec::new()));
}

pub(crate) async fn traffic_counts_by_month(bed: Bed) {
    let registry = &bed.registry;
    let (one, two) = (
        bed.made(bed.new_device()).await.id,
        bed.made(bed.new_device()).await.id,
    );
    let gone = DeviceId(Uuid::new_v4());
    let month = |text: &str| Timestamp::from_rfc3339(text).unwrap();
    let (november, december) = (month("2026-11-01T00:00:00Z"), month("2026-12-01T00:00:00Z"));
    let carry = async |bytes: &[(DeviceId, u64)], month| {
        let bytes: HashMap<_, _> = bytes.iter().copied().collect();
        registry.record_traffic(&bytes, month).await.unwrap();
    };
    let carried = async |id, month| registry.device(id).await.unwrap().unwrap().bytes_in(month);
    assert_eq!(carried(one, november).await, 0);
    carry(&[(one, 5), (two, 1 << 40), (gone, 3)], november).await;
    registry
        .record_seen(vec![(one, Timestamp(7))])
        .await
        .unwrap();
    carry(&[(one, 6)], november).await;
    assert_eq!(carried(one, november).await, 11);
    assert_eq!(carried(one, december).await, 0, "a new month begins at 0");
    carry(&[(one, 2)], december).await;
    assert_eq!(carried(one, december).await, 2);
    assert_eq!(carried(two, november).await, 1 << 40);
    let many: Vec<_> = (0..1200).map(|_| (DeviceId(Uuid::new_v4()), 1)).collect();
    carry(&many, december).await;
    carry(&[], december).await;
    let device = registry.device(one).await.unwrap().unwrap();
    assert_eq!(device.last_seen_at, Some(Timestamp(7)), "the rest stays");
}

pub(crate) async fn times_of_coming_up_never_go_back(bed: Bed) {
    let registry = &bed.registry;
    let id = bed.made(bed.new_device()).await.id;
    let up = async |at| {
        let ups = [
            (id, Timestamp(at)),
            (DeviceId(Uuid::new_v4()), Timestamp(at)),
        ];
        registry.record_up(&HashMap::from(ups)).await.unwrap();
        registry.device(id).await.unwrap().unwrap().last_up_at
    };
    assert_eq!(registry.device(id).await.unwrap().unwrap().last_up_at, None);
    assert_eq!(up(5).await, Some(Timestamp(5)));
    assert_eq!(up(4).await, Some(Timestamp(5)));
    assert_eq!(up(6).await, Some(Timestamp(6)));
    registry.record_up(&HashMap::new()).await.unwrap();
}

pub(crate) async fn protection_makes_the_links_that_are_missing(bed: Bed) {
    let registry = &bed.registry;
    let made = bed.made(bed.new_device()).await;
    let kept = bed.made(bed.new_device()).await;
    let link = async |id| {
        let device = registry.device(id).await.unwrap().unwrap();
        let token = device.forwards[0].link_token.clone();
        (
            device.ip_link_protection,
            token.map(|token| token.into_exposed()),
        )
    };
    let (_, old) = link(kept.id).await;
    bed.sql(&format!(
        "UPDATE forwards SET link_token = NULL WHERE id = {}",
        made.forward.id
    ))
    .await;
    assert!(
        registry
            .set_ip_link_protection(made.id, false)
            .await
            .unwrap()
    );
    assert_eq!(link(made.id).await, (false, None));
    assert!(
        registry
            .set_ip_link_protection(made.id, true)
            .await
            .unwrap()
    );
    let (on, token) = link(made.id).await;
    assert!(on && token.is_some_and(|token| token.len() == 16));
    assert!(
        registry
            .set_ip_link_protection(kept.id, true)
            .await
            .unwrap()
    );
    assert_eq!(link(kept.id).await, (true, old), "a link stays as it is");
    let nobody = DeviceId(Uuid::new_v4());
    assert!(!registry.set_ip_link_protection(nobody, true).await.unwrap());
}
