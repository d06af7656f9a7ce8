//! Sections 4.2 and 4.4 to 4.9, and the state table.

use moorline_protocol::operator::DeviceState;
use moorline_protocol::scope::Scope;
use moorline_protocol::script::Constants;

use crate::bed::{Bed, device_id, public_key, refs, text};

pub(crate) async fn a_script_comes_as_it_is(bed: &Bed) {
    let made = bed.create(&[("name", "n"), ("fwport", "8022")]).await;
    let id = text(&made, "client_id");
    let reply = bed.get("get_client_script", &[("client_id", &id)]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("text/x-shellscript; charset=utf-8")
    );
    assert!(
        reply
            .body
            .starts_with("#!/bin/sh\n# --- moorline constants begin ---\n")
    );
    let constants = Constants::parse(&reply.body).unwrap();
    let node = bed.node().await;
    for (name, value) in [
        ("HOST_UUID", id.clone()),
        ("SSH_USER", id.clone()),
        ("CLIENT_NAME", "n".into()),
        ("REGION", "local".into()),
        ("SERVER_HOST", node.public_host),
        ("SERVER_PORT", node.ssh_port.to_string()),
        ("SERVER_HOST_KEY", node.host_key),
        ("REMOTE_PORT", made["port"].to_string()),
        ("FORWARD_PORT", "8022".into()),
        ("API_URL", format!("http://{}", bed.http)),
        ("USER_ID", bed.account.to_string()),
        ("PORTS_ID", made["ports_id"].to_string()),
    ] {
        assert_eq!(constants.get(name), Some(value.as_str()), "{name}");
    }
    assert!(
        constants
            .require("SCRIPT_VERSION")
            .unwrap()
            .parse::<u32>()
            .is_ok()
    );
    assert!(!reply.body.contains(&bed.key), "no API key in it");
    let again = bed.get("get_client_script", &[("host_uuid", &id)]).await;
    assert_eq!(again.body, reply.body, "fetching changes nothing");
}

pub(crate) async fn the_secret_of_a_device_is_shown_to_few(bed: &Bed) {
    let keyed = bed.device(&[("public_key", &public_key())]).await;
    let bare = bed.device(&[]).await;
    let narrow = bed.scoped(&[Scope::DeviceCreate, Scope::DeviceRead]).await;
    for (key, device, shown) in [
        (&bed.key, &keyed, true),
        (&bed.key, &bare, true),
        (&narrow, &keyed, false),
        (&narrow, &bare, true),
    ] {
        let list = bed.list(key).await;
        let item = list
            .iter()
            .find(|item| item["client_id"] == device.as_str())
            .unwrap();
        assert_eq!(text(item, "dbid").len(), if shown { 20 } else { 0 });
        let parameters = [("api_key", key.as_str()), ("client_id", device)];
        let script = bed.bare("get_client_script", &parameters).await.body;
        let constants = Constants::parse(&script).unwrap();
        assert_eq!(constants.get("DB_SERVER_KEY").is_some(), shown);
    }
}

pub(crate) async fn deleting_frees_the_name_and_forgets_the_device(bed: &Bed) {
    for call in ["delete_client", "delete_client_script", "delete_device"] {
        let id = bed.device(&[("name", "same")]).await;
        let reply = bed.get(call, &[("client_id", &id)]).await;
        assert_eq!(
            reply.body,
            r#"{"message":"OK","error_code":0,"success":true}"#
        );
        let told = bed.verdict(call, &[("client_id", &id)]).await;
        assert_eq!(told, (31, "Wrong data: client_id is unknown".into()));
    }
    assert_eq!(bed.get("device_list", &[]).await.body, "[]");
}

pub(crate) async fn states_refuse_what_they_should(bed: &Bed) {
    for (state, code) in [(DeviceState::Blocked, 23), (DeviceState::Inactive, 24)] {
        let id = bed.device(&[]).await;
        let whole = bed.quadruple(&id).await;
        bed.set_state(&id, state).await;
        let key = public_key();
        let parameters = [
            ("client_id", id.as_str()),
            ("allow", "1"),
            ("public_key", &key),
        ];
        let text = if code == 23 {
            "Client blocked"
        } else {
            "Client inactive"
        };
        for call in [
            "get_client_script",
            "connect",
            "client_status",
            "set_allow_clientless",
            "upload_public_key",
        ] {
            let told = bed.verdict(call, &parameters).await;
            assert_eq!(told, (code, text.into()), "{call}");
        }
        let told = bed
            .bare("upgrade_client_script", &refs(&whole))
            .await
            .verdict();
        assert_eq!(told, (code, text.into()));
        assert_eq!(bed.code("disconnect", &parameters).await, 0);
        assert_eq!(bed.list(&bed.key).await.len(), 1);
        assert_eq!(bed.code("delete_client", &parameters).await, 0);
    }
}

pub(crate) async fn a_suspended_account_refuses_everything(bed: &Bed) {
    let id = bed.device(&[]).await;
    let whole = bed.quadruple(&id).await;
    bed.registry
        .suspend_account(bed.account, true)
        .await
        .unwrap();
    let refused = (24, "Client inactive".to_owned());
    for call in [
        "create_new_client",
        "get_client_script",
        "device_list",
        "delete_client",
        "connect",
        "disconnect",
        "client_status",
        "set_allow_clientless",
        "upload_public_key",
    ] {
        let told = bed.verdict(call, &[("client_id", &id)]).await;
        assert_eq!(told, refused, "{call}");
    }
    for call in ["upgrade_client_script", "client_status", "disconnect"] {
        assert_eq!(
            bed.bare(call, &refs(&whole)).await.verdict(),
            refused,
            "{call}"
        );
    }
    bed.registry
        .suspend_account(bed.account, false)
        .await
        .unwrap();
    assert_eq!(bed.list(&bed.key).await.len(), 1, "nothing was changed");
}

pub(crate) async fn offline_devices_say_so(bed: &Bed) {
    let id = bed.device(&[]).await;
    let reply = bed.get("client_status", &[("client_id", &id)]).await;
    assert_eq!(
        reply.body,
        r#"{"message":"offline","error_code":24,"success":true}"#
    );
    for _ in 0..2 {
        assert_eq!(bed.code("disconnect", &[("client_id", &id)]).await, 0);
    }
    let told = bed.verdict("connect", &[("client_id", &id)]).await;
    assert_eq!(told, (11, "not connected".into()));
}

pub(crate) async fn allow_is_required_and_checked(bed: &Bed) {
    let id = bed.device(&[]).await;
    let told = bed
        .verdict("set_allow_clientless", &[("client_id", &id)])
        .await;
    assert_eq!(told, (31, "Wrong data: allow is required".into()));
    let told = bed
        .verdict(
            "set_allow_clientless",
            &[("client_id", &id), ("allow", "maybe")],
        )
        .await;
    assert_eq!(told, (31, "Wrong data: allow must be true or false".into()));
    for (value, set) in [("ON", true), ("0", false), ("True", true), ("off", false)] {
        let parameters = [("client_id", id.as_str()), ("allow", value)];
        assert_eq!(bed.code("set_allow_clientless", &parameters).await, 0);
        let device = bed.registry.device(device_id(&id)).await.unwrap().unwrap();
        assert_eq!(device.allow_clientless, set);
    }
}

pub(crate) async fn keys_are_uploaded_and_replaced(bed: &Bed) {
    let id = bed.device(&[]).await;
    let upload = async |key: &str| {
        bed.verdict(
            "upload_public_key",
            &[("client_id", &id), ("public_key", key)],
        )
        .await
    };
    assert_eq!(
        upload("").await,
        (31, "Wrong data: public_key is required".into())
    );
    let bad = "Wrong data: public_key is not a supported OpenSSH public key";
    assert_eq!(upload("ssh-ed25519 AAAA").await, (31, bad.into()));
    let (old, new) = (public_key(), public_key());
    for key in [&old, &old, &new] {
        assert_eq!(upload(key).await.0, 0);
        let device = bed.registry.device(device_id(&id)).await.unwrap().unwrap();
        assert_eq!(&device.public_key.unwrap().canonical, key);
    }
    let holder = public_key();
    bed.device(&[("public_key", &holder)]).await;
    let taken = (31, "Wrong data: public_key is already in use".to_owned());
    assert_eq!(upload(&holder).await, taken, "of the same account");
    let known = bed.create(&[("public_key", &new)]).await;
    assert_eq!(
        text(&known, "client_id"),
        id,
        "the new key is the device now"
    );
    assert_eq!(bed.create(&[("public_key", &old)]).await["created"], true);
}
