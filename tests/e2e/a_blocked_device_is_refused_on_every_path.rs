use harness::{Api, eventually, run};

use crate::station::Station;

const BLOCKED: (i64, &str) = (23, "Client blocked");

fn answers(api: &Api, id: &str, expected: (i64, &str)) {
    let calls = [
        "get_client_script",
        "connect",
        "client_status",
        "set_allow_clientless",
        "upload_public_key",
    ];
    for call in calls {
        let parameters = [("client_id", id), ("allow", "true"), ("public_key", "")];
        let given = if call == "upload_public_key" { 1 } else { 2 };
        let mut parameters = parameters[..given].to_vec();
        if call == "upload_public_key" {
            parameters.push((
                "public_key",
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8rV5vJ0p0v9mXJqzq4x1wq1Q0Qm0cQk7Xn9l5sVbZr",
            ));
        }
        let (code, text) = api.call(call, &parameters).error();
        assert_eq!((code, text.as_str()), expected, "{call}");
    }
}

#[test]
fn a_blocked_device_is_refused_on_every_path_until_it_is_unblocked() {
    let mut station = Station::with_device("outcast");
    let operator = station.operator.clone();
    let api = station.server.api(&station.server.full_key("watcher"));
    let entry = api.device("outcast").unwrap();
    let id = entry["client_id"].as_str().unwrap();
    let port = station.public_port("outcast");
    station.device.sshd().authorize(&station.key);
    harness::eventually("ssh is served on the public port", || {
        station.by_port(port).run("true").code == 0
    });

    operator.set_state("outcast", "blocked");
    operator.wait_offline("outcast");
    answers(&api, id, BLOCKED);
    let quadruple = [
        ("dbid", entry["dbid"].as_str().unwrap().to_owned()),
        ("host_uuid", id.to_owned()),
        ("ports_id", entry["ports_id"].to_string()),
        ("user_id", entry["user_id"].to_string()),
    ];
    let quadruple: Vec<(&str, &str)> = quadruple
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (code, text) = station
        .server
        .api("")
        .call("upgrade_client_script", &quadruple)
        .error();
    assert_eq!((code, text.as_str()), BLOCKED);

    // No way in: not by port, not by name; and its agent is refused, says so, and does not give up.
    assert_ne!(station.by_port(port).run("true").code, 0);
    let done = station.by_name("outcast").run("true");
    assert_ne!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("blocked"), "{done:?}");
    eventually("the agent says that somebody must act", || {
        station.device.log().contains("someone must act")
    });
    station.device.assert_alive();
    let status = run(&mut station.device.agent(&["status", "--json"]));
    assert_ne!(status.code, 0, "{status:?}");

    // It stays listed, can be disconnected, and comes back by itself.
    assert!(api.device("outcast").is_some());
    assert_eq!(api.call("disconnect", &[("client_id", id)]).error().0, 0);
    operator.set_state("outcast", "inactive");
    answers(&api, id, (24, "Client inactive"));
    operator.set_state("outcast", "active");
    let (code, _) = api.call("connect", &[("client_id", id)]).error();
    assert!(code == 0 || code == 11, "connect answered {code}");
    harness::wait_for(
        "it is back after the pause that follows a refusal",
        std::time::Duration::from_secs(300),
        || operator.device("outcast").online.then_some(()),
    );
    eventually("ssh works again", || {
        station.by_port(port).run("true").code == 0
    });
}
