//! Why an HTTP call got no answer, in words that tell a person what to look at.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;
use thiserror::Error;

/// The API was not reached.
#[derive(Debug, Error)]
pub enum Unreachable {
    /// The name has no address: DNS is down, or the name is wrong.
    #[error("look up the API's name: {0}")]
    Dns(String),
    /// No connection.
    #[error("connect to the API: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("the API did not answer in time")]
    Timeout,
    /// A proxy stands in between and did not let us through.
    #[error("reach the API through the proxy: {0}")]
    Proxy(String),
    /// The certificate is not trusted.
    #[error("trust the API's certificate: {0}")]
    Certificate(String),
    /// Another failure of TLS.
    #[error("set up TLS with the API: {0}")]
    Tls(String),
    /// Anything else on the way.
    #[error("talk to the API: {0}")]
    Other(String),
}

impl Unreachable {
    pub(super) fn from_reqwest(error: &reqwest::Error) -> Self {
        let causes = causes(error);
        if let Some(tls) = causes.iter().find_map(|cause| cause.downcast_ref()) {
            return match tls {
                rustls::Error::InvalidCertificate(why) => Self::Certificate(in_words(why)),
                rustls::Error::General(why) if why == super::judge::WRONG_PIN => {
                    Self::Certificate(why.clone())
                }
                rustls::Error::InvalidMessage(_) => Self::Tls(
                    "what answers does not speak TLS; a captive portal, or api_url is wrong".into(),
                ),
                other => Self::Tls(other.to_string()),
            };
        }
        let innermost = causes
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        if causes.iter().any(|cause| cause.to_string() == "dns error") {
            return Self::Dns(innermost);
        }
        // So begins each of hyper-util's errors of a CONNECT.
        let prefix = "tunnel error: ";
        if causes
            .iter()
            .any(|cause| cause.to_string().starts_with(prefix))
        {
            return Self::Proxy(match innermost.trim_start_matches(prefix) {
                "unsuccessful" => "it refuses, or it is no proxy".into(),
                other => other.to_owned(),
            });
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        if error.is_connect() {
            return Self::Connect(innermost);
        }
        Self::Other(innermost)
    }
}

/// What is wrong with a certificate.
fn in_words(why: &CertificateError) -> String {
    let words = match why {
        CertificateError::UnknownIssuer => "who issued it is not trusted here",
        // As after a server made itself a new authority of the same name.
        CertificateError::BadSignature => {
            "it is not signed by the key of the authority that is trusted here"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, or the clock is ahead"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, or the clock is behind"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name than that in api_url"
        }
        other => return other.to_string(),
    };
    words.to_owned()
}

/// The chain of causes; an [`io::Error`] hides the one it carries from `source`.
fn causes(error: &reqwest::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut causes: Vec<&(dyn StdError + 'static)> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause);
        next = match cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    causes
}
