//! Where devices are placed: the node, and its ports.

use moorline_server::registry::error::CreateDeviceError as Refusal;
use moorline_server::registry::model::{KeyLimits, NewDevice, Node, NodeStatus};

use crate::registry::bed::{Bed, node};

pub(crate) async fn ports_run_out_and_come_back(bed: Bed) {
    bed.registry
        .put_node(node("eu1", (20_000, 20_009)))
        .await
        .unwrap();
    let made = bed.at_once((0..12).map(|_| bed.new_device())).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (10, 2));
    assert!(
        refused
            .iter()
            .all(|refused| matches!(refused, Err(Refusal::NodeUnavailable)))
    );
    let mut made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    let gone = made.swap_remove(3);
    assert!(
        bed.registry
            .delete_device(bed.account, gone.id)
            .await
            .unwrap()
    );
    let again = bed.made(bed.new_device()).await;
    assert_eq!(again.forward.public_port, gone.forward.public_port);
    assert_eq!(again.name, "cli000011");
    assert!(matches!(
        bed.create(bed.new_device()).await,
        Err(Refusal::NodeUnavailable)
    ));
    // A wider range is used at once.
    bed.registry
        .put_node(node("eu1", (20_000, 20_010)))
        .await
        .unwrap();
    assert_eq!(bed.made(bed.new_device()).await.forward.public_port, 20_010);
}

pub(crate) async fn the_region_is_chosen_by_rule(bed: Bed) {
    let to = |region: &str| NewDevice {
        region: Some(region.into()),
        ..bed.new_device()
    };
    assert!(matches!(
        bed.create(to("nowhere")).await,
        Err(Refusal::UnknownRegion)
    ));
    assert_eq!(bed.made(bed.new_device()).await.region, "eu1");
    bed.registry
        .put_node(node("us1", (10_000, 59_999)))
        .await
        .unwrap();
    // Two nodes and no default: none can be chosen.
    assert!(matches!(
        bed.create(bed.new_device()).await,
        Err(Refusal::UnknownRegion)
    ));
    let made = bed.made(to("us1")).await;
    assert_eq!(
        (made.region.as_str(), made.forward.node.as_str()),
        ("us1", "us1")
    );
    let default = Some("us1".to_owned());
    assert!(
        bed.registry
            .set_default_region(bed.account, default)
            .await
            .unwrap()
    );
    assert_eq!(bed.made(bed.new_device()).await.region, "us1");
    assert_eq!(bed.made(to("eu1")).await.region, "eu1");
    let limits = KeyLimits {
        region: Some("eu1".into()),
        ..KeyLimits::default()
    };
    let bound = bed.make_key("bound", limits).await;
    let by_bound = |new: NewDevice| NewDevice {
        api_key_id: bound.id.clone(),
        ..new
    };
    assert_eq!(bed.made(by_bound(bed.new_device())).await.region, "eu1");
    assert_eq!(bed.made(by_bound(to("eu1"))).await.region, "eu1");
    assert!(matches!(
        bed.create(by_bound(to("us1"))).await,
        Err(Refusal::UnknownRegion)
    ));
}

pub(crate) async fn nodes_that_are_not_active_take_no_device(bed: Bed) {
    for status in [NodeStatus::Down, NodeStatus::Draining] {
        let away = Node {
            status,
            ..node("eu1", (10_000, 59_999))
        };
        bed.registry.put_node(away).await.unwrap();
        let refused = bed.create(bed.new_device()).await;
        assert!(
            matches!(refused, Err(Refusal::NodeUnavailable)),
            "{status:?}"
        );
    }
    assert_eq!(bed.count().await, 0);
}
