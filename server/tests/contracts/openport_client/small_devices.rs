//! Devices without SSH (section 5).

use crate::bed::Bed;
use crate::openport_client::client::{binding_token, granted, refused, string};

pub(crate) async fn a_pair_names_a_device_of_its_account(bed: &Bed) {
    let token = binding_token(bed).await;
    let pair = [("ws_key_token", token.as_str()), ("unique_client_id", "7")];
    let first = granted(bed, &[&pair[..], &[("local_port", "80")]].concat()).await;
    assert_eq!(first["account_id"], bed.account.0);
    let found = bed.registry.device_by_client_id(bed.account, "7").await;
    let device = found.unwrap().unwrap();
    assert_eq!(first["key_id"], device.number);
    assert!(device.public_key.is_none() && device.name == "7");
    let session_token = string(&first, "session_token");
    let restart = [
        ("restart_session_token", session_token.as_str()),
        ("local_port", "80"),
    ];
    assert_eq!(granted(bed, &[&pair[..], &restart].concat()).await, first);
    let other = [("ws_key_token", token.as_str()), ("unique_client_id", "8")];
    let other = granted(bed, &[&other[..], &restart].concat()).await;
    assert_ne!(other["key_id"], first["key_id"]);
    // The same id in another account is another device.
    let foreign = bed.registry.create_account("small").await.unwrap().id;
    let foreign_token = bed.registry.binding_token(foreign).await.unwrap().unwrap();
    let pair = [
        ("ws_key_token", foreign_token.expose().as_str()),
        ("unique_client_id", "7"),
    ];
    let theirs = granted(bed, &[&pair[..], &restart].concat()).await;
    assert_eq!(theirs["account_id"], foreign.0);
    assert_ne!(theirs["server_port"], first["server_port"]);
}

pub(crate) async fn a_bad_pair_is_told(bed: &Bed) {
    let token = binding_token(bed).await;
    let bad = ("ws_key_token is not valid".to_owned(), false);
    let long = "x".repeat(65);
    for (token, id) in [("nonsense", "7"), (token.as_str(), long.as_str())] {
        let pair = [("ws_key_token", token), ("unique_client_id", id)];
        assert_eq!(refused(bed, &pair).await, bad, "{token} {id}");
    }
    let alone = [("ws_key_token", token.as_str())];
    let missing = ("public_key is required".to_owned(), true);
    assert_eq!(refused(bed, &alone).await, missing);
    bed.registry.renew_binding_token(bed.account).await.unwrap();
    let old = [("ws_key_token", token.as_str()), ("unique_client_id", "7")];
    assert_eq!(refused(bed, &old).await, bad, "the old token");
    let token = binding_token(bed).await;
    bed.registry
        .suspend_account(bed.account, true)
        .await
        .unwrap();
    let pair = [("ws_key_token", token.as_str()), ("unique_client_id", "7")];
    let text = ("Account is inactive".to_owned(), false);
    assert_eq!(refused(bed, &pair).await, text);
}
