//! What ends at once: ways to a device that moves to another account, and sessions that are not up yet.

use std::net::Ipv4Addr;

use moorline_server::registry::model::PublicKey;
use tokio::net::TcpListener;

use crate::bed::Bed;
use crate::openport_client::client::{granted, number, post, string};
use crate::tunnel::{Device, until};

/// Registers the key of `device` to the account called `name`, which is made if there is none.
async fn move_to(bed: &Bed, device: &Device, name: &str) {
    let found = bed.registry.account_by_name(name).await.unwrap();
    let account = match found {
        Some(account) => account.id,
        None => bed.registry.create_account(name).await.unwrap().id,
    };
    let token = bed.registry.binding_token(account).await.unwrap().unwrap();
    let key = device.public_key();
    let pairs = [
        ("public_key", key.as_str()),
        ("key_binding_token", token.expose()),
    ];
    let reply = post(bed, "/linkKey", &pairs).await;
    assert_eq!(reply.body, r#"{"status":"ok"}"#);
    let key = PublicKey::parse(&key).unwrap();
    let moved = bed.registry.device_by_key(&key).await.unwrap().unwrap();
    assert_eq!(moved.account, account);
}

pub(crate) async fn a_move_ends_the_ways_between_devices(bed: &Bed) {
    let (target, caller) = (Device::enrolled(bed).await, Device::enrolled(bed).await);
    let mut held = target.hold(bed);
    until("the way leads to the device", async || {
        caller.reach(bed, target.port).echoes(b"hello")
    })
    .await;
    let [there, elsewhere] =
        ["there", "elsewhere"].map(|name| format!("{name} of {}", bed.account.0));
    let mut ends_by = async |who: &Device, to: &str| {
        let mut way = caller.reach(bed, target.port);
        assert!(way.echoes(b"before"));
        move_to(bed, who, to).await;
        until("the way ended", async || way.ended()).await;
        let refused = caller.reach(bed, target.port).complaint();
        assert!(refused.contains("administratively prohibited"), "{refused}");
        assert!(!held.ended(), "the tunnel itself stays");
    };
    ends_by(&target, &there).await;
    // Where both are there is a way again.
    move_to(bed, &caller, &there).await;
    ends_by(&caller, &elsewhere).await;
}

/// While the public port is taken by somebody else the server tries again and again to listen, and has decided already
/// that the session may be up.
pub(crate) async fn a_session_that_is_killed_while_its_port_opens_stays_down(bed: &Bed) {
    let device = Device::enrolled(bed).await;
    let key = device.public_key();
    for _ in 0..3 {
        let service = device.service.to_string();
        let wish = [("public_key", key.as_str()), ("local_port", &service)];
        let session = granted(bed, &wish).await;
        let port = number(&session, "server_port");
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let taken = taken.unwrap();
        let mut held = device.hold_port(bed, port);
        until("the device is connected", async || {
            let list = bed.list(&bed.key).await;
            list.iter().any(|one| one["client_active"] == true)
        })
        .await;
        let token = string(&session, "session_token");
        let pairs = [("port", port.to_string()), ("session_token", token)];
        let pairs = pairs
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let killed = post(bed, "/api/v1/kill-session", &pairs).await;
        assert_eq!(killed.body, r#"{"status":"ok"}"#);
        drop(taken);
        until("the forward is refused", async || held.ended()).await;
    }
}
