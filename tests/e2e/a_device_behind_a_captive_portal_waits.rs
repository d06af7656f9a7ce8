use std::net::SocketAddr;

use harness::{
    DeviceOptions, Front, Https, Operator, ServerOptions, TestDevice, TestServer, Way, eventually,
};

const NAME: &str = "becalmed";
/// Exit code of the agent.
const UNREACHABLE: i32 = 5;
/// What portals answer to everything.
const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n\
                    <!DOCTYPE html><title>Welcome on board</title>\n";
const REDIRECT: &str = "HTTP/1.1 302 Found\r\nLocation: http://portal.test/login\r\n\
                        Content-Length: 0\r\nConnection: close\r\n\r\n";

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// The running agent says what is in the way.
fn assert_says(device: &mut TestDevice, from: usize, words: &str) {
    eventually(&format!("the agent says: {words}"), || {
        device.assert_alive();
        device.log()[from..].contains(words)
    });
}

#[test]
fn a_new_device_says_so_and_enrols_once_the_portal_lets_it_through() {
    let server = TestServer::start_with(ServerOptions {
        https: Some(Https::self_signed()),
        ..ServerOptions::default()
    });
    let operator = Operator::login(&server);
    let key = server.full_key("maker");
    let trust = format!("[trust]\nserver_spki_sha256 = [\"{}\"]\n", server.pin());
    let cases = [
        ("page", "http", PAGE, "it is a web page; a captive portal"),
        (
            "moved",
            "http",
            REDIRECT,
            "it sends us to http://portal.test/login",
        ),
        (
            "sealed",
            "https",
            PAGE,
            "does not speak TLS; a captive portal",
        ),
        (
            "astray",
            "https",
            REDIRECT,
            "does not speak TLS; a captive portal",
        ),
    ];
    for (name, scheme, answer, words) in cases {
        let behind = match scheme {
            "http" => server.url(),
            _ => server.https_url(),
        };
        let front = Front::new(Way::Answer(answer));
        let options = DeviceOptions {
            name: Some(name.into()),
            api_url: Some(format!("{scheme}://127.0.0.1:{}", front.port())),
            config: trust.clone(),
            ..DeviceOptions::default()
        };
        let mut device = TestDevice::new(&server, &key, options);
        let enrol = device.run_agent(&["enrol"]);
        assert_eq!(enrol.code, UNREACHABLE, "{enrol:?}");
        assert!(enrol.stderr.contains(words), "{enrol:?}");
        device.launch();
        assert_says(&mut device, 0, words);
        let doctor = device.run_agent(&["doctor"]);
        assert_eq!(doctor.code, UNREACHABLE, "{doctor:?}");
        assert!(doctor.stdout.contains(words), "{doctor:?}");
        front.lead(Way::To(local(port_of(&behind))));
        operator.wait_online(name, None);
        device.stop();
    }
}

#[test]
fn an_enrolled_device_keeps_its_identity_and_comes_back() {
    let gate = Front::new(Way::Answer(PAGE));
    let api = Front::new(Way::Answer(PAGE));
    let server = TestServer::start_with(ServerOptions {
        config: format!(
            "[ssh]\npublic_port = {}\n[http]\npublic_url = \"http://127.0.0.1:{}\"\n",
            gate.port(),
            api.port()
        ),
        ..ServerOptions::default()
    });
    let let_through = || {
        gate.lead(Way::To(local(server.ssh_port())));
        api.lead(Way::To(local(port_of(&server.url()))));
    };
    let_through();
    let operator = Operator::login(&server);
    let options = DeviceOptions {
        name: Some(NAME.into()),
        api_url: Some(format!("http://127.0.0.1:{}", api.port())),
        ..DeviceOptions::default()
    };
    let mut device = TestDevice::new(&server, &server.full_key("maker"), options);
    device.launch();
    operator.wait_online(NAME, None);
    let id = operator.device(NAME).id;
    let script = std::fs::read(device.state().join("client.sh")).unwrap();

    for answer in [PAGE, REDIRECT] {
        let before = operator.generation(NAME);
        let said = device.log().len();
        gate.lead(Way::Answer(answer));
        api.lead(Way::Answer(answer));
        assert_says(
            &mut device,
            said,
            "SSH handshake: closed before it was done; a captive portal",
        );
        // After some failures it asks the API where its node is.
        eventually("the portal is asked for the node", || {
            !api.asked().is_empty()
        });
        assert_says(&mut device, said, "ask the API where the node is");
        assert_eq!(device.run_agent(&["status"]).code, UNREACHABLE);
        let_through();
        operator.wait_online(NAME, before);
        device.assert_alive();
    }
    assert_eq!(operator.device(NAME).id, id);
    let kept = std::fs::read(device.state().join("client.sh")).unwrap();
    assert_eq!(kept, script);
    device.stop();
}
