//! Several processes on one database, and one after the other.

use std::collections::HashSet;

use moorline_server::master_key::MasterKey;
use moorline_server::registry::Registry;
use moorline_server::registry::error::{CreateDeviceError, RegistryError};
use moorline_server::registry::model::NewDevice;

use crate::registry::bed::{Bed, node, public_key};

pub(crate) async fn two_processes_share_ports_and_numbers(bed: Bed) {
    bed.registry
        .put_node(node("eu1", (30_000, 30_119)))
        .await
        .unwrap();
    let other = Registry::open(&bed.url, bed.master_key.clone())
        .await
        .unwrap();
    let new = |n: u8| {
        if n < 10 {
            bed.with_key(n)
        } else {
            bed.new_device()
        }
    };
    let calls = (0..60u8).flat_map(|n| {
        [
            bed.registry.create_device(new(n)),
            other.create_device(new(n)),
        ]
    });
    let made = futures::future::join_all(calls).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    let created: Vec<_> = made.iter().filter(|device| device.created).collect();
    assert_eq!(created.len(), 110);
    let names: HashSet<_> = created.iter().map(|device| &device.name).collect();
    let ports: HashSet<_> = created
        .iter()
        .map(|device| device.forward.public_port)
        .collect();
    assert_eq!((names.len(), ports.len()), (110, 110));
    let rest = bed.at_once((0..10).map(|_| bed.new_device())).await;
    assert!(rest.iter().all(Result::is_ok));
    let full = bed.create(bed.new_device()).await;
    assert!(matches!(full, Err(CreateDeviceError::NodeUnavailable)));
    // A port that the other process released is found, after a second at the latest.
    assert!(other.delete_device(bed.account, made[0].id).await.unwrap());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    let again = loop {
        match bed.create(bed.new_device()).await {
            Ok(device) => break device,
            Err(CreateDeviceError::NodeUnavailable) => {
                assert!(tokio::time::Instant::now() < deadline);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(again.forward.public_port, made[0].forward.public_port);
}

pub(crate) async fn a_key_revoked_elsewhere_is_refused(bed: Bed) {
    bed.made(bed.new_device()).await;
    let other = Registry::open(&bed.url, bed.master_key.clone())
        .await
        .unwrap();
    assert!(other.revoke_api_key(bed.account, "first").await.unwrap());
    let refused = bed.create(bed.new_device()).await;
    assert!(matches!(refused, Err(CreateDeviceError::KeyRefused)));
}

pub(crate) async fn everything_is_there_after_a_restart(bed: Bed) {
    let made = bed.made(bed.with_key(1)).await;
    let Bed {
        registry,
        url,
        master_key,
        account,
        key,
    } = bed;
    drop(registry);
    let registry = Registry::open(&url, master_key.clone()).await.unwrap();
    let bed = Bed {
        registry,
        url,
        master_key,
        account,
        key,
    };
    let device = bed
        .registry
        .device_by_key(&public_key(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (device.id, device.forwards[0].id),
        (made.id, made.forward.id)
    );
    let again: NewDevice = bed.with_key(1);
    assert!(!bed.made(again).await.created);
    let next = bed.made(bed.new_device()).await;
    assert_eq!(next.name, "cli000002");
    assert_ne!(next.forward.public_port, made.forward.public_port);
    let other = MasterKey::random().unwrap();
    let refused = Registry::open(&bed.url, other).await;
    assert!(matches!(refused, Err(RegistryError::OtherMasterKey)));
    bed.sql("INSERT INTO schema_migrations (number, name, applied_at) VALUES (999, 'later', 0)")
        .await;
    let refused = Registry::open(&bed.url, bed.master_key.clone()).await;
    assert!(matches!(refused, Err(RegistryError::TooNew { .. })));
}
