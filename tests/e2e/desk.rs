use std::path::Path;
use std::process::Command;

use harness::{
    Answer, Api, Browser, DeviceOptions, Https, Network, Operator, Running, SERVER_ADDRESS,
    SERVER_NAME, ServerOptions, TestDevice, TestServer, eventually,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the web server of a desktop listens, on every device.
const PORT: &str = "6080";
/// Of every user here.
const PASSWORD: &str = "a password of a user";

/// A server, and users' hosts on a machine of their own, whose desktop anything may be.
pub(crate) struct Desk {
    // Fields go in this order: programs and devices before the server, the network last.
    programs: Vec<Running>,
    devices: Vec<TestDevice>,
    pub(crate) operator: Operator,
    pub(crate) server: TestServer,
    folder: TempDir,
    network: Network,
}

/// A user, logged in.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let network = Network::make();
        let server = TestServer::start_with(ServerOptions {
            address: SERVER_ADDRESS.into(),
            public_host: SERVER_NAME.into(),
            https: Some(Https::self_signed()),
            ..ServerOptions::default()
        });
        Self {
            programs: Vec::new(),
            devices: Vec::new(),
            operator: Operator::login(&server),
            server,
            folder: TempDir::new().unwrap(),
            network,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a program on the devices' machine for as long as the story lasts.
    pub(crate) fn run(&mut self, name: &str, environment: &[(&str, &str)], words: &[&str]) {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.network.device_host()])
            .args(words)
            .env("HOME", self.folder())
            .envs(environment.iter().copied());
        let log = self.folder().join(format!("{name}.log"));
        let program = Running::start(name, &command, &log).with_children();
        self.programs.push(program);
    }

    /// What a program has said.
    pub(crate) fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder().join(format!("{name}.log"))).unwrap()
    }

    pub(crate) fn user(&self, name: &str) -> User {
        let body = json!({"username": name, "password": PASSWORD});
        let made = self.call(Method::POST, "/v1/admin/users", &body);
        let login = self.call(Method::POST, "/v1/auth/login", &body);
        User {
            id: made["user"]["id"].as_str().unwrap().to_owned(),
            token: login["token"].as_str().unwrap().to_owned(),
        }
    }

    /// A device as a host of `user`, which runs; gives the host's id.
    pub(crate) fn host(&mut self, name: &str, user: &User) -> String {
        let key = self.server.full_key(&format!("maker-of-{name}"));
        let options = DeviceOptions {
            name: Some(name.into()),
            namespace: Some(self.network.device_host().to_owned()),
            forward_port: Some(PORT.parse().unwrap()),
            api_url: Some(self.server.public_url()),
            ..DeviceOptions::default()
        };
        let mut device = TestDevice::new(&self.server, &key, options);
        device.launch();
        self.devices.push(device);
        self.operator.wait_online(name, None);
        let device = self.operator.device(name).id;
        let wish = json!({"user_id": user.id, "device_id": device});
        let made = self.call(Method::POST, "/v1/admin/hosts", &wish);
        let id = made["host"]["id"].as_str().unwrap().to_owned();
        eventually("the host runs", || self.status(&id) == "running");
        id
    }

    pub(crate) fn status(&self, host: &str) -> String {
        let sheet = self.call(
            Method::GET,
            &format!("/v1/admin/hosts/{host}"),
            &Value::Null,
        );
        sheet["host"]["status"].as_str().unwrap().to_owned()
    }

    pub(crate) fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.operator.send(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{path}: {}",
            answer.text
        );
        answer.json()
    }

    /// `GET` with these header fields.
    pub(crate) fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let url = format!("{}{path}", self.server.url());
        let mut request = Api::client().get(url);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = request.send().unwrap();
        Answer {
            status: answer.status().as_u16(),
            text: answer.text().unwrap(),
        }
    }

    /// A browser that finds every name below `test` here, and takes any certificate.
    pub(crate) fn browser() -> Browser {
        let names = format!("--host-resolver-rules=MAP *.test {SERVER_ADDRESS}");
        Browser::start(&[&names, "--ignore-certificate-errors"])
    }

    /// The server under a name that only a browser knows: in clear, and over TLS.
    pub(crate) fn origins(&self, name: &str) -> [String; 2] {
        let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
        [
            format!("http://{name}:{}", port(&self.server.url())),
            format!("https://{name}:{}", port(&self.server.https_url())),
        ]
    }
}
