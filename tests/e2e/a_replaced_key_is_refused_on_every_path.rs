use harness::{KeyPair, Running, Ssh};

use crate::station::Station;

#[test]
fn a_replaced_key_is_refused_and_the_new_one_works_at_once() {
    let mut station = Station::with_device("rekeyed");
    let operator = station.operator.clone();
    let api = station.server.api(&station.server.full_key("rekeyer"));
    let before = api.device("rekeyed").unwrap();
    let id = before["client_id"].as_str().unwrap();
    let old = operator.device("rekeyed").fingerprint.unwrap();

    let new = KeyPair::make(&station.folder().join("new_device_key"));
    let public = new.public();
    let (code, text) = api
        .call(
            "upload_public_key",
            &[("client_id", id), ("public_key", public.trim())],
        )
        .error();
    assert_eq!(code, 0, "{text}");
    operator.wait_offline("rekeyed");
    assert_ne!(operator.device("rekeyed").fingerprint.unwrap(), old);

    // The agent still holds the old key: refused, and it says so.
    harness::eventually("the agent says that somebody must act", || {
        station.device.log().contains("someone must act")
    });
    station.device.assert_alive();

    // The new key brings the tunnel under the same identity, name and port.
    let ssh = Ssh::gateway(&station.server, id, station.folder()).key(&new);
    let reverse = format!(
        "{}:localhost:{}",
        before["port"],
        station.device.sshd().port()
    );
    let command = ssh.command(&["-N", "-R", &reverse]);
    let tunnel = Running::start("ssh -R", &command, &station.folder().join("tunnel.log"));
    operator.wait_online("rekeyed", None);
    let after = api.device("rekeyed").unwrap();
    assert_eq!(
        (&after["client_id"], &after["port"]),
        (&before["client_id"], &before["port"])
    );
    station.device.sshd().authorize(&station.key);
    let by_port = station.by_port(station.public_port("rekeyed"));
    harness::eventually("ssh is served on the public port", || {
        by_port.run("true").code == 0
    });
    drop(tunnel);

    // A key that belongs to another device is not taken.
    let other = KeyPair::make(&station.folder().join("other_device_key"));
    let other = other.public();
    let made = api.create(&[("name", "neighbour"), ("public_key", other.trim())]);
    assert_eq!(made["created"], true);
    let (code, text) = api
        .call(
            "upload_public_key",
            &[("client_id", id), ("public_key", other.trim())],
        )
        .error();
    assert_eq!(
        (code, text.as_str()),
        (31, "Wrong data: public_key is already in use")
    );
}

#[test]
fn a_deleted_device_is_refused_and_its_name_is_free() {
    let mut station = Station::with_device("gone");
    let api = station.server.api(&station.server.full_key("remover"));
    let id = api.device("gone").unwrap()["client_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        api.call("delete_client", &[("client_id", &id)]).error().0,
        0
    );
    assert!(station.operator.try_device("gone").is_none());
    let (code, text) = api.call("delete_client", &[("client_id", &id)]).error();
    assert_eq!(
        (code, text.as_str()),
        (31, "Wrong data: client_id is unknown")
    );
    harness::eventually("the agent says that somebody must act", || {
        station.device.log().contains("someone must act")
    });
    station.device.assert_alive();
    assert_eq!(api.create(&[("name", "GONE")])["client_name"], "GONE");
}
