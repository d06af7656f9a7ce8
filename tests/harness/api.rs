use std::sync::Once;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;

/// Longest answer; `connect` waits 10 s by itself. Generous: the machine may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// The provisioning calls with one API key.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    key: String,
    client: Client,
}

/// Status and body of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body as it came.
    pub text: String,
}

impl Api {
    /// Calls at `base` with `key`; an empty key is left out.
    #[must_use]
    pub fn new(base: &str, key: &str) -> Self {
        Self {
            base: base.to_owned(),
            key: key.to_owned(),
            client: Self::client(),
        }
    }

    /// An HTTP client with a time limit.
    #[must_use]
    pub fn client() -> Client {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Another part of the process may have installed it.
            rustls::crypto::ring::default_provider()
                .install_default()
                .ok();
        });
        Client::builder()
            .timeout(ANSWER_LIMIT)
            .no_proxy()
            .build()
            .unwrap()
    }

    /// A provisioning call as a plain `GET`.
    #[must_use]
    pub fn call(&self, name: &str, parameters: &[(&str, &str)]) -> Answer {
        self.try_call(name, parameters)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A provisioning call that may find no server.
    ///
    /// # Errors
    /// When no whole answer came.
    pub fn try_call(
        &self,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let mut all = parameters.to_vec();
        if !self.key.is_empty() && !parameters.iter().any(|(name, _)| *name == "api_key") {
            all.push(("api_key", &self.key));
        }
        let url = format!("{}/init/api/{name}", self.base);
        Answer::of(self.client.get(url).query(&all))
    }

    /// Makes a device; gives what the call answered.
    #[must_use]
    pub fn create(&self, parameters: &[(&str, &str)]) -> Value {
        let answer = self.call("create_new_client", parameters).json();
        assert_eq!(answer["error_code"], 0, "{answer}");
        answer
    }

    /// Every device that the key sees.
    #[must_use]
    pub fn devices(&self) -> Vec<Value> {
        match self.call("device_list", &[]).json() {
            Value::Array(devices) => devices,
            other => panic!("device_list answered {other}"),
        }
    }

    /// The device called `name`, if there is one.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<Value> {
        self.devices()
            .into_iter()
            .find(|device| device["host_name"] == name)
    }

    /// Whether the tunnel of the device called `name` is up.
    #[must_use]
    pub fn tunnel_open(&self, name: &str) -> bool {
        self.device(name)
            .is_some_and(|device| device["tunnel_open"] == true)
    }

    /// The client script of a device.
    #[must_use]
    pub fn script(&self, client_id: &str) -> String {
        let script = self.call("get_client_script", &[("client_id", client_id)]);
        assert!(script.text.starts_with('#'), "{}", script.text);
        script.text
    }
}

impl Answer {
    pub(crate) fn of(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let answer = request.send()?;
        Ok(Self {
            status: answer.status().as_u16(),
            text: answer.text()?,
        })
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| {
            panic!("answer {} is no JSON: {error}: {}", self.status, self.text)
        })
    }

    /// `error_code` and `message`.
    #[must_use]
    pub fn error(&self) -> (i64, String) {
        let json = self.json();
        (
            json["error_code"].as_i64().unwrap(),
            json["message"].as_str().unwrap().to_owned(),
        )
    }
}
