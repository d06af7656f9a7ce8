//! A device with a stock SSH client and an HTTP client, as the Openport protocol expects one.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use harness::{Answer, Api, KeyPair, Operator, Running, ServerOptions, Ssh, TestServer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// What the service on the device says to whoever connects.
pub(crate) const GREETING: &str = "hello from the device\n";
/// How long a visitor waits for the greeting.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, an account with its administrator, and a service on a device.
pub(crate) struct Scene {
    pub(crate) server: TestServer,
    pub(crate) operator: Operator,
    pub(crate) folder: TempDir,
    pub(crate) service: u16,
}

/// A device key, its session and the ssh that holds its tunnel.
pub(crate) struct Client {
    pub(crate) key: KeyPair,
    pub(crate) session: Value,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(ServerOptions::default())
    }

    pub(crate) fn with(options: ServerOptions) -> Self {
        let server = TestServer::start_with(options);
        Self {
            operator: Operator::login(&server),
            server,
            folder: TempDir::new().unwrap(),
            service: service(),
        }
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}{path}", self.server.url());
        let answer = Api::client().post(url).form(form).send().unwrap();
        Answer {
            status: answer.status().as_u16(),
            text: answer.text().unwrap(),
        }
    }

    pub(crate) fn request_port(&self, form: &[(&str, &str)]) -> Value {
        let answer = self.post("/api/v1/request-port", form);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Registers the key to the account called `account`.
    pub(crate) fn link_key_to(&self, account: &str, key: &str, name: &str) {
        let line = ["account", "binding-token", "--account", account];
        let token = self.server.admin(&line).ok();
        let form = [
            ("public_key", key),
            ("key_binding_token", token.trim()),
            ("key_name", name),
        ];
        let answer = self.post("/linkKey", &form);
        assert_eq!(answer.text, r#"{"status":"ok"}"#);
    }

    pub(crate) fn link_key(&self, key: &str, name: &str) {
        self.link_key_to("main", key, name);
    }

    /// A registered device with a session for its service.
    pub(crate) fn client(&self, name: &str) -> Client {
        let key = KeyPair::make(&self.folder.path().join(name));
        self.link_key(&key.public(), name);
        self.operator.open_port(name);
        let session = self.session(&key.public(), &[]);
        Client { key, session }
    }

    pub(crate) fn session(&self, key: &str, more: &[(&str, &str)]) -> Value {
        let service = self.service.to_string();
        let form = [("public_key", key), ("local_port", service.as_str())];
        let session = self.request_port(&[&form, more].concat());
        assert!(session.get("error").is_none(), "{session}");
        session
    }

    /// Asks for the earlier session again.
    pub(crate) fn restart(&self, client: &Client, automatic: &str) -> Value {
        let (port, token) = (port(&client.session).to_string(), token(&client.session));
        self.request_port(&[
            ("public_key", &client.key.public()),
            ("local_port", &self.service.to_string()),
            ("request_port", &port),
            ("restart_session_token", &token),
            ("automatic_restart", automatic),
        ])
    }

    pub(crate) fn kill_session(&self, session: &Value) -> Answer {
        let (port, token) = (port(session).to_string(), token(session));
        self.post(
            "/api/v1/kill-session",
            &[("port", &port), ("session_token", &token)],
        )
    }

    /// Stock ssh to the gateway as `open`.
    pub(crate) fn open(&self, key: &KeyPair) -> Ssh {
        Ssh::gateway(&self.server, "open", self.folder.path())
            .key(key)
            .option("ExitOnForwardFailure=yes")
            .option("ServerAliveInterval=5")
    }

    /// `-R` argument that leads the public port of a session to the service.
    pub(crate) fn reverse(&self, session: &Value) -> String {
        format!("{}:127.0.0.1:{}", port(session), self.service)
    }

    /// Starts `ssh -N -R` for the session of `client`.
    pub(crate) fn tunnel(&self, client: &Client) -> Running {
        let reverse = self.reverse(&client.session);
        let command = self.open(&client.key).command(&["-N", "-R", &reverse]);
        Running::start("ssh -R", &command, &self.folder.path().join("tunnel.log"))
    }

    /// What a visitor from `source` reads on the public port of a session; empty when it is not let in.
    pub(crate) fn visit_from(&self, source: [u8; 4], session: &Value) -> String {
        read_greeting(IpAddr::from(source), port(session))
    }

    pub(crate) fn visit(&self, session: &Value) -> String {
        self.visit_from([127, 0, 0, 1], session)
    }

    /// Clicks a link from `source`; gives the page.
    pub(crate) fn click_from(&self, source: [u8; 4], link: &str) -> Answer {
        let client = reqwest::blocking::Client::builder()
            .local_address(IpAddr::from(source))
            .no_proxy()
            .build()
            .unwrap();
        let answer = client.get(link).send().unwrap();
        Answer {
            status: answer.status().as_u16(),
            text: answer.text().unwrap(),
        }
    }
}

pub(crate) fn port(session: &Value) -> u16 {
    u16::try_from(session["server_port"].as_u64().unwrap()).unwrap()
}

pub(crate) fn token(session: &Value) -> String {
    session["session_token"].as_str().unwrap().to_owned()
}

/// What a service behind `port` of loopback says first; empty when the connection is refused, or closed without a
/// byte.
pub(crate) fn read_greeting(source: IpAddr, port: u16) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let visit = async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let Ok(mut visitor) = socket.connect(server).await else {
            return String::new();
        };
        let mut words = vec![0; GREETING.len()];
        match visitor.read_exact(&mut words).await {
            Ok(_) => String::from_utf8(words).unwrap(),
            Err(_) => String::new(),
        }
    };
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, visit)
            .await
            .unwrap_or_default()
    })
}

/// A service that greets and then says back what it hears, as long as the test runs.
fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            std::thread::spawn(move || echo(visitor));
        }
    });
    port
}

fn echo(mut visitor: TcpStream) {
    if visitor.write_all(GREETING.as_bytes()).is_err() {
        return;
    }
    let mut heard = [0; 4096];
    while let Ok(count @ 1..) = visitor.read(&mut heard) {
        if visitor.write_all(&heard[..count]).is_err() {
            return;
        }
    }
}

/// An RSA key of that length, as OpenSSH makes it.
pub(crate) fn rsa(folder: &TempDir, bits: &str) -> KeyPair {
    let file = folder.path().join(format!("rsa{bits}"));
    harness::run(
        Command::new("ssh-keygen")
            .args([
                "-q", "-t", "rsa", "-b", bits, "-N", "", "-C", "old box", "-f",
            ])
            .arg(&file),
    )
    .ok();
    KeyPair::at(&file)
}
