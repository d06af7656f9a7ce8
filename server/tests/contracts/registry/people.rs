//! Accounts, users, API clients.

use moorline_protocol::Secret;
use moorline_server::registry::error::{AccountError, ApiClientError, UserError, UserKeyError};
use moorline_server::registry::model::{
    AccountId, DeviceId, KeyContext, KeyLimits, KeyPurpose, NewApiClient, NewUser, NewUserKey,
    PublicKey, Role, Timestamp, UserId, UserStatus,
};
use uuid::Uuid;

use crate::registry::bed::{Bed, new_client, public_key};

pub(crate) async fn the_first_account_is_made_once(bed: Bed) {
    let registry = &bed.registry;
    let first = registry.first_account().await.unwrap();
    assert_eq!(
        (first.id, first.name.as_str(), first.suspended),
        (bed.account, "main", false)
    );
    assert_eq!((first.uid.len(), first.id.0), (23, 1));
    let taken = registry.create_account("MAIN").await;
    assert!(matches!(taken, Err(AccountError::NameTaken)));
    let second = registry.create_account("second").await.unwrap();
    assert_eq!(registry.accounts().await.unwrap().len(), 2);
    assert_eq!(
        registry
            .account_by_name("Second")
            .await
            .unwrap()
            .unwrap()
            .id,
        second.id
    );
    assert!(registry.account_by_name("").await.unwrap().is_none());
    assert_eq!(registry.first_account().await.unwrap().id, first.id);
    assert!(registry.suspend_account(second.id, true).await.unwrap());
    assert!(
        registry
            .account(second.id)
            .await
            .unwrap()
            .unwrap()
            .suspended
    );
    assert!(registry.account(AccountId(99)).await.unwrap().is_none());
    assert!(!registry.suspend_account(AccountId(99), true).await.unwrap());
    // The anonymous account exists for foreign keys and is listed nowhere.
    assert!(registry.account(AccountId(0)).await.unwrap().is_some());
}

fn login_key(label: &str, public_key: PublicKey) -> NewUserKey {
    NewUserKey {
        purpose: KeyPurpose::Inbound,
        label: label.into(),
        public_key,
        private_key: None,
    }
}

fn user(account: AccountId, username: &str, short_id: Option<&str>) -> NewUser {
    NewUser {
        account,
        username: username.into(),
        role: Role::Admin,
        password_hash: Secret::new("$argon2id$".into()),
        expires_at: None,
        short_id: short_id.map(str::to_owned),
    }
}

pub(crate) async fn users_log_in_by_name_or_short_id(bed: Bed) {
    let registry = &bed.registry;
    assert!(!registry.any_admin().await.unwrap());
    let admin = user(bed.account, "admin", Some("admin"));
    let admin = registry.create_user(admin.clone()).await.unwrap();
    assert!(registry.any_admin().await.unwrap());
    let taken = registry.create_user(user(bed.account, "admin", None)).await;
    assert!(matches!(taken, Err(UserError::UsernameTaken)));
    let taken = registry
        .create_user(user(bed.account, "eve", Some("admin")))
        .await;
    assert!(matches!(taken, Err(UserError::ShortIdTaken)));
    let other = registry
        .create_user(user(bed.account, "other", None))
        .await
        .unwrap();
    assert_eq!(
        (other.short_id.len(), other.status),
        (6, UserStatus::Active)
    );
    // Nobody is called by another's short id, and nobody's short id is another's name.
    let confusing = registry
        .create_user(user(bed.account, &other.short_id, None))
        .await;
    assert!(matches!(confusing, Err(UserError::UsernameTaken)));
    let confusing = registry
        .create_user(user(bed.account, "eve", Some("other")))
        .await;
    assert!(matches!(confusing, Err(UserError::ShortIdTaken)));
    let login = async |text: &str| {
        registry
            .user_by_login(text)
            .await
            .unwrap()
            .map(|user| user.id)
    };
    assert_eq!(login("other").await, Some(other.id));
    assert_eq!(login(&other.short_id).await, Some(other.id));
    assert_eq!(login("nobody").await, None);
    assert_eq!(registry.users().await.unwrap().len(), 2);
    let hash = Secret::new("new".to_owned());
    assert!(
        registry
            .set_password_hash(admin.id, hash.clone())
            .await
            .unwrap()
    );
    let changed = registry.user(admin.id).await.unwrap().unwrap();
    assert_eq!(
        (
            changed.password_hash.expose().as_str(),
            changed.token_version
        ),
        ("new", 1)
    );
    let nobody = UserId(Uuid::new_v4());
    assert!(!registry.set_password_hash(nobody, hash).await.unwrap());
    assert!(registry.user(nobody).await.unwrap().is_none());
    let past = NewUser {
        expires_at: Some(Timestamp(1)),
        ..user(bed.account, "past", None)
    };
    assert_eq!(
        registry.create_user(past).await.unwrap().status,
        UserStatus::Expired
    );
}

pub(crate) async fn users_have_keys(bed: Bed) {
    let registry = &bed.registry;
    let one = registry
        .create_user(user(bed.account, "one", None))
        .await
        .unwrap()
        .id;
    let two = registry
        .create_user(user(bed.account, "two", None))
        .await
        .unwrap()
        .id;
    let key = registry
        .add_user_key(one, login_key("laptop", public_key(1)))
        .await
        .unwrap();
    assert_eq!(
        (key.label.as_str(), key.public_key.comment.as_str()),
        ("laptop", "device 1")
    );
    let again = registry
        .add_user_key(one, login_key("again", public_key(1)))
        .await;
    assert!(matches!(again, Err(UserKeyError::Exists)));
    let nobody = UserId(Uuid::new_v4());
    let unknown = registry
        .add_user_key(nobody, login_key("x", public_key(1)))
        .await;
    assert!(matches!(unknown, Err(UserKeyError::UnknownUser)));
    registry
        .add_user_key(one, login_key("second", public_key(2)))
        .await
        .unwrap();
    registry
        .add_user_key(two, login_key("shared", public_key(1)))
        .await
        .unwrap();
    let labels: Vec<_> = registry
        .user_keys(one)
        .await
        .unwrap()
        .into_iter()
        .map(|key| key.label)
        .collect();
    assert_eq!(labels, ["laptop", "second"]);
    let owners: Vec<_> = registry
        .users_by_key(&public_key(1))
        .await
        .unwrap()
        .into_iter()
        .map(|user| user.id)
        .collect();
    assert_eq!(owners, [one, two]);
    assert!(!registry.remove_user_key(two, key.id).await.unwrap());
    assert!(registry.remove_user_key(one, key.id).await.unwrap());
    assert!(!registry.remove_user_key(one, key.id).await.unwrap());
    assert_eq!(
        registry.users_by_key(&public_key(1)).await.unwrap().len(),
        1
    );
    assert!(
        registry
            .users_by_key(&public_key(3))
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn api_keys_are_found_by_their_secret(bed: Bed) {
    let registry = &bed.registry;
    let limits = KeyLimits {
        prefix: Some("cam".into()),
        region: Some("eu1".into()),
        uses: Some(7),
        expires_at: Some(Timestamp(1)),
    };
    let devices = vec![DeviceId(Uuid::new_v4()), DeviceId(Uuid::new_v4())];
    let new = NewApiClient {
        context: KeyContext::Devices(devices),
        scope: vec!["device:read".into(), "app:read".into()],
        rate_limit: -1,
        limits,
        ..new_client("Line-3")
    };
    let (key, secret) = registry
        .create_api_client(bed.account, new.clone())
        .await
        .unwrap();
    assert_eq!(
        (key.id.len(), key.owner_id.len(), secret.expose().len()),
        (23, 23, 32)
    );
    let found = registry
        .api_key_by_secret(secret.expose())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (&found.id, &found.owner_name),
        (&key.id, &"Line-3".to_owned())
    );
    assert_eq!((&found.context, &found.scope), (&new.context, &new.scope));
    assert_eq!((found.rate_limit, &found.limits), (-1, &new.limits));
    assert!(
        registry
            .api_key_by_secret(&"0".repeat(32))
            .await
            .unwrap()
            .is_none()
    );
    let taken = registry
        .create_api_client(bed.account, new_client("LINE-3"))
        .await;
    assert!(matches!(taken, Err(ApiClientError::NameTaken)));
    let apps = NewApiClient {
        name: None,
        context: KeyContext::Apps(vec!["x".into()]),
        ..new_client("")
    };
    let (unnamed, _) = registry.create_api_client(bed.account, apps).await.unwrap();
    assert!(unnamed.owner_name.starts_with("apiclient_") && unnamed.owner_name.len() == 18);
    let names: Vec<_> = registry
        .api_keys(bed.account)
        .await
        .unwrap()
        .into_iter()
        .map(|key| key.owner_name)
        .collect();
    assert_eq!(names, ["first", "Line-3", unnamed.owner_name.as_str()]);
    // By key id, by client id, by name; each once.
    for reference in [&key.id, &unnamed.owner_id, &"FIRST".to_owned()] {
        assert!(
            registry
                .revoke_api_key(bed.account, reference)
                .await
                .unwrap(),
            "{reference}"
        );
        assert!(
            !registry
                .revoke_api_key(bed.account, reference)
                .await
                .unwrap(),
            "{reference}"
        );
    }
    assert!(
        registry
            .api_key_by_secret(secret.expose())
            .await
            .unwrap()
            .is_none()
    );
    assert!(registry.api_keys(bed.account).await.unwrap().is_empty());
}

pub(crate) async fn what_is_secret_is_sealed(bed: Bed) {
    let (_, secret) = bed
        .registry
        .create_api_client(bed.account, new_client("x"))
        .await
        .unwrap();
    let made = bed.made(bed.new_device()).await;
    let device = bed.registry.device(made.id).await.unwrap().unwrap();
    let path = bed
        .url
        .trim_start_matches("sqlite://")
        .trim_end_matches("?mode=rwc");
    if bed.url.starts_with("sqlite:") {
        use std::os::unix::fs::PermissionsExt as _;
        for path in [path.to_owned(), format!("{path}-wal")] {
            let kept = std::fs::read(&path).unwrap();
            for secret in [secret.expose(), device.dbid.expose()] {
                let found = kept
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "{path}");
            }
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{path}");
        }
    }
    // A row's secret opens in its own row only.
    let other = bed.made(bed.new_device()).await;
    bed.sql(&format!(
        "UPDATE devices SET dbid = (SELECT dbid FROM devices WHERE name = '{}') WHERE name = '{}'",
        made.name, other.name
    ))
    .await;
    assert!(bed.registry.device(other.id).await.is_err());
    assert!(bed.registry.device(made.id).await.is_ok());
}
