//! Client of the provisioning calls (`contract/provisioning.md`).

use std::time::Duration;

use moorline_protocol::Secret;
use moorline_protocol::provisioning::{Answer, Code, NewClient};
use moorline_protocol::script::MAX_SCRIPT_BYTES;
use reqwest::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::clock::{ClockFloor, UnixSeconds, parse_http_date};
use crate::config::{Config, Trust, Wishes};
use crate::fault;
use crate::provision::Quadruple;

mod judge;
mod reach;

pub use reach::Unreachable;

/// Time to set up a connection, name look-up and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait that the API may ask for after too many calls.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Wait after too many calls when the API names none.
const USUAL_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a call was not done.
#[derive(Debug, Error)]
pub enum ApiError {
    /// There is no API to ask.
    #[error("no api_url is configured")]
    NoUrl,
    /// The API was not reached; it will heal.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// Something answered, but not Moorline: a captive portal, a proxy, another web server.
    #[error("the answer is not from Moorline: {0}")]
    NotMoorline(String),
    /// The API said no.
    #[error("refused by the API: {message} (code {code})")]
    Refused {
        /// See [`Code`].
        code: u16,
        /// The text for a person.
        message: String,
    },
    /// The API cannot do it now; it will heal.
    #[error("the API cannot do it now: {message} (code {code})")]
    Busy {
        /// See [`Code`].
        code: u16,
        /// The text for a person.
        message: String,
    },
    /// A limit was passed.
    #[error("too many API calls, come back in {} s", .0.as_secs())]
    TooMany(Duration),
    /// The client cannot be set up, for example because of a bad CA file.
    #[error("set up HTTPS: {0}")]
    Setup(String),
}

/// What a call shows to prove who asks.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An API key.
    ApiKey(Secret<String>),
    /// The four constants of the device's own script.
    Quadruple(Quadruple),
}

/// What the device tells about itself when it enrols.
#[derive(Clone, Debug)]
pub struct Introduction<'a> {
    /// Public key, `type base64`.
    pub public_key: &'a str,
    /// Host name of the device.
    pub hostname: &'a str,
    /// Short inventory, a JSON object.
    pub hardware: Map<String, Value>,
}

/// The client; cheap to make, so none is kept between calls.
pub struct ApiClient {
    http: reqwest::Client,
    base: Url,
    seen: std::sync::Mutex<Option<UnixSeconds>>,
}

impl ApiClient {
    /// A client for the API at `base`.
    ///
    /// # Errors
    /// [`ApiError::Setup`].
    pub fn new(base: Url, config: &Config, floor: ClockFloor) -> Result<Self, ApiError> {
        let http = http_client(&config.trust, config.api_timeout(), floor)?;
        Ok(Self {
            http,
            base,
            seen: std::sync::Mutex::new(None),
        })
    }

    /// The time that the last answer told, if TLS vouches for it.
    pub fn trusted_time(&self) -> Option<UnixSeconds> {
        *self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// `create_new_client`, idempotent on the public key.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create_new_client(
        &self,
        api_key: &Secret<String>,
        wishes: &Wishes,
        introduction: Introduction<'_>,
    ) -> Result<NewClient, ApiError> {
        let mut body = wishes_body(wishes);
        insert(&mut body, "api_key", Some(api_key.expose()));
        insert(&mut body, "public_key", Some(introduction.public_key));
        insert(&mut body, "hostname", Some(introduction.hostname));
        body.insert("hardware".into(), Value::Object(introduction.hardware));
        let answer = self.call("create_new_client", body).await?;
        let answer = judge_object(&answer)?;
        answer.created.ok_or_else(|| {
            ApiError::NotMoorline("create_new_client answered without a client_id".into())
        })
    }

    /// The client script: `get_client_script`, or `upgrade_client_script` with the quadruple.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn client_script(
        &self,
        credential: &Credential,
        client_id: &str,
    ) -> Result<String, ApiError> {
        let call = match credential {
            Credential::ApiKey(_) => "get_client_script",
            Credential::Quadruple(_) => "upgrade_client_script",
        };
        let body = credential_body(credential, client_id);
        let text = self.call(call, body).await?;
        // The first byte of a script is `#`, that of an error is `{`.
        if text.starts_with('#') {
            return Ok(text);
        }
        judge_object(&text)?;
        Err(ApiError::NotMoorline(format!("{call} answered no script")))
    }

    /// `delete_client`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete_client(
        &self,
        api_key: &Secret<String>,
        client_id: &str,
    ) -> Result<(), ApiError> {
        let credential = Credential::ApiKey(api_key.clone());
        let answer = self
            .call("delete_client", credential_body(&credential, client_id))
            .await?;
        judge_object(&answer).map(|_| ())
    }

    /// A call that needs no scope and changes nothing: proves that the API is there. Any credential error counts
    /// as there.
    ///
    /// # Errors
    /// [`ApiError`], but never [`ApiError::Refused`].
    pub async fn probe(&self) -> Result<(), ApiError> {
        let text = self.call("client_status", Map::new()).await?;
        match judge_object(&text) {
            Err(ApiError::Refused { .. }) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    async fn call(&self, call: &str, body: Map<String, Value>) -> Result<String, ApiError> {
        let url = call_url(&self.base, call);
        fault::point("before API call");
        let response = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(Value::Object(body).to_string())
            .send()
            .await
            .map_err(|error| Unreachable::from_reqwest(&error))?;
        self.note_date(&response);
        let text = read_body(response).await?;
        fault::point("after API call");
        Ok(text)
    }

    fn note_date(&self, response: &Response) {
        if self.base.scheme() != "https" {
            return;
        }
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *seen = date.and_then(parse_http_date).or(*seen);
    }
}

fn http_client(
    trust: &Trust,
    timeout: Duration,
    floor: ClockFloor,
) -> Result<reqwest::Client, ApiError> {
    let tls = judge::client_config(trust, floor)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("moorline-agent/", env!("CARGO_PKG_VERSION")))
        // A redirect is what a captive portal answers; the key must not follow it.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .pool_max_idle_per_host(1)
        .build()
        .map_err(|error| ApiError::Setup(error.to_string()))
}

/// `<base>/init/api/<call>`.
fn call_url(base: &Url, call: &str) -> Url {
    let mut url = base.clone();
    let path = format!("{}/init/api/{call}", base.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn insert(body: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), Value::String(value.to_owned()));
    }
}

fn wishes_body(wishes: &Wishes) -> Map<String, Value> {
    let mut body = Map::new();
    insert(&mut body, "region", wishes.region.as_deref());
    insert(&mut body, "type", wishes.name_type.as_deref());
    insert(&mut body, "prefix", wishes.prefix.as_deref());
    insert(&mut body, "name", wishes.name.as_deref());
    insert(&mut body, "username", wishes.username.as_deref());
    let fwport = wishes.fwport.map(|port| port.to_string());
    insert(&mut body, "fwport", fwport.as_deref());
    body
}

fn credential_body(credential: &Credential, client_id: &str) -> Map<String, Value> {
    let mut body = Map::new();
    match credential {
        Credential::ApiKey(key) => {
            insert(&mut body, "api_key", Some(key.expose()));
            insert(&mut body, "client_id", Some(client_id));
        }
        Credential::Quadruple(four) => {
            insert(&mut body, "dbid", Some(four.dbid.expose()));
            insert(&mut body, "host_uuid", Some(&four.host_uuid));
            insert(&mut body, "ports_id", Some(&four.ports_id));
            insert(&mut body, "user_id", Some(&four.user_id));
        }
    }
    body
}

/// The body as text, after the HTTP status was judged.
async fn read_body(mut response: Response) -> Result<String, ApiError> {
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get(LOCATION);
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        return Err(ApiError::NotMoorline(format!(
            "it sends us to {to}; a captive portal, or api_url should name that address"
        )));
    }
    if status.as_u16() == 429 {
        let after = response.headers().get(RETRY_AFTER);
        let after = after
            .and_then(|after| after.to_str().ok()?.parse().ok())
            .map_or(USUAL_RETRY_AFTER, Duration::from_secs);
        return Err(ApiError::TooMany(after.min(LONGEST_RETRY_AFTER)));
    }
    if status.is_server_error() {
        return Err(ApiError::Busy {
            code: status.as_u16(),
            message: format!("HTTP status {status}"),
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Unreachable::from_reqwest(&error))?
    {
        if body.len() + chunk.len() > MAX_SCRIPT_BYTES {
            return Err(ApiError::NotMoorline("the answer is too long".into()));
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(body)
        .map_err(|_| ApiError::NotMoorline("the answer is not text".into()))?;
    if text.trim_start().starts_with('<') {
        return Err(ApiError::NotMoorline(
            "it is a web page; a captive portal wants a login, or api_url is wrong".into(),
        ));
    }
    if !status.is_success() {
        return Err(ApiError::NotMoorline(format!("HTTP status {status}")));
    }
    Ok(text)
}

/// Reads the object that every call answers and judges it by its JSON, not by the HTTP status.
fn judge_object(text: &str) -> Result<Answer, ApiError> {
    let answer: Answer = serde_json::from_str(text)
        .map_err(|_| ApiError::NotMoorline("it is not the JSON of an answer".into()))?;
    if answer.success {
        return Ok(answer);
    }
    let (code, message) = (answer.error_code, answer.message);
    let heals = [Code::NoForwardingServer, Code::Internal, Code::NotConnected];
    if heals.iter().any(|heals| heals.number() == code) {
        return Err(ApiError::Busy { code, message });
    }
    if code == Code::TooManyCalls.number() {
        return Err(ApiError::TooMany(USUAL_RETRY_AFTER));
    }
    Err(ApiError::Refused { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_hang_below_the_base() {
        for (base, url) in [
            ("https://m.example", "https://m.example/init/api/x"),
            ("https://m.example/", "https://m.example/init/api/x"),
            (
                "http://m.example:8080/a/b/",
                "http://m.example:8080/a/b/init/api/x",
            ),
        ] {
            assert_eq!(call_url(&Url::parse(base).unwrap(), "x").as_str(), url);
        }
    }

    #[test]
    fn an_answer_is_judged_by_its_json() {
        let object = |code: u16, success: bool| {
            format!(r#"{{"message":"m","error_code":{code},"success":{success}}}"#)
        };
        assert!(judge_object(&object(0, true)).is_ok());
        assert!(judge_object(&object(24, true)).is_ok());
        assert!(matches!(
            judge_object(&object(32, false)),
            Err(ApiError::Refused { code: 32, .. })
        ));
        assert!(matches!(
            judge_object(&object(40, false)),
            Err(ApiError::Busy { code: 40, .. })
        ));
        assert!(matches!(
            judge_object(&object(22, false)),
            Err(ApiError::TooMany(_))
        ));
        assert!(matches!(judge_object("[]"), Err(ApiError::NotMoorline(_))));
    }
}
