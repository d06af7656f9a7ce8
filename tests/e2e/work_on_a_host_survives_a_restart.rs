use reqwest::Method;
use serde_json::Value;

use crate::lodger::{Lodger, not_taken};

#[test]
fn work_on_a_host_survives_a_restart() {
    let mut lodger = Lodger::with_device("restarted");
    lodger.wait_done(&lodger.act("stop"));
    lodger.station.device.kill();
    // The start waits for a device that is off; the stop waits for the start.
    let start = lodger.act("start");
    harness::eventually("the start runs", || {
        lodger.task(&start)["status"] == "running"
    });
    let stop = lodger.act("stop");
    lodger.station.server.kill();
    lodger.station.server.launch();
    harness::eventually("the start runs again", || {
        lodger.task(&start)["status"] == "running"
    });
    assert_eq!(lodger.task(&stop)["status"], "pending");
    lodger.station.device.launch();
    lodger.wait_done(&start);
    lodger.wait_done(&stop);
    let moments = [&start, &stop].map(|task| lodger.task(task)["updated_at"].to_string());
    assert!(moments[0] <= moments[1], "{moments:?}");
    lodger.wait_status("stopped");
}

#[test]
fn a_rebuilt_device_host_has_new_ports_and_the_same_identity() {
    let lodger = Lodger::with_device("rebuilt");
    let before = lodger.station.operator.device("rebuilt");
    lodger.wait_done(&lodger.act("rebuild"));
    lodger.wait_status("running");
    let after = lodger.station.operator.device("rebuilt");
    assert_ne!(
        after.forwards[0].public_port,
        before.forwards[0].public_port
    );
    assert_eq!(after.forwards[0].id, before.forwards[0].id);
    assert_eq!(
        (after.id, after.number, after.name, after.fingerprint),
        (before.id, before.number, before.name, before.fingerprint)
    );
    // The new port leads to the device, and so does the gateway; the old entry password does not.
    lodger.station.device.sshd().authorize(&lodger.station.key);
    let by_port = lodger.station.by_port(after.forwards[0].public_port);
    harness::eventually("ssh is served on the new port", || {
        by_port.run("true").code == 0
    });
    assert_eq!(
        lodger.station.by_name("rebuilt").run("echo on").ok(),
        "on\n"
    );
    assert!(not_taken(&lodger.by_password().run("true")));
    let path = format!("{}/rotate-ssh-password", lodger.host_path());
    let rotated = lodger.call(Method::POST, &path, &Value::Null);
    let by_new = lodger
        .ssh()
        .password(rotated["new_password"].as_str().unwrap());
    assert_eq!(by_new.run("echo in").ok(), "in\n");
}
