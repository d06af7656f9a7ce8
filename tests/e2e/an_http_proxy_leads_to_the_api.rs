use std::net::SocketAddr;

use harness::{
    DeviceOptions, Front, Https, Operator, ServerOptions, TestDevice, TestServer, Way, eventually,
};

/// Exit code of the agent.
const UNREACHABLE: i32 = 5;
/// `sailor:hunter2` in base64.
const CREDENTIALS: &str = "c2FpbG9yOmh1bnRlcjI=";
const PASSWORD: &str = "hunter2";
/// A name that only the proxy resolves.
const NAME: &str = "moor.invalid";

/// A server whose API is reached through a proxy only, and a device behind that.
struct Behind {
    // Fields go in this order: the device before the server it talks to.
    device: TestDevice,
    operator: Operator,
    proxy: Front,
    way: Way,
    variable: &'static str,
    _server: TestServer,
}

fn address(url: &str) -> SocketAddr {
    url.split_once("://").unwrap().1.parse().unwrap()
}

impl Behind {
    fn new(scheme: &str, credentials: Option<&'static str>) -> Self {
        let server = TestServer::start_with(ServerOptions {
            https: Some(Https::self_signed()),
            ..ServerOptions::default()
        });
        let (to, variable) = match scheme {
            "https" => (server.https_url(), "HTTPS_PROXY"),
            _ => (server.url(), "http_proxy"),
        };
        let to = address(&to);
        let way = Way::Proxy { to, credentials };
        let options = DeviceOptions {
            name: Some("astern".into()),
            api_url: Some(format!("{scheme}://{NAME}:{}", to.port())),
            config: format!("[trust]\nserver_spki_sha256 = [\"{}\"]\n", server.pin()),
            ..DeviceOptions::default()
        };
        Self {
            device: TestDevice::new(&server, &server.full_key("maker"), options),
            operator: Operator::login(&server),
            proxy: Front::new(way.clone()),
            way,
            variable,
            _server: server,
        }
    }

    fn url(&self, login: &str) -> String {
        format!("http://{login}127.0.0.1:{}", self.proxy.port())
    }

    fn doctor(&self, login: &str) -> harness::Done {
        let mut doctor = self.device.agent(&["doctor"]);
        harness::run(doctor.env(self.variable, self.url(login)))
    }
}

#[test]
fn a_device_enrols_through_a_proxy_that_asks_for_a_login() {
    for (scheme, request) in [
        ("https", "CONNECT moor.invalid:"),
        ("http", "POST http://moor"),
    ] {
        let mut behind = Behind::new(scheme, Some(CREDENTIALS));
        let login = format!("sailor:{PASSWORD}@");
        let url = behind.url(&login);
        behind.device.launch_with(&[(behind.variable, &url)]);
        behind.operator.wait_online("astern", None);
        let asked = behind.proxy.asked();
        assert!(
            !asked.is_empty() && asked.iter().all(|line| line.starts_with(request)),
            "{asked:?}"
        );
        let doctor = behind.doctor(&login);
        assert_eq!(doctor.code, 0, "{doctor:?}");
        assert!(doctor.stdout.contains("the tunnel does not"), "{doctor:?}");
        let said = format!("{}{}{}", behind.device.log(), doctor.stdout, doctor.stderr);
        assert!(!said.contains(PASSWORD), "{said}");
        behind.device.stop();
    }
}

#[test]
fn a_device_says_what_a_proxy_refuses_and_waits_for_it() {
    let cases = [
        (
            "https",
            "",
            "through the proxy: proxy authorization required",
        ),
        ("http", "", "407 Proxy Authentication Required"),
    ];
    for (scheme, login, words) in cases {
        let mut behind = Behind::new(scheme, Some(CREDENTIALS));
        let url = behind.url(login);
        behind.device.launch_with(&[(behind.variable, &url)]);
        let device = &mut behind.device;
        eventually("the agent says that the proxy wants a login", || {
            device.assert_alive();
            device.log().contains(words)
        });
        let doctor = behind.doctor(login);
        assert_eq!(doctor.code, UNREACHABLE, "{doctor:?}");
        assert!(doctor.stdout.contains(words), "{doctor:?}");

        let forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let said = behind.device.log().len();
        behind.proxy.lead(Way::Answer(forbidden));
        let device = &mut behind.device;
        eventually("the agent says that the proxy refuses", || {
            device.assert_alive();
            let log = device.log();
            ["it refuses, or it is no proxy", "403 Forbidden"]
                .iter()
                .any(|words| log[said..].contains(words))
        });

        // Whoever runs the proxy lets everybody through.
        let Way::Proxy { to, .. } = behind.way else {
            unreachable!("the way is that of a proxy")
        };
        let credentials = None;
        behind.proxy.lead(Way::Proxy { to, credentials });
        behind.operator.wait_online("astern", None);
        behind.device.stop();
    }
}
