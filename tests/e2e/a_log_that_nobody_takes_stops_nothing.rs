use harness::{DeviceOptions, Operator, TestDevice, TestServer, binary};

/// Standard error on a full disk, a logger that has gone, and none at all.
const LOGS: [(&str, &str); 3] = [
    ("full", r#"exec "$0" "$@" 2>/dev/full"#),
    ("gone", r#"exec "$0" "$@" 2> >(exec true)"#),
    ("none", r#"exec "$0" "$@" 2>&-"#),
];

#[test]
fn a_log_that_nobody_takes_stops_nothing() {
    let mut server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("maker");
    let mut devices: Vec<TestDevice> = LOGS
        .iter()
        .map(|(name, script)| {
            let agent = binary("moorline-agent").into_os_string();
            let agent = agent.into_string().unwrap();
            let options = DeviceOptions {
                name: Some((*name).to_owned()),
                agent: ["bash", "-c", script, &agent].map(str::to_owned).into(),
                ..DeviceOptions::default()
            };
            TestDevice::new(&server, &key, options)
        })
        .collect();
    devices.iter_mut().for_each(TestDevice::launch);
    for (name, _) in LOGS {
        operator.wait_online(name, None);
    }
    // A server that goes gives them something to say.
    server.stop();
    server.launch();
    for ((name, _), device) in LOGS.iter().zip(&mut devices) {
        operator.wait_online(name, None);
        device.assert_alive();
        device.stop();
    }
}
