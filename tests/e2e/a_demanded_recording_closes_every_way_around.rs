use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Done, KeyPair, Running, Ssh, TestDevice, eventually, run};
use reqwest::Method;
use serde_json::{Value, json};

use crate::openport_client::{GREETING, Scene, port};
use crate::site::Site;
use crate::station::me;

const DEVICE: &str = "kept";
/// A request that leads to a page, and one that leads to raw bytes.
const PAGE: &str = "GET /headers HTTP/1.1\r\nHost: NAME\r\n\r\n";
const SOCKET: &str = "GET /socket HTTP/1.1\r\nHost: NAME\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// Longest wait for bytes that are to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ways that end in a login on the device's own sshd.
#[derive(Clone, Copy, Debug)]
enum EndToEnd {
    PublicPort,
    Jump,
    ForwardTunnel,
}

const END_TO_END: [EndToEnd; 3] = [
    EndToEnd::PublicPort,
    EndToEnd::Jump,
    EndToEnd::ForwardTunnel,
];

/// A device with an sshd and a web site behind it, which everybody can get to.
struct Place {
    // Fields go in this order: the device before the server it talks to.
    device: TestDevice,
    site: Site,
    operator: KeyPair,
    caller: KeyPair,
    /// HTTP name of the site.
    name: String,
    /// Public port of the site.
    web_port: u16,
}

impl Place {
    fn new() -> Self {
        let site = Site::new();
        let device = TestDevice::enrolled(&site.server, DEVICE);
        site.operator.open_port(DEVICE);
        let operator = KeyPair::make(&site.folder().join("operator"));
        site.operator.add_key(&operator);
        device.sshd().authorize(&operator);
        let caller = KeyPair::make(&site.folder().join("caller"));
        let token = site.server.admin(&["account", "binding-token"]).ok();
        let form = [
            ("public_key", caller.public()),
            ("key_binding_token", token.trim().to_owned()),
            ("key_name", "caller".to_owned()),
        ];
        let url = format!("{}/linkKey", site.server.url());
        let linked = harness::Api::client().post(url).form(&form).send().unwrap();
        assert_eq!(linked.text().unwrap(), r#"{"status":"ok"}"#);
        let name = site.expose(DEVICE, true)["http_name"].clone();
        let web_port = site.expose(DEVICE, false)["public_port"].clone();
        Self {
            device,
            operator,
            caller,
            name: name.as_str().unwrap().to_owned(),
            web_port: u16::try_from(web_port.as_u64().unwrap()).unwrap(),
            site,
        }
    }

    fn gateway(&self, user: &str, key: &KeyPair) -> Ssh {
        Ssh::gateway(&self.site.server, user, self.site.folder()).key(key)
    }

    fn sshd_port(&self) -> u16 {
        let forwards = self.site.operator.device(DEVICE).forwards;
        forwards[0].public_port
    }

    /// Stock ssh to the device's own sshd.
    fn ssh(&self, way: EndToEnd) -> Ssh {
        let known_hosts = self.site.folder().join("device_known_hosts");
        let line = format!("{DEVICE} {}\n", self.device.sshd().host_key());
        std::fs::write(&known_hosts, line).unwrap();
        let proxy = match way {
            EndToEnd::PublicPort => None,
            EndToEnd::Jump => {
                let gateway = self.gateway(harness::ADMIN_USER, &self.operator);
                Some((gateway, "%h:%p".to_owned()))
            }
            EndToEnd::ForwardTunnel => {
                let gateway = self.gateway("open", &self.caller);
                Some((gateway, format!("localhost:{}", self.sshd_port())))
            }
        };
        let ssh = match &proxy {
            None => Ssh::new(
                self.site.server.host(),
                self.sshd_port(),
                &me(),
                &known_hosts,
            ),
            Some(_) => Ssh::new(DEVICE, 22, &me(), &known_hosts),
        };
        let ssh = ssh
            .key(&self.operator)
            .option(&format!("HostKeyAlias={DEVICE}"));
        match proxy {
            None => ssh,
            Some((gateway, target)) => {
                let command = format!("{} -W {target} {}", gateway.as_text(), gateway.target());
                ssh.option(&format!("ProxyCommand={command}"))
            }
        }
    }

    /// A session that lasts, known to have reached the device.
    fn lasting(&self, ssh: &Ssh, name: &str) -> Running {
        let marker = self.site.folder().join(name);
        let line = format!("touch {}; exec sleep 600", marker.display());
        let log = self.site.folder().join(format!("{name}.log"));
        let session = Running::start(name, &ssh.command(&[&line]), &log);
        eventually("the session is on the device", || marker.exists());
        session
    }

    /// The begin of what comes back for a request to `port`, and the connection; nothing when it is closed first.
    fn ask(&self, port: u16, request: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = request.replace("NAME", &format!("{}:{}", self.name, self.site.port));
        // A port that is closed at once may refuse even that.
        stream.write_all(request.as_bytes()).unwrap_or_default();
        let mut bytes = [0; 12];
        let answer = match stream.read_exact(&mut bytes) {
            Ok(()) => String::from_utf8(bytes.to_vec()).unwrap(),
            Err(_) => String::new(),
        };
        (answer, stream)
    }

    fn set_policy(&self, required: bool) {
        let path = format!("/v1/admin/devices/{DEVICE}");
        let body = json!({ "recording_required": required });
        let set = self.site.operator.send(Method::PATCH, &path, Some(&body));
        assert_eq!(set.status, 200, "{}", set.text);
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.site.operator.send(Method::GET, path, None);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    fn everything_is_open(&self) {
        for way in END_TO_END {
            let done = self.ssh(way).run("echo through");
            assert_eq!(done.stdout, "through\n", "{way:?}: {done:?}");
        }
        assert_eq!(self.by_gateway("echo through").ok(), "through\n");
        assert_eq!(self.site.status(&self.name, "/headers"), "200");
        assert_eq!(self.ask(self.site.port, SOCKET).0, "HTTP/1.1 101");
        assert_eq!(self.ask(self.web_port, PAGE).0, "HTTP/1.1 200");
    }

    fn only_recorded_sessions_pass(&self) {
        for way in END_TO_END {
            let done = self.ssh(way).run("echo through");
            assert_eq!(
                (done.code, done.stdout.as_str()),
                (255, ""),
                "{way:?}: {done:?}"
            );
        }
        let target = format!("localhost:{}", self.sshd_port());
        let caller = self.gateway("open", &self.caller);
        let refused = run(&mut caller.command(&["-v", "-W", &target]));
        let said = &refused.stderr;
        assert!(said.contains("administratively prohibited"), "{said}");
        let page = run(&mut self.site.curl(
            &self.name,
            &[
                "--write-out",
                "%{http_code}",
                &format!("http://{}:{}/headers", self.name, self.site.port),
            ],
        ));
        let page = page.ok();
        assert!(page.contains("recorded sessions only"), "{page}");
        assert!(page.ends_with("403"), "{page}");
        assert_eq!(self.ask(self.site.port, SOCKET).0, "HTTP/1.1 403");
        assert_eq!(self.ask(self.web_port, PAGE).0, "");

        assert_eq!(self.by_gateway("echo recorded").ok(), "recorded\n");
        let latest = self.get("/v1/admin/sessions-log?limit=1");
        assert_eq!(latest["sessions"][0]["recorded"], true, "{latest}");
    }

    fn by_gateway(&self, line: &str) -> Done {
        self.gateway(DEVICE, &self.operator).run(line)
    }
}

/// Whether the connection has been ended from the other side.
fn is_over(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => ![ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
    }
}

#[test]
fn a_demanded_recording_closes_every_way_around() {
    let place = Place::new();
    place.everything_is_open();
    let generation = place.site.operator.generation(DEVICE);
    let listed = place.get("/v1/admin/sessions")["total"].clone();

    let mut sessions: Vec<Running> = END_TO_END
        .iter()
        .map(|way| place.lasting(&place.ssh(*way), &format!("{way:?}")))
        .collect();
    let by_gateway = place.gateway(DEVICE, &place.operator);
    sessions.push(place.lasting(&by_gateway, "unrecorded"));
    let mut streams = [
        place.ask(place.site.port, SOCKET).1,
        place.ask(place.site.port, PAGE).1,
        place.ask(place.web_port, PAGE).1,
    ];

    // What is open ends, what is new is refused, and a recorded session gets through.
    place.set_policy(true);
    for session in &mut sessions {
        eventually("a session that is not recorded ends", || {
            session.ended().is_some()
        });
    }
    // The visitor's own connection to the node stays: it may be for another device next.
    for stream in [0, 2] {
        eventually("a visitor's connection ends", || {
            is_over(&mut streams[stream])
        });
    }
    let said = sessions[3].log();
    assert!(said.contains("recording is required"), "{said}");
    let cut = |session: &Value| session["ending"] == "recording is required now";
    eventually("the log says why", || {
        let noted = place.get("/v1/admin/sessions-log");
        let noted = noted["sessions"].as_array().unwrap().clone();
        let cut = noted.iter().filter(|session| cut(session));
        let mut ways: Vec<String> = cut.map(|session| session["way_in"].to_string()).collect();
        ways.sort();
        ways == ["\"gateway\"", "\"jump\""]
    });
    place.only_recorded_sessions_pass();
    for way in ["public port", "HTTP name", "forward tunnel"] {
        eventually("an event says what was refused", || {
            let events = place.get("/v1/admin/events?type=device.way.refused");
            let events = events["events"].as_array().unwrap().clone();
            events.iter().any(|event| event["metadata"]["way"] == way)
        });
    }

    // The device holds everything as before, so that it opens again with one word.
    assert_eq!(place.get("/v1/admin/sessions")["total"], listed);
    place.set_policy(false);
    place.everything_is_open();
    assert_eq!(place.site.operator.generation(DEVICE), generation);

    // The policy of the host that the device is demands the same, whoever comes.
    let user = json!({"username": "udo", "password": "a good password"});
    let user = place
        .site
        .operator
        .send(Method::POST, "/v1/admin/users", Some(&user));
    let device = place.site.operator.device(DEVICE).id;
    let host = json!({"user_id": user.json()["user"]["id"], "device_id": device});
    let host = place
        .site
        .operator
        .send(Method::POST, "/v1/admin/hosts", Some(&host));
    let path = format!(
        "/v1/admin/hosts/{}",
        host.json()["host"]["id"].as_str().unwrap()
    );
    let set = |required: bool| {
        let policy = json!({ "recording_required": required });
        let set = place
            .site
            .operator
            .send(Method::PATCH, &path, Some(&policy));
        assert_eq!(set.status, 200, "{}", set.text);
    };
    set(true);
    place.only_recorded_sessions_pass();
    set(false);
    place.everything_is_open();
}

#[test]
fn a_demanded_recording_closes_sessions_of_stock_clients_and_their_links() {
    let scene = Scene::new();
    let client = scene.client("linked");
    let _tunnel = scene.tunnel(&client);
    let link = client.session["open_port_for_ip_link"].as_str().unwrap();
    scene.operator.wait_online("linked", None);
    assert_eq!(scene.click_from([127, 0, 0, 2], link).status, 200);
    let visit = || scene.visit_from([127, 0, 0, 2], &client.session);
    eventually("the address that clicked is let in", || visit() == GREETING);
    let generation = scene.operator.generation("linked");
    let mut stays = lasting_visitor(port(&client.session));
    let set = |required: bool| {
        let policy = json!({ "recording_required": required });
        let path = "/v1/admin/devices/linked";
        let set = scene.operator.send(Method::PATCH, path, Some(&policy));
        assert_eq!(set.status, 200, "{}", set.text);
    };

    set(true);
    eventually("the visitor's connection ends", || is_over(&mut stays));
    assert_eq!(visit(), "");
    // A link still answers, and lets in nobody; so does a client that asks for its session.
    assert_eq!(scene.click_from([127, 0, 0, 3], link).status, 200);
    assert_eq!(scene.visit_from([127, 0, 0, 3], &client.session), "");
    assert_eq!(scene.restart(&client, "true"), client.session);

    set(false);
    assert_eq!(visit(), GREETING);
    assert_eq!(scene.operator.generation("linked"), generation);
}

/// A visitor from an address that clicked, who has been greeted.
fn lasting_visitor(port: u16) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await;
        stream.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    let mut stream = stream;
    let mut words = vec![0; GREETING.len()];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut words).unwrap();
    assert_eq!(words, GREETING.as_bytes());
    stream
}
