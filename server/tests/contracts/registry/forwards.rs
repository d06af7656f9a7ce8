//! Forwards that operators add, and HTTP names.

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::MAX_FORWARDS;
use moorline_server::registry::error::AddForwardError;
use moorline_server::registry::model::{DeviceId, ForwardKind, NodeStatus, Standing, Wanted};
use uuid::Uuid;

use crate::registry::bed::{Bed, node};

pub(crate) async fn forwards_are_added_once_and_taken_away(bed: Bed) {
    let made = bed.made(bed.new_device()).await;
    let registry = &bed.registry;
    let (tcp, fresh) = registry
        .add_forward(made.id, 80, ForwardKind::Tcp)
        .await
        .unwrap();
    assert!(fresh && !tcp.first && tcp.is_for_agent() && tcp.http_label.is_none());
    let (again, fresh) = registry
        .add_forward(made.id, 80, ForwardKind::Tcp)
        .await
        .unwrap();
    assert_eq!((again, fresh), (tcp.clone(), false));
    let (http, fresh) = registry
        .add_forward(made.id, 80, ForwardKind::Http)
        .await
        .unwrap();
    let label = http.http_label.clone().unwrap();
    assert!(fresh && http.public_port != tcp.public_port);
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    assert!(label.len() == 8 && label.chars().all(small), "{label}");
    // The first one stays, and another device's is none of this one's.
    let device = registry.device(made.id).await.unwrap().unwrap();
    assert_eq!(device.forwards.len(), 3);
    let first = device.forwards[0].id;
    let other = bed.made(bed.new_device()).await;
    assert!(!registry.remove_forward(made.id, first).await.unwrap());
    assert!(!registry.remove_forward(other.id, http.id).await.unwrap());
    assert!(registry.remove_forward(made.id, http.id).await.unwrap());
    assert!(!registry.remove_forward(made.id, http.id).await.unwrap());
    let nobody = DeviceId(Uuid::from_u128(1));
    let refused = registry.add_forward(nobody, 80, ForwardKind::Tcp).await;
    assert!(matches!(refused, Err(AddForwardError::UnknownDevice)));
    assert!(!registry.remove_forward(nobody, tcp.id).await.unwrap());
}

pub(crate) async fn a_device_has_so_many_forwards(bed: Bed) {
    let made = bed.made(bed.new_device()).await;
    let registry = &bed.registry;
    for port in 1..MAX_FORWARDS {
        let port = u16::try_from(port).unwrap();
        let added = registry.add_forward(made.id, 1000 + port, ForwardKind::Tcp);
        assert!(added.await.unwrap().1);
    }
    let refused = registry.add_forward(made.id, 1, ForwardKind::Tcp).await;
    assert!(matches!(refused, Err(AddForwardError::TooMany)));
    let there = registry.add_forward(made.id, 1001, ForwardKind::Tcp).await;
    assert!(!there.unwrap().1);
}

pub(crate) async fn a_node_without_a_port_adds_no_forward(bed: Bed) {
    let made = bed.made(bed.new_device()).await;
    let registry = &bed.registry;
    let device = registry.device(made.id).await.unwrap().unwrap();
    let region = device.region.clone();
    let mut there = registry.node(&region).await.unwrap().unwrap();
    let port = device.forwards[0].public_port;
    there.ports = (port, port);
    registry.put_node(there.clone()).await.unwrap();
    let refused = registry.add_forward(made.id, 80, ForwardKind::Http).await;
    assert!(matches!(refused, Err(AddForwardError::NodeUnavailable)));
    there.ports = (port, port + 1);
    there.status = NodeStatus::Down;
    registry.put_node(there.clone()).await.unwrap();
    let refused = registry.add_forward(made.id, 80, ForwardKind::Http).await;
    assert!(matches!(refused, Err(AddForwardError::NodeUnavailable)));
    there.status = NodeStatus::Active;
    there.names_domain = Some("names.example.net".into());
    registry.put_node(there.clone()).await.unwrap();
    let kept = registry.node(&region).await.unwrap().unwrap();
    // The port comes back with the forward that had it.
    let (forward, _) = registry
        .add_forward(made.id, 80, ForwardKind::Http)
        .await
        .unwrap();
    let label = forward.http_label.clone().unwrap();
    let name = format!("{label}.u.names.example.net");
    assert_eq!(kept.http_name(&forward), Some(name));
    assert_eq!(forward.public_port, port + 1);
    assert!(registry.remove_forward(made.id, forward.id).await.unwrap());
    let again = registry.add_forward(made.id, 81, ForwardKind::Tcp).await;
    assert_eq!(again.unwrap().0.public_port, port + 1);
}

pub(crate) async fn http_names_lead_to_forwards(bed: Bed) {
    let made = bed.made(bed.new_device()).await;
    let registry = &bed.registry;
    let (forward, _) = registry
        .add_forward(made.id, 80, ForwardKind::Http)
        .await
        .unwrap();
    let (label, node_name) = (forward.http_label.unwrap(), forward.node);
    let found = async || registry.forward_by_label(&node_name, &label).await.unwrap();
    let name = found().await.unwrap();
    assert_eq!((name.device, name.forward), (made.id, forward.id));
    assert_eq!(name.standing, Standing::Open);
    // Another node has other names, even while it has the same label.
    registry.put_node(node("elsewhere", (1, 2))).await.unwrap();
    for (node, label) in [("elsewhere", label.as_str()), (&node_name, "zzzzzzzz")] {
        let nobody = registry.forward_by_label(node, label).await.unwrap();
        assert_eq!(nobody, None, "{node} {label}");
    }
    registry.set_wanted(made.id, Wanted::Closed).await.unwrap();
    assert_eq!(found().await.unwrap().standing, Standing::Closed);
    registry.set_wanted(made.id, Wanted::Open).await.unwrap();
    for (state, standing) in [
        (DeviceState::Blocked, Standing::Blocked),
        (DeviceState::Inactive, Standing::Inactive),
        (DeviceState::Active, Standing::Open),
    ] {
        registry.set_state(made.id, state).await.unwrap();
        assert_eq!(found().await.unwrap().standing, standing);
    }
    registry.suspend_account(bed.account, true).await.unwrap();
    assert_eq!(found().await.unwrap().standing, Standing::Inactive);
    registry.suspend_account(bed.account, false).await.unwrap();
    bed.sql(&format!(
        "UPDATE forwards SET killed = TRUE WHERE id = {}",
        forward.id
    ))
    .await;
    assert_eq!(found().await.unwrap().standing, Standing::Closed);
    bed.sql(&format!(
        "UPDATE forwards SET is_http = FALSE WHERE id = {}",
        forward.id
    ))
    .await;
    assert_eq!(found().await, None);
}
