use harness::{DeviceOptions, Done, Operator, TestDevice, TestServer, eventually, wait_for};
use serde_json::Value;

/// Exit codes of the agent.
const NOT_ENROLLED: i32 = 3;
const REFUSED: i32 = 4;
const UNREACHABLE: i32 = 5;

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

#[test]
fn status_and_doctor_speak_plainly_at_every_stage() {
    let mut server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let options = DeviceOptions {
        name: Some("talker".into()),
        ..DeviceOptions::default()
    };
    let mut device = TestDevice::new(&server, &key, options);

    assert_eq!(device.run_agent(&["status"]).code, NOT_ENROLLED);
    let well = device.run_agent(&["doctor"]);
    assert!(well.stdout.contains("not enrolled yet"), "{well:?}");

    device.run_agent(&["enrol"]).ok();
    device.run_agent(&["enrol"]).ok();
    device.launch();
    operator.wait_online("talker", None);
    eventually("status says that the tunnel is up", || {
        device.run_agent(&["status"]).code == 0
    });
    assert!(json(&device.run_agent(&["status", "--json"])).is_object());
    let doctor = device.run_agent(&["doctor", "--json"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    assert!(!json(&doctor).is_null());

    server.kill();
    wait_for(
        "doctor says that the server is away",
        std::time::Duration::from_secs(300),
        || (device.run_agent(&["doctor"]).code == UNREACHABLE).then_some(()),
    );
    eventually("status says that the tunnel is down", || {
        device.run_agent(&["status"]).code != 0
    });
    device.assert_alive();
    server.launch();
    operator.wait_online("talker", None);
    device.stop();
    assert_ne!(device.run_agent(&["status"]).code, 0);
}

#[test]
fn a_device_forgets_itself_and_starts_over_or_takes_its_client_along() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let options = DeviceOptions {
        prefix: Some("again".into()),
        ..DeviceOptions::default()
    };
    let mut device = TestDevice::new(&server, &key, options);
    for name in ["again000001", "again000002"] {
        device.launch();
        operator.wait_online(name, None);
        device.stop();
        device.run_agent(&["factory-reset"]).ok();
        assert_eq!(device.run_agent(&["status"]).code, NOT_ENROLLED);
    }
    device.launch();
    operator.wait_online("again000003", None);
    device.stop();
    device.run_agent(&["unenrol"]).ok();
    assert!(operator.try_device("again000003").is_none());
    assert!(operator.try_device("again000001").is_some());
}

#[test]
fn a_wrong_key_is_said_and_the_agent_waits_for_a_right_one() {
    let server = TestServer::start();
    let key = server.full_key("factory");
    let mut device = TestDevice::new(&server, &"0".repeat(32), DeviceOptions::default());
    assert_eq!(device.run_agent(&["enrol"]).code, REFUSED);
    device.launch();
    eventually("the agent says that its key is refused", || {
        device.log().contains("Invalid API key")
    });
    device.assert_alive();
    device.stop();
    device.write_config(&server.url(), &key);
    device.run_agent(&["enrol"]).ok();
}
