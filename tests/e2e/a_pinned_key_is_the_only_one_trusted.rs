use harness::{DeviceOptions, Https, Operator, ServerOptions, TestDevice, TestServer, eventually};

/// Exit code of the agent.
const UNREACHABLE: i32 = 5;
/// The pin of nobody.
const WRONG: &str = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn secure_server() -> TestServer {
    TestServer::start_with(ServerOptions {
        https: Some(Https::self_signed()),
        ..ServerOptions::default()
    })
}

fn device(server: &TestServer, name: &str, trust: &str) -> TestDevice {
    let options = DeviceOptions {
        name: Some(name.into()),
        api_url: Some(server.https_url()),
        config: format!("[trust]\n{trust}\n"),
        ..DeviceOptions::default()
    };
    TestDevice::new(server, &server.full_key(name), options)
}

fn pins(pins: &[&str]) -> String {
    format!("server_spki_sha256 = {pins:?}")
}

#[test]
fn what_vouches_for_the_server_lets_a_device_enrol_by_https() {
    let server = secure_server();
    let operator = Operator::login(&server);
    let cases = [
        ("pinned", pins(&[&server.pin()])),
        ("next-pin", pins(&[WRONG, &server.pin()])),
        ("vouched", format!("ca_file = {:?}", server.ca_file())),
    ];
    for (name, trust) in cases {
        let mut device = device(&server, name, &trust);
        device.launch();
        operator.wait_online(name, None);
        device.run_agent(&["doctor"]).ok();
        device.stop();
    }
}

#[test]
fn a_server_that_nothing_vouches_for_is_told_nothing() {
    let server = secure_server();
    let operator = Operator::login(&server);
    let other = secure_server();
    let cases = [
        ("mispinned", pins(&[WRONG]), "none of the pinned ones"),
        (
            "unpinned",
            String::new(),
            "who issued it is not trusted here",
        ),
        (
            "misled",
            format!("ca_file = {:?}", other.ca_file()),
            "not signed by the key of the authority",
        ),
    ];
    for (name, trust, words) in cases {
        let mut device = device(&server, name, &trust);
        let enrol = device.run_agent(&["enrol"]);
        assert_eq!(enrol.code, UNREACHABLE, "{enrol:?}");
        assert!(enrol.stderr.contains(words), "{enrol:?}");
        device.launch();
        eventually("the agent says what is wrong with the certificate", || {
            device.assert_alive();
            device.log().contains(words)
        });
        let doctor = device.run_agent(&["doctor"]);
        assert_eq!(doctor.code, UNREACHABLE, "{doctor:?}");
        assert!(doctor.stdout.contains(words), "{doctor:?}");
        assert!(operator.try_device(name).is_none());
        device.stop();
    }
}

#[test]
fn a_device_whose_pin_is_outdated_keeps_its_tunnel_and_comes_back() {
    let mut server = secure_server();
    let operator = Operator::login(&server);
    let mut device = device(&server, "dated", &pins(&[&server.pin()]));
    device.launch();
    operator.wait_online("dated", None);
    server.stop();
    std::fs::remove_dir_all(server.data().join("tls")).unwrap();
    server.launch();
    // The tunnel hangs on the host key that came with the script, not on the certificate.
    operator.wait_online("dated", None);
    let doctor = device.run_agent(&["doctor"]);
    assert!(
        doctor.stdout.contains("none of the pinned ones"),
        "{doctor:?}"
    );
    device.assert_alive();
}
