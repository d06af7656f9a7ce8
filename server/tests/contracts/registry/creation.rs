//! Making devices.

use std::collections::HashSet;
use std::time::Duration;

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::error::CreateDeviceError as Refusal;
use moorline_server::registry::model::{
    DeviceFilter, EventFilter, KeyContext, KeyLimits, Naming, NewApiClient, NewDevice, Node,
    NodeStatus, Timestamp,
};

use crate::registry::bed::{Bed, new_client, node, public_key};

pub(crate) async fn parallel_calls_get_numbers_without_a_double(bed: Bed) {
    let made = bed.at_once((0..200).map(|_| bed.new_device())).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    let mut names: Vec<_> = made.iter().map(|device| device.name.clone()).collect();
    names.sort();
    let expected: Vec<_> = (1..=200).map(|number| format!("cli{number:06}")).collect();
    assert_eq!(names, expected);
    let ports: HashSet<_> = made
        .iter()
        .map(|device| device.forward.public_port)
        .collect();
    assert_eq!(ports.len(), 200);
    let ids: HashSet<_> = made.iter().map(|device| device.id).collect();
    assert_eq!(ids.len(), 200);
    for one in made.iter().take(20) {
        let device = bed.registry.device(one.id).await.unwrap().unwrap();
        assert_eq!(
            (&device.name, device.forwards),
            (&one.name, vec![one.forward.clone()])
        );
        assert_eq!(
            (one.region.as_str(), one.public_host.as_str()),
            ("eu1", "eu1.example.net")
        );
        assert!(one.created && !device.ip_link_protection);
        assert_eq!(
            (
                device.max_connections_per_minute,
                device.dbid.expose().len()
            ),
            (10, 20)
        );
    }
    let events = EventFilter {
        kind: Some("device.created".into()),
        limit: 1000,
        ..EventFilter::default()
    };
    assert_eq!(bed.registry.events(events).await.unwrap().len(), 200);
}

pub(crate) async fn each_prefix_counts_for_itself(bed: Bed) {
    let with = |prefix: &str| NewDevice {
        naming: Naming::Serial {
            prefix: prefix.into(),
        },
        ..bed.new_device()
    };
    let mixed = ["cam", "", "cam", "gate", "", "cam"];
    let made = bed.at_once(mixed.map(with)).await;
    let mut names: Vec<_> = made
        .into_iter()
        .map(|device| device.unwrap().name)
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "000001",
            "000002",
            "cam000001",
            "cam000002",
            "cam000003",
            "gate000001"
        ]
    );
    bed.sql("UPDATE serial_counters SET next_number = 999999 WHERE prefix = 'cam'")
        .await;
    assert_eq!(bed.made(with("cam")).await.name, "cam999999");
    assert_eq!(bed.made(with("cam")).await.name, "cam1000000");
}

pub(crate) async fn taken_names_are_skipped_and_refused(bed: Bed) {
    bed.made(bed.named("CLI000002")).await;
    bed.made(bed.named("cli000003")).await;
    assert_eq!(bed.made(bed.new_device()).await.name, "cli000001");
    assert_eq!(bed.made(bed.new_device()).await.name, "cli000004");
    let refused = bed.create(bed.named("Cli000001")).await;
    assert!(matches!(refused, Err(Refusal::NameTaken)));
    let mut both = bed
        .at_once(["one", "ONE"].map(|name| bed.named(name)))
        .await;
    both.sort_by_key(Result::is_err);
    assert!(matches!(both.as_slice(), [Ok(_), Err(Refusal::NameTaken)]));
    // A chosen name and the number that would have made it, in one breath.
    let both = bed
        .at_once([bed.named("cli000005"), bed.new_device()])
        .await;
    let names: HashSet<_> = both
        .into_iter()
        .map(|device| device.unwrap().name)
        .collect();
    assert_eq!(
        names,
        ["cli000005".to_owned(), "cli000006".to_owned()].into()
    );
}

pub(crate) async fn a_deleted_device_frees_its_name_but_not_its_number(bed: Bed) {
    let first = bed.made(bed.with_key(1)).await;
    assert!(
        bed.registry
            .delete_device(bed.account, first.id)
            .await
            .unwrap()
    );
    assert!(
        !bed.registry
            .delete_device(bed.account, first.id)
            .await
            .unwrap()
    );
    assert!(bed.registry.device(first.id).await.unwrap().is_none());
    assert!(
        bed.registry
            .device_by_key(&public_key(1))
            .await
            .unwrap()
            .is_none()
    );
    let second = bed.made(bed.with_key(1)).await;
    assert!(second.created && second.id != first.id);
    assert_eq!(second.name, "cli000002");
    assert_eq!(bed.made(bed.named(&first.name)).await.name, first.name);
}

pub(crate) async fn random_names_have_twenty_letters_and_digits(bed: Bed) {
    let random = NewDevice {
        naming: Naming::Random,
        ..bed.new_device()
    };
    let made = bed.made(random).await;
    assert_eq!(made.name.len(), 20);
    assert!(made.name.chars().all(|c| c.is_ascii_alphanumeric()));
}

pub(crate) async fn a_public_key_makes_the_call_idempotent(bed: Bed) {
    let first = NewDevice {
        hostname: Some("one".into()),
        hardware: Some("{}".into()),
        username: Some("pi".into()),
        device_port: 2200,
        ..bed.with_key(1)
    };
    let first = bed.made(first).await;
    let again = NewDevice {
        naming: Naming::Given("another".into()),
        region: Some("nowhere".into()),
        hostname: Some("two".into()),
        ..bed.with_key(1)
    };
    let again = bed.made(again).await;
    assert!(first.created && !again.created);
    assert_eq!(
        (first.id, &first.name, first.forward.id),
        (again.id, &again.name, again.forward.id)
    );
    let device = bed
        .registry
        .device_by_key(&public_key(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (device.hostname.as_deref(), device.hardware.as_deref()),
        (Some("two"), Some("{}"))
    );
    assert_eq!(
        (device.username.as_deref(), first.forward.device_port),
        (Some("pi"), 2200)
    );
    // It may repeat its own name, and no number was used.
    let own_name = NewDevice {
        naming: Naming::Given(first.name.clone()),
        ..bed.with_key(1)
    };
    assert_eq!(bed.made(own_name).await.id, first.id);
    assert_eq!(bed.made(bed.new_device()).await.name, "cli000002");
    // Code 40 does not apply to it either.
    let down = Node {
        status: NodeStatus::Down,
        ..node("eu1", (10_000, 59_999))
    };
    bed.registry.put_node(down).await.unwrap();
    assert_eq!(bed.made(bed.with_key(1)).await.id, first.id);
}

pub(crate) async fn calls_with_one_key_at_once_make_one_device(bed: Bed) {
    for round in 0..5 {
        let made = bed.at_once((0..20).map(|_| bed.with_key(round))).await;
        let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
        let ids: HashSet<_> = made.iter().map(|device| device.id).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(made.iter().filter(|device| device.created).count(), 1);
        let forwards: HashSet<_> = made.iter().map(|device| device.forward.id).collect();
        assert_eq!(forwards.len(), 1);
    }
    assert_eq!(bed.count().await, 5);
}

pub(crate) async fn a_key_with_uses_makes_that_many_devices(bed: Bed) {
    let limits = KeyLimits {
        uses: Some(5),
        ..KeyLimits::default()
    };
    let key = bed.make_key("narrow", limits).await;
    let with_narrow = |number| NewDevice {
        api_key_id: key.id.clone(),
        ..bed.with_key(number)
    };
    let made = bed.at_once((0..20).map(with_narrow)).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (5, 15));
    assert!(
        refused
            .iter()
            .all(|refused| matches!(refused, Err(Refusal::KeyRefused)))
    );
    let left = bed.registry.api_keys(bed.account).await.unwrap();
    let left = left.iter().find(|left| left.id == key.id).unwrap();
    assert_eq!(left.limits.uses, Some(0));
    // It still answers devices it knows.
    let known = made.into_iter().next().unwrap().unwrap();
    let device = bed.registry.device(known.id).await.unwrap().unwrap();
    let again = NewDevice {
        public_key: device.public_key,
        ..with_narrow(0)
    };
    assert_eq!(bed.made(again).await.id, known.id);
    // Refused calls cost no number.
    assert_eq!(bed.made(bed.new_device()).await.name, "cli000006");
}

pub(crate) async fn a_key_that_no_longer_counts_makes_nothing(bed: Bed) {
    let limits = KeyLimits {
        expires_at: Some(Timestamp(Timestamp::now().0 - 1)),
        ..KeyLimits::default()
    };
    let expired = bed.make_key("expired", limits).await;
    let limits = KeyLimits {
        expires_at: Some(Timestamp::now().after(Duration::from_secs(3600))),
        ..KeyLimits::default()
    };
    let lasting = bed.make_key("lasting", limits).await;
    let of_devices = NewApiClient {
        context: KeyContext::Devices(Vec::new()),
        ..new_client("of devices")
    };
    let of_devices = bed
        .registry
        .create_api_client(bed.account, of_devices)
        .await;
    let reader = NewApiClient {
        scope: vec!["device:read".into()],
        ..new_client("reader")
    };
    let reader = bed.registry.create_api_client(bed.account, reader).await;
    let by = |key: &str| NewDevice {
        api_key_id: key.into(),
        ..bed.new_device()
    };
    for key in [
        "_key_unknown",
        &expired.id,
        &of_devices.unwrap().0.id,
        &reader.unwrap().0.id,
    ] {
        assert!(
            matches!(bed.create(by(key)).await, Err(Refusal::KeyRefused)),
            "{key}"
        );
    }
    bed.made(by(&lasting.id)).await;
    assert!(
        bed.registry
            .revoke_api_key(bed.account, "LASTING")
            .await
            .unwrap()
    );
    assert!(matches!(
        bed.create(by(&lasting.id)).await,
        Err(Refusal::KeyRefused)
    ));
}

pub(crate) async fn states_of_device_and_account_are_obeyed(bed: Bed) {
    let device = bed.made(bed.with_key(1)).await;
    let set = async |state| assert!(bed.registry.set_state(device.id, state).await.unwrap());
    set(DeviceState::Blocked).await;
    assert!(matches!(
        bed.create(bed.with_key(1)).await,
        Err(Refusal::Blocked)
    ));
    set(DeviceState::Inactive).await;
    assert!(matches!(
        bed.create(bed.with_key(1)).await,
        Err(Refusal::Inactive)
    ));
    set(DeviceState::Active).await;
    assert_eq!(bed.made(bed.with_key(1)).await.id, device.id);
    assert!(
        bed.registry
            .suspend_account(bed.account, true)
            .await
            .unwrap()
    );
    for new in [bed.with_key(1), bed.new_device()] {
        assert!(matches!(
            bed.create(new).await,
            Err(Refusal::AccountSuspended)
        ));
    }
    assert!(
        bed.registry
            .suspend_account(bed.account, false)
            .await
            .unwrap()
    );
    assert_eq!(bed.made(bed.with_key(1)).await.id, device.id);
}

pub(crate) async fn a_refused_call_costs_no_number(bed: Bed) {
    let elsewhere = NewDevice {
        region: Some("nowhere".into()),
        ..bed.new_device()
    };
    let calls = (0..40).map(|n| {
        if n % 2 == 0 {
            elsewhere.clone()
        } else {
            bed.new_device()
        }
    });
    let made = bed.at_once(calls).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 20);
    let listed = bed
        .registry
        .devices(bed.account, DeviceFilter::default())
        .await
        .unwrap();
    let names: HashSet<_> = listed.into_iter().map(|device| device.name).collect();
    let expected = (1..=20).map(|number| format!("cli{number:06}")).collect();
    assert_eq!(names, expected);
}
