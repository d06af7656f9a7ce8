use std::fs;
use std::path::Path;

use harness::{Operator, TestServer};
use reqwest::Method;

use crate::station::Station;

/// What README tells an operator to keep beside the snapshots.
const KEPT: [&str; 3] = ["master.key", "ssh_host_ed25519_key", "gateway_ed25519_key"];

#[test]
fn a_lost_data_folder_comes_back_from_its_backup() {
    let mut station = Station::with_device("harbour");
    let before = station.operator.device("harbour");
    let port = station.public_port("harbour");
    let identity = fs::read(station.device.state().join("identity.toml")).unwrap();

    // While the server runs and the tunnel is up; what comes later is lost.
    let snapshots = station.folder().join("snapshots");
    let folder = snapshots.to_str().unwrap();
    let said = station.server.tool(&["backup", "--dir", folder]).ok();
    let (file, size) = said
        .trim()
        .rsplit_once(" bytes")
        .unwrap()
        .0
        .rsplit_once(' ')
        .unwrap();
    assert_eq!(
        fs::metadata(file).unwrap().len(),
        size.parse::<u64>().unwrap()
    );
    assert!(!station.server.full_key("made-too-late").is_empty());
    assert!(keys(&station.server).contains("made-too-late"));
    let refused = station.server.tool(&["restore", file]);
    assert_ne!(refused.code, 0, "the server runs");
    assert!(refused.stderr.contains("is in use"), "{}", refused.stderr);

    // The disk is gone, but for what was kept elsewhere.
    let elsewhere = station.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for name in KEPT {
        fs::copy(station.server.data().join(name), elsewhere.join(name)).unwrap();
    }
    station.server.kill();
    fs::remove_dir_all(station.server.data()).unwrap();
    let refused = station.server.tool(&["restore", file]);
    assert!(refused.stderr.contains("master.key"), "{}", refused.stderr);
    assert!(!station.server.data().join("moorline.db").exists());
    for name in KEPT {
        private_copy(&elsewhere.join(name), &station.server.data().join(name));
    }
    station.server.tool(&["restore", file]).ok();
    station.server.launch();

    // The administrator, the device and its public port are those they were; the agent was never touched.
    station.operator = Operator::login(&station.server);
    station.operator.wait_online("harbour", None);
    station.device.assert_alive();
    let after = station.operator.device("harbour");
    assert_eq!((after.id, after.number), (before.id, before.number));
    assert_eq!(station.public_port("harbour"), port);
    let state = station.device.state();
    assert_eq!(fs::read(state.join("identity.toml")).unwrap(), identity);
    assert_eq!(station.by_name("harbour").run("echo home").ok(), "home\n");
    assert!(!keys(&station.server).contains("made-too-late"));
}

#[test]
fn another_jwt_secret_ends_every_token() {
    let mut server = TestServer::start();
    let operator = Operator::login(&server);
    let path = "/v1/admin/devices";
    assert_eq!(operator.send(Method::GET, path, None).status, 200);
    server.stop();
    server.launch();
    assert_eq!(operator.send(Method::GET, path, None).status, 200);
    server.stop();
    server.set_jwt_secret("a secret of thirty-two characters");
    server.launch();
    let refused = operator.send(Method::GET, path, None);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], "invalid token");
    let operator = Operator::login(&server);
    assert_eq!(operator.send(Method::GET, path, None).status, 200);
}

fn keys(server: &TestServer) -> String {
    server.admin(&["key", "list"]).ok()
}

fn private_copy(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
}
