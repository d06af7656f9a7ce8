use harness::{Api, KeyPair, Operator, Ssh, TestServer};
use tempfile::TempDir;

use crate::station::Station;

/// Every call with the scope it needs.
const CALLS: [(&str, &str); 11] = [
    ("create_new_client", "device:create"),
    ("get_client_script", "device:read"),
    ("device_list", "device:read"),
    ("client_status", "device:read"),
    ("connect", "device:modify"),
    ("disconnect", "device:modify"),
    ("set_allow_clientless", "device:modify"),
    ("upload_public_key", "device:modify"),
    ("delete_client", "device:delete"),
    ("delete_client_script", "device:delete"),
    ("delete_device", "device:delete"),
];
const SCOPES: [&str; 4] = [
    "device:create",
    "device:read",
    "device:modify",
    "device:delete",
];
const REFUSED: (i64, &str) = (32, "Invalid API key or API key missing");

fn refused(api: &Api, call: &str, id: &str) {
    let (code, text) = api.call(call, &[("client_id", id)]).error();
    assert_eq!((code, text.as_str()), REFUSED, "{call}");
}

#[test]
fn a_key_without_the_scope_is_refused_by_every_call() {
    let server = TestServer::start();
    let made = server
        .api(&server.full_key("maker"))
        .create(&[("name", "target")]);
    let id = made["client_id"].as_str().unwrap();

    let mut seen = 0;
    for (call, scope) in CALLS {
        let others: Vec<&str> = SCOPES
            .iter()
            .copied()
            .filter(|other| *other != scope)
            .collect();
        let narrow = server.key(&format!("without-{call}"), &others.join(","));
        refused(&server.api(&narrow), call, id);
        refused(&server.api(""), call, id);
        refused(&server.api("00000000000000000000000000000000"), call, id);
        seen += 1;
    }
    assert_eq!(seen, CALLS.len());
    assert!(
        Operator::login(&server).try_device("target").is_some(),
        "a refused call changed something"
    );

    let (code, text) = server.api("").call("sing", &[]).error();
    assert_eq!((code, text.as_str()), (21, "invalid API call"));
}

#[test]
fn a_revoked_or_expired_or_used_up_key_is_refused() {
    let server = TestServer::start();
    let revoked = server.key("short-lived", "device:create,device:read");
    assert_eq!(server.api(&revoked).devices().len(), 0);
    server.admin(&["key", "revoke", "short-lived"]).ok();
    refused(&server.api(&revoked), "device_list", "");

    let once = server.key_with(&["--name", "once", "--uses", "1"]);
    let api = server.api(&once);
    assert_eq!(api.create(&[])["created"], true);
    let (code, text) = api.call("create_new_client", &[]).error();
    assert_eq!((code, text.as_str()), REFUSED);

    let expired = server.admin(&[
        "key",
        "create",
        "--name",
        "past",
        "--expires",
        "2020-01-01T00:00:00Z",
        "--json",
    ]);
    if expired.code == 0 {
        let answer: serde_json::Value = serde_json::from_str(&expired.stdout).unwrap();
        refused(
            &server.api(answer["secret"].as_str().unwrap()),
            "device_list",
            "",
        );
    }
}

#[test]
fn the_gateway_refuses_strangers() {
    let server = TestServer::start();
    let folder = TempDir::new().unwrap();
    let own = KeyPair::make(&folder.path().join("own"));
    let stranger = KeyPair::make(&folder.path().join("stranger"));
    let api = server.api(&server.full_key("maker"));
    let made = api.create(&[("name", "target"), ("public_key", own.public().trim())]);
    let id = made["client_id"].as_str().unwrap();

    // A key that is not the device's, a device that there is not, an operator's name with a key nobody registered.
    for user in [
        id,
        "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2",
        "target",
        "admin+target",
        "admin",
    ] {
        let done = Ssh::gateway(&server, user, folder.path())
            .key(&stranger)
            .run("true");
        assert_eq!(done.code, 255, "{user}: {done:?}");
        assert!(
            done.stderr.contains("Permission denied"),
            "{user}: {done:?}"
        );
    }
    // A device's own key opens the tunnel and nothing else: no session, no way to another device.
    let done = Ssh::gateway(&server, id, folder.path())
        .key(&own)
        .run("true");
    assert_ne!(done.code, 0, "{done:?}");
    let done = Ssh::gateway(&server, "target", folder.path())
        .key(&own)
        .run("true");
    assert!(done.stderr.contains("Permission denied"), "{done:?}");
}

#[test]
fn another_account_sees_nothing_and_reaches_nothing() {
    let station = Station::with_device("own");
    let server = &station.server;
    let own = server.api(&server.full_key("own-key"));
    let entry = own.device("own").unwrap();
    let id = entry["client_id"].as_str().unwrap();

    server.admin(&["account", "create", "other"]).ok();
    let scopes = SCOPES.join(",");
    let foreign = server.key_with(&[
        "--name",
        "foreign",
        "--scope",
        &scopes,
        "--account",
        "other",
    ]);
    let foreign = server.api(&foreign);
    assert_eq!(foreign.devices().len(), 0);
    let mut seen = 0;
    for (call, _) in CALLS
        .iter()
        .filter(|(call, _)| !matches!(*call, "create_new_client" | "device_list"))
    {
        let public = KeyPair::make(&station.folder().join(call)).public();
        let wishes = [
            ("client_id", id),
            ("allow", "true"),
            ("public_key", public.trim()),
        ];
        let (code, text) = foreign.call(call, &wishes).error();
        assert_eq!(
            (code, text.as_str()),
            (31, "Wrong data: client_id is unknown"),
            "{call}"
        );
        seen += 1;
    }
    assert_eq!(seen, CALLS.len() - 2);
    // A key that is a device's in one account cannot be a device's in another.
    let public = station.folder().join("taken");
    let public = KeyPair::make(&public).public();
    assert_eq!(
        own.create(&[("public_key", public.trim())])["created"],
        true
    );
    let (code, text) = foreign
        .call("create_new_client", &[("public_key", public.trim())])
        .error();
    assert_eq!(
        (code, text.as_str()),
        (31, "Wrong data: public_key is already in use")
    );

    // Its administrator comes in at the gateway and finds no such device.
    let password = "a password of the stranger";
    let file = station.folder().join("password");
    std::fs::write(&file, password).unwrap();
    let user = [
        "user",
        "create",
        "--username",
        "stranger",
        "--role",
        "admin",
        "--account",
        "other",
    ];
    server
        .admin(&[&user[..], &["--password-file", file.to_str().unwrap()]].concat())
        .ok();
    let ssh = Ssh::gateway(server, "stranger+own", station.folder()).password(password);
    let done = ssh.run("true");
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("Failed to connect to device"),
        "{done:?}"
    );

    // A suspended account is refused everywhere, and works again when it is resumed.
    server.admin(&["account", "suspend", "other"]).ok();
    let (code, text) = foreign.call("device_list", &[]).error();
    assert_eq!((code, text.as_str()), (24, "Client inactive"));
    // 5 is how sshpass says that the password was not taken.
    assert_eq!(ssh.run("true").code, 5);
    server.admin(&["account", "resume", "other"]).ok();
    assert_eq!(foreign.devices().len(), 0);
}
