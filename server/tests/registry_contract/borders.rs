//! What is checked holds until it is written, and what leaves an account is out of its reach.

use moorline_protocol::Secret;
use moorline_server::registry::error::HostError;
use moorline_server::registry::model::{
    AccountId, DeviceId, HostLimits, HostOrder, NewHost, NewUser, Role, TaskStatus, User, UserId,
    UserStatus,
};
use uuid::Uuid;

use crate::bed::{Bed, public_key};

fn hash(text: &str) -> Secret<String> {
    Secret::new(text.into())
}

async fn user(bed: &Bed, account: AccountId, name: &str) -> User {
    let new = NewUser {
        account,
        username: name.into(),
        role: Role::User,
        password_hash: hash("first"),
        expires_at: None,
        short_id: None,
    };
    bed.registry.create_user(new).await.unwrap()
}

fn order(account: AccountId, user: UserId, device: DeviceId) -> HostOrder {
    HostOrder {
        new: NewHost {
            account,
            user,
            device: Some(device),
            slot_key: None,
            region: None,
            timezone: String::new(),
            hostname: String::new(),
            limits: HostLimits {
                memory_mb: 0,
                cpus: 0.0,
                disk_gb: 0,
            },
            entry_password_hash: hash("entry"),
        },
        egress_ip: None,
        requested_by: "admin".into(),
    }
}

pub(crate) async fn a_host_stays_behind_when_its_device_moves(bed: Bed) {
    let registry = &bed.registry;
    let owner = user(&bed, bed.account, "owner").await;
    let device = bed.made(bed.with_key(1)).await.id;
    let made = registry.order_host(order(bed.account, owner.id, device));
    let (host, task) = made.await.unwrap();
    let other = registry.create_account("other").await.unwrap().id;
    // Where it is already, nothing changes.
    let linked = registry.link_key(bed.account, public_key(1), None).await;
    assert_eq!(linked.unwrap().device, device);
    assert!(registry.host(host.id).await.unwrap().is_some());
    let linked = registry.link_key(other, public_key(1), None).await.unwrap();
    assert_eq!((linked.device, linked.from), (device, Some(bed.account)));
    assert!(registry.host(host.id).await.unwrap().is_none());
    let found = registry.host_by_short_id(&host.short_id).await.unwrap();
    assert!(found.is_none(), "nobody gets in by it");
    let task = registry.task(task.id).await.unwrap().unwrap();
    assert_eq!(task.status, TaskStatus::Canceled);
    // It is free to be one of its new account.
    let guest = user(&bed, other, "guest").await;
    let made = registry.order_host(order(other, guest.id, device)).await;
    assert_eq!(made.unwrap().0.device, Some(device));
}

pub(crate) async fn a_host_has_user_and_device_of_its_account(bed: Bed) {
    let registry = &bed.registry;
    let other = registry.create_account("other").await.unwrap().id;
    let owner = user(&bed, bed.account, "owner").await;
    let foreign = user(&bed, other, "foreign").await;
    let device = bed.made(bed.new_device()).await.id;
    let (no_user, no_device) = (UserId(Uuid::new_v4()), DeviceId(Uuid::new_v4()));
    for user in [foreign.id, no_user] {
        let made = registry.order_host(order(bed.account, user, device)).await;
        assert!(matches!(made, Err(HostError::UnknownUser)), "{made:?}");
    }
    for (account, user, device) in [
        (other, foreign.id, device),
        (bed.account, owner.id, no_device),
    ] {
        let made = registry.order_host(order(account, user, device)).await;
        assert!(matches!(made, Err(HostError::UnknownDevice)), "{made:?}");
    }
    let made = registry.order_host(order(bed.account, owner.id, device));
    assert!(made.await.is_ok());
}

pub(crate) async fn a_password_is_changed_from_the_one_that_was_checked(bed: Bed) {
    let registry = &bed.registry;
    let owner = user(&bed, bed.account, "owner").await;
    let change = async |from: &str, to: &str| {
        let present = hash(from);
        let changed = registry.change_password_hash(owner.id, &present, hash(to));
        changed.await.unwrap()
    };
    assert!(change("first", "second").await);
    assert!(!change("first", "third").await);
    let rotated = registry.set_password_hash(owner.id, hash("rotated"));
    assert!(rotated.await.unwrap());
    assert!(!change("second", "third").await);
    let (account, id) = (owner.account, owner.id);
    let disabled = registry.set_user_status(account, id, UserStatus::Disabled);
    disabled.await.unwrap();
    assert!(!change("rotated", "third").await);
    let now = registry.user(id).await.unwrap().unwrap();
    assert_eq!(now.password_hash.expose(), "rotated");
    assert_eq!(now.token_version, owner.token_version + 3);
}

pub(crate) async fn a_text_with_a_nul_names_nothing(bed: Bed) {
    let registry = &bed.registry;
    for odd in ["\0", "a\0b"] {
        assert!(registry.user_by_login(odd).await.unwrap().is_none());
        assert!(registry.user_by_short_id(odd).await.unwrap().is_none());
        assert!(registry.host_by_short_id(odd).await.unwrap().is_none());
        let device = registry.device_by_name(bed.account, odd).await;
        assert!(device.unwrap().is_none());
        assert!(registry.node(odd).await.unwrap().is_none());
    }
}
