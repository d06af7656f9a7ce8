use moorline_protocol::operator::{DeviceEnvelope, DeviceInfo};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::server::{ADMIN_PASSWORD, ADMIN_USER, TestServer};
use crate::ssh::KeyPair;
use crate::wait::eventually;

/// Of connections a minute.
const NO_LIMIT: u32 = 0;

/// The administrator, logged in.
#[derive(Clone, Debug)]
pub struct Operator {
    base: String,
    token: String,
    client: Client,
}

impl Operator {
    /// Logs in.
    #[must_use]
    pub fn login(server: &TestServer) -> Self {
        let mut operator = Self {
            base: server.url(),
            token: String::new(),
            client: Api::client(),
        };
        let body = json!({"username": ADMIN_USER, "password": ADMIN_PASSWORD});
        let answer = operator.send(Method::POST, "/v1/auth/login", Some(&body));
        assert_eq!(answer.status, 200, "{}", answer.text);
        operator.token = answer.json()["token"].as_str().unwrap().to_owned();
        operator
    }

    /// What it is logged in with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A call of the control surface.
    pub fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Lets the owner of `key` log in as the administrator.
    pub fn add_key(&self, key: &KeyPair) {
        let body = json!({"public_key": key.public()});
        let answer = self.send(Method::POST, "/v1/user/ssh-keys", Some(&body));
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// The device called `name`.
    #[must_use]
    pub fn device(&self, name: &str) -> DeviceInfo {
        self.try_device(name)
            .unwrap_or_else(|| panic!("there is no device {name}"))
    }

    /// The device called `name`, if there is one.
    #[must_use]
    pub fn try_device(&self, name: &str) -> Option<DeviceInfo> {
        let answer = self.send(Method::GET, &format!("/v1/admin/devices/{name}"), None);
        if answer.status == 404 {
            return None;
        }
        let envelope: DeviceEnvelope = serde_json::from_str(&answer.text)
            .unwrap_or_else(|error| panic!("device {name}: {error}: {}", answer.text));
        Some(envelope.device)
    }

    /// Sets the state of a device: `active`, `blocked` or `inactive`.
    pub fn set_state(&self, name: &str, state: &str) {
        let path = format!("/v1/admin/devices/{name}");
        let answer = self.send(Method::PATCH, &path, Some(&json!({"state": state})));
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Lets a visitor connect to the public ports of a device as often as it likes; every test comes from one address.
    pub fn open_port(&self, name: &str) {
        let path = format!("/v1/admin/devices/{name}");
        let answer = self.send(
            Method::PATCH,
            &path,
            Some(&json!({"max_connections_per_minute": NO_LIMIT})),
        );
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Which tunnel of the device is up: they count upwards.
    #[must_use]
    pub fn generation(&self, name: &str) -> Option<u64> {
        self.device(name).tunnel.map(|tunnel| tunnel.generation)
    }

    /// Waits until the device has a tunnel that answers, another one than `before` if given; tells which.
    pub fn wait_online(&self, name: &str, before: Option<u64>) -> u64 {
        let mut found = 0;
        eventually(&format!("{name} is online"), || {
            let Some(device) = self.try_device(name) else {
                return false;
            };
            found = device.tunnel.map_or(0, |tunnel| tunnel.generation);
            device.online && found > 0 && Some(found) != before
        });
        found
    }

    /// Waits until the device has no tunnel.
    pub fn wait_offline(&self, name: &str) {
        eventually(&format!("{name} is offline"), || {
            let device = self.device(name);
            !device.online && device.tunnel.is_none()
        });
    }
}
