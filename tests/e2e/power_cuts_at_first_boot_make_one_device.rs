use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use harness::{DeviceOptions, Operator, TestDevice, TestServer};

/// Longest that one cut-short boot may take.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

fn enrolled_names(server: &TestServer, key: &str) -> Vec<String> {
    let devices = server.api(key).devices();
    devices
        .iter()
        .map(|device| device["host_name"].as_str().unwrap().to_owned())
        .collect()
}

fn serial_device(server: &TestServer, key: &str, prefix: &str) -> TestDevice {
    let options = DeviceOptions {
        prefix: Some(prefix.into()),
        ..DeviceOptions::default()
    };
    TestDevice::new(server, key, options)
}

/// Every step of first boot, by its name, in the order in which they are passed.
fn steps(server: &TestServer, key: &str) -> Vec<String> {
    let mut device = serial_device(server, key, "count");
    let log = device.state().with_extension("steps");
    device.launch_with(&[("MOORLINE_FAULT_LOG", log.to_str().unwrap())]);
    Operator::login(server).wait_online("count000001", None);
    device.stop();
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Boots until the given step and is killed there; false when the boot never came to it.
fn cut_at(device: &mut TestDevice, step: usize) -> bool {
    device.launch_with(&[("MOORLINE_FAULT", &step.to_string())]);
    let status = device.process().wait(BOOT_LIMIT);
    device.kill();
    status.signal() == Some(9)
}

#[test]
fn a_power_cut_at_any_step_makes_one_device_with_one_serial() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let steps = steps(&server, &key);
    assert!(steps.len() >= 12, "first boot passes few steps: {steps:?}");

    for step in 1..=steps.len() {
        let prefix = format!("s{step}-");
        let mut device = serial_device(&server, &key, &prefix);
        assert!(
            cut_at(&mut device, step),
            "step {step} was not reached: {}",
            device.log()
        );
        device.launch();
        let name = format!("{prefix}000001");
        operator.wait_online(&name, None);
        device.stop();
        let made: Vec<_> = enrolled_names(&server, &key)
            .into_iter()
            .filter(|made| made.starts_with(&prefix))
            .collect();
        assert_eq!(made, [name], "cut at {}", steps[step - 1]);
    }
}

#[test]
fn power_cuts_one_after_another_make_one_device_with_one_serial() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let steps = steps(&server, &key);

    // The next boot passes fewer steps than the first; cut it wherever it still comes to.
    let mut device = serial_device(&server, &key, "again");
    for step in 1..=steps.len() {
        device.launch_with(&[("MOORLINE_FAULT", &step.to_string())]);
        let mut cut = false;
        harness::wait_for("the boot is cut or done", BOOT_LIMIT, || {
            cut = device.process().ended().is_some();
            let online = operator
                .try_device("again000001")
                .is_some_and(|device| device.online);
            (cut || online).then_some(())
        });
        device.kill();
    }
    device.launch();
    operator.wait_online("again000001", None);
    let made: Vec<_> = enrolled_names(&server, &key)
        .into_iter()
        .filter(|name| name.starts_with("again"))
        .collect();
    assert_eq!(made, ["again000001"]);
}
