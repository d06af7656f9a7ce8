//! What is checked holds until it is written, and what leaves an account is out of its reach.

use moorline_protocol::Secret;
use moorline_protocol::operator::DeviceState;
use moorline_server::registry::error::{
    AddForwardError, EgressError, ForwardError, HostError, RenameError, SetKeyError, UserError,
};
use moorline_server::registry::model::{
    AccessPolicy, AccountId, DeviceId, EgressSettings, EgressStatus, EgressTunnel, ForwardKind,
    HostOrder, HostStatus, NewUser, PolicyChange, Role, TaskEnd, TaskKind, TaskStatus, Timestamp,
    User, UserId, UserStatus, Wanted,
};
use uuid::Uuid;

use crate::registry::bed::{Bed, new_host, public_key};

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
        new: new_host(account, user, device),
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

/// As somebody who found the device in its account a moment before its key was registered to another one.
pub(crate) async fn what_was_allowed_in_one_account_does_nothing_in_the_next(bed: Bed) {
    let registry = &bed.registry;
    let id = bed.made(bed.with_key(1)).await.id;
    let added = registry.add_forward(id, 8080, ForwardKind::Tcp).await;
    let forward = added.unwrap().0.id;
    let seen = registry.device(id).await.unwrap().unwrap();
    let other = registry.create_account("other").await.unwrap().id;
    registry.link_key(other, public_key(1), None).await.unwrap();
    let before = registry.device(id).await.unwrap().unwrap();
    let blocked = registry.set_state(&seen, DeviceState::Blocked).await;
    assert!(!blocked.unwrap());
    assert!(!registry.set_wanted(&seen, Wanted::Closed).await.unwrap());
    assert!(!registry.set_allow_clientless(&seen, true).await.unwrap());
    assert!(!registry.set_max_connections(&seen, 7).await.unwrap());
    let protected = registry.set_ip_link_protection(&seen, !seen.ip_link_protection);
    assert!(!protected.await.unwrap());
    let policy = PolicyChange {
        recording_required: Some(true),
        ..PolicyChange::default()
    };
    assert!(!registry.set_device_policy(&seen, policy).await.unwrap());
    let renamed = registry.rename_device(&seen, "mine").await;
    assert!(matches!(renamed, Err(RenameError::UnknownDevice)));
    let rekeyed = registry.set_device_key(&seen, public_key(2)).await;
    assert!(matches!(rekeyed, Err(SetKeyError::UnknownDevice)));
    let added = registry.add_forward(&seen, 8081, ForwardKind::Tcp).await;
    assert!(matches!(added, Err(AddForwardError::UnknownDevice)));
    assert!(!registry.remove_forward(&seen, forward).await.unwrap());
    let renewed = registry.renew_forwards(&seen).await;
    assert!(matches!(renewed, Err(ForwardError::UnknownDevice)));
    assert!(!registry.delete_device(seen.account, id).await.unwrap());
    let after = registry.device(id).await.unwrap().unwrap();
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    // Whoever finds it where it is now may.
    let blocked = registry.set_state(&after, DeviceState::Blocked).await;
    assert!(blocked.unwrap());
    assert!(registry.remove_forward(&after, forward).await.unwrap());
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

pub(crate) async fn an_account_has_so_many_users_and_egress_ips(bed: Bed) {
    let registry = &bed.registry;
    let id = if bed.url.starts_with("sqlite:") {
        "randomblob(16)"
    } else {
        "gen_random_uuid()"
    };
    let numbers = |count: u32| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             "
        )
    };
    let account = bed.account;
    bed.sql(&format!(
        "{}INSERT INTO users (id, account_id, username, short_id, role, status, password_hash, \
         token_version, created_at, updated_at) \
         SELECT {id}, {account}, CAST(i AS TEXT), CAST(i AS TEXT), 'user', 'active', 'x', 0, 0, 0 FROM n",
        numbers(50_000 - 1)
    ))
    .await;
    let new = |name: &str| NewUser {
        account,
        username: name.into(),
        role: Role::User,
        password_hash: hash("x"),
        expires_at: None,
        short_id: None,
    };
    assert!(registry.create_user(new("last")).await.is_ok());
    let refused = registry.create_user(new("beyond")).await;
    assert!(matches!(refused, Err(UserError::TooMany)), "{refused:?}");
    bed.sql(&format!(
        "{}INSERT INTO egress_ips (id, account_id, label, ip_address, provider, status, \
         tunnel_type, wg_allowed_ips, created_at, updated_at) \
         SELECT {id}, {account}, 'x', CAST(i AS TEXT), 'x', 'available', 'wireguard', '', 0, 0 FROM n",
        numbers(10_000 - 1)
    ))
    .await;
    let settings = |last: u8| EgressSettings {
        label: "exit".into(),
        ip_address: [192, 0, 2, last].into(),
        provider: "manual".into(),
        status: EgressStatus::Available,
        tunnel: EgressTunnel::Proxy(Secret::new(serde_json::Map::new())),
    };
    assert!(
        registry
            .create_egress_ip(account, settings(1))
            .await
            .is_ok()
    );
    let refused = registry.create_egress_ip(account, settings(2)).await;
    assert!(matches!(refused, Err(EgressError::TooMany)), "{refused:?}");
    // It is the account's own limit.
    let other = registry.create_account("other").await.unwrap().id;
    assert!(registry.create_egress_ip(other, settings(1)).await.is_ok());
    user(&bed, other, "elsewhere").await;
}

pub(crate) async fn a_policy_changes_in_what_is_named(bed: Bed) {
    let registry = &bed.registry;
    let owner = user(&bed, bed.account, "owner").await;
    let device = bed.made(bed.new_device()).await.id;
    let made = registry.order_host(order(bed.account, owner.id, device));
    let host = made.await.unwrap().0.id;
    // Each as somebody who saw the policy before the other changed it.
    for change in [
        PolicyChange {
            recording_required: Some(true),
            ..PolicyChange::default()
        },
        PolicyChange {
            direct_tcpip_allowed: Some(true),
            ..PolicyChange::default()
        },
    ] {
        assert!(registry.set_host_policy(host, change).await.unwrap());
        assert!(registry.set_device_policy(device, change).await.unwrap());
    }
    let both = AccessPolicy {
        recording_required: true,
        direct_tcpip_allowed: true,
    };
    assert_eq!(registry.host(host).await.unwrap().unwrap().policy, both);
    let device = registry.device(device).await.unwrap().unwrap();
    assert_eq!(device.policy, both);
}

pub(crate) async fn tasks_go_once_they_have_ended_and_are_old(bed: Bed) {
    let registry = &bed.registry;
    let owner = user(&bed, bed.account, "owner").await;
    let device = bed.made(bed.new_device()).await.id;
    let made = registry.order_host(order(bed.account, owner.id, device));
    let (host, create) = made.await.unwrap();
    let start = registry.queue_task(host.id, TaskKind::StartHost, "admin".into());
    let start = start.await.unwrap();
    registry.claim_tasks("eu1", 1).await.unwrap();
    let end = TaskEnd::Done(HostStatus::Stopped);
    assert!(registry.end_task(&create, end).await.unwrap());
    assert_eq!(registry.forget_tasks(create.created_at).await.unwrap(), 0);
    let later = Timestamp::now().after(std::time::Duration::from_secs(1));
    assert_eq!(registry.forget_tasks(later).await.unwrap(), 1);
    assert!(registry.task(create.id).await.unwrap().is_none());
    assert!(registry.task(start.id).await.unwrap().is_some(), "it waits");
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
