//! [`Api`]: calls to the server, with every error in words an operator can act on.

mod account;
mod address;
mod machines;
mod tls;
mod wire;

pub(crate) use account::{
    BindingEnvelope, EgressIpEnvelope, EgressIpInfo, EgressIpList, EgressTest, EventInfo,
    EventList, NewPassword, NewUser, UserEnvelope, UserInfo, UserList,
};
pub(crate) use address::Address;
pub(crate) use machines::{HostInfo, HostList, NewHost, QueuedTask, TaskInfo, TaskList};
pub(crate) use wire::{KeyEnvelope, KeyInfo, KeyList, Login, LoginAnswer, MadeKey, NewKey};

use std::error::Error;
use std::time::Duration;

use moorline_protocol::Secret;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::profile::{ProfileName, Trust};

/// How long a TCP and TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one call may take in all: a page of devices over a slow line fits, and the test of an egress IP, for which
/// the server takes 30 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer read, in bytes: many times a full page of devices.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Longest part of a foreign error text that is shown, in characters.
const MAX_ERROR_TEXT: usize = 300;

/// The server of one profile.
pub(crate) struct Api {
    http: reqwest::Client,
    address: Address,
    token: Option<Secret<String>>,
    login_line: String,
}

/// One call: what it is for, in words, and where it goes.
struct Call<'a> {
    attempt: &'a str,
    method: Method,
    path: &'a [&'a str],
    query: &'a [(&'a str, String)],
    max_answer: usize,
}

/// The shape of errors on this surface.
#[derive(serde::Deserialize)]
struct ErrorBody {
    error: String,
}

impl Api {
    /// A client for the server at `address`, believed as `trust` says; `profile` is named in hints.
    pub(crate) fn new(
        address: Address,
        trust: &Trust,
        profile: &ProfileName,
    ) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(trust)?)
            .user_agent(concat!("moorline/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build()?,
            address,
            token: None,
            login_line: format!("moorline --profile {profile} login"),
        })
    }

    /// The same client, logged in.
    pub(crate) fn with_token(mut self, token: Secret<String>) -> Self {
        self.token = Some(token);
        self
    }

    /// GETs `path`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        attempt: &str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let call = Call {
            attempt,
            method: Method::GET,
            path,
            query,
            max_answer: MAX_ANSWER,
        };
        let answer = self.send(&call, None::<&()>).await?;
        self.parse(&call, &answer)
    }

    /// Sends `body` to `path` by `method`.
    pub(crate) async fn submit<T: DeserializeOwned>(
        &self,
        attempt: &str,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let call = Call {
            attempt,
            method,
            path,
            query: &[],
            max_answer: MAX_ANSWER,
        };
        let answer = self.send(&call, Some(body)).await?;
        self.parse(&call, &answer)
    }

    /// GETs `path` as it comes, at most `most` bytes.
    pub(crate) async fn download(
        &self,
        attempt: &str,
        path: &[&str],
        most: usize,
    ) -> anyhow::Result<Vec<u8>> {
        let call = Call {
            attempt,
            method: Method::GET,
            path,
            query: &[],
            max_answer: most,
        };
        Ok(self.send(&call, None::<&()>).await?)
    }

    /// DELETEs `path`.
    pub(crate) async fn delete(&self, attempt: &str, path: &[&str]) -> anyhow::Result<()> {
        self.delete_with(attempt, path, &[]).await
    }

    /// DELETEs `path` with a query.
    pub(crate) async fn delete_with(
        &self,
        attempt: &str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let call = Call {
            attempt,
            method: Method::DELETE,
            path,
            query,
            max_answer: MAX_ANSWER,
        };
        self.send(&call, None::<&()>).await?;
        Ok(())
    }

    /// Opens the page at `path`, whatever it says.
    pub(crate) async fn visit(&self, attempt: &str, path: &[&str]) -> anyhow::Result<()> {
        let call = Call {
            attempt,
            method: Method::GET,
            path,
            query: &[],
            max_answer: MAX_ANSWER,
        };
        self.send(&call, None::<&()>).await?;
        Ok(())
    }

    async fn send(
        &self,
        call: &Call<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<Vec<u8>, Failure> {
        let url = self.address.join(call.path).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("{}: no such name", call.attempt))
        })?;
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .query(call.query);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request
            .send()
            .await
            .map_err(|e| self.unreachable(call, e))?;
        let status = response.status();
        let location = header(&response, "location");
        let retry_after = header(&response, "retry-after");
        let mut answer = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|e| self.unreachable(call, e))?
        {
            if answer.len() + chunk.len() > call.max_answer {
                let most = call.max_answer;
                let message = format!("{}: the answer is over {most} bytes", call.attempt);
                return Err(Failure::new(Exit::Failed, message));
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(answer);
        }
        let text = error_text(status, &answer);
        let failure = refusal(call.attempt, status, &text, self.token.is_some());
        Err(match (status.as_u16(), location, retry_after) {
            (300..=399, Some(location), _) => {
                failure.hint(format!("the server is elsewhere, log in there: {location}"))
            }
            (401, ..) if self.token.is_some() => {
                failure.hint(format!("log in again with `{}`", self.login_line))
            }
            (429, _, Some(seconds)) => failure.hint(format!("try again in {seconds} s")),
            _ => failure,
        })
    }

    fn parse<T: DeserializeOwned>(&self, call: &Call<'_>, answer: &[u8]) -> anyhow::Result<T> {
        serde_json::from_slice(answer).map_err(|error| {
            let message = format!("{}: the answer is not Moorline's", call.attempt);
            Failure::new(Exit::Failed, message)
                .because(error)
                .hint(format!("is {} a Moorline server?", self.address))
                .into()
        })
    }

    fn unreachable(&self, call: &Call<'_>, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let certificate = tls::is_certificate_error(&error);
        let message = format!("{}: cannot reach {}", call.attempt, self.address);
        let failure = Failure::new(Exit::Unreachable, message).because(root_cause(&error));
        if certificate {
            failure.hint(
                "the server's certificate is not trusted: log in with --ca FILE or --pin sha256/…",
            )
        } else {
            failure.hint("is the URL right, and the server up?")
        }
    }
}

/// The innermost cause of `error`: those around it only say that a request failed.
fn root_cause(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(value.to_str().ok()?.to_owned())
}

/// What the server says is wrong, or what its status means where it says nothing readable.
fn error_text(status: StatusCode, answer: &[u8]) -> String {
    let text = serde_json::from_slice::<ErrorBody>(answer).map_or_else(
        |_| {
            let plain = std::str::from_utf8(answer).unwrap_or_default().trim();
            let is_short = !plain.is_empty() && !plain.starts_with('<') && !plain.contains('\n');
            let reason = status.canonical_reason().unwrap_or("no reason given");
            if is_short { plain } else { reason }.to_owned()
        },
        |body| body.error,
    );
    text.chars().take(MAX_ERROR_TEXT).collect()
}

/// The failure for an answer other than success.
fn refusal(attempt: &str, status: StatusCode, text: &str, logged_in: bool) -> Failure {
    let exit = match status.as_u16() {
        401 | 403 => Exit::Refused,
        404 => Exit::NotFound,
        502 | 504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, format!("{attempt}: {text}"));
    match status.as_u16() {
        403 if logged_in && text == "insufficient permissions" => {
            failure.hint("only an administrator may do this")
        }
        413 => failure.hint("send less at once"),
        500 => failure.hint("the cause is in the server's log"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_exit_codes() {
        for (status, exit) in [
            (StatusCode::UNAUTHORIZED, Exit::Refused),
            (StatusCode::FORBIDDEN, Exit::Refused),
            (StatusCode::NOT_FOUND, Exit::NotFound),
            (StatusCode::CONFLICT, Exit::Failed),
            (StatusCode::BAD_GATEWAY, Exit::Unreachable),
            (StatusCode::INTERNAL_SERVER_ERROR, Exit::Failed),
        ] {
            assert_eq!(refusal("try", status, "x", true).exit(), exit, "{status}");
        }
    }

    #[test]
    fn error_texts_are_short_and_never_a_web_page() {
        let status = StatusCode::NOT_FOUND;
        assert_eq!(
            error_text(status, br#"{"error":"device not found"}"#),
            "device not found"
        );
        assert_eq!(
            error_text(status, b"404 page not found\n"),
            "404 page not found"
        );
        assert_eq!(error_text(status, b"<html>oh</html>"), "Not Found");
        assert_eq!(error_text(status, b""), "Not Found");
        assert_eq!(error_text(status, &[b'a'; 5000]).len(), MAX_ERROR_TEXT);
    }
}
