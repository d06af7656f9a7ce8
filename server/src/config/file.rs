//! The configuration file as it is typed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use moorline_protocol::Secret;
use serde::{Deserialize, Deserializer, de};

use super::proxies::Network;
use super::{ConfigError, PortRange};

/// Every key of the file. All are optional, unknown ones are refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Folder of everything the server keeps: database, keys, certificate.
    pub data_dir: Option<PathBuf>,
    /// Name of this node; devices may ask for it.
    pub region: Option<String>,
    /// Name or address under which devices and people reach this node.
    pub public_host: Option<String>,
    /// Public ports of forwards, `"10000-59999"`.
    #[serde(deserialize_with = "ports")]
    pub ports: Option<PortRange>,
    /// How long running requests and streams may take when the server stops, `"15s"`.
    #[serde(deserialize_with = "duration")]
    pub shutdown_grace: Option<Duration>,
    /// The HTTP API.
    pub http: HttpFile,
    /// HTTPS.
    pub tls: TlsFile,
    /// HTTP names of devices.
    pub names: NamesFile,
    /// The SSH gateway.
    pub ssh: SshFile,
    /// The database.
    pub database: DatabaseFile,
    /// Tokens of people.
    pub auth: AuthFile,
    /// Clients of the Openport protocol.
    pub openport: OpenportFile,
    /// Limits.
    pub limits: LimitsFile,
    /// The log.
    pub log: LogFile,
}

/// `[http]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpFile {
    /// Addresses, `["0.0.0.0:8080"]`.
    pub listen: Vec<SocketAddr>,
    /// Base URL of the API as devices see it, when something stands in front of the server.
    pub public_url: Option<String>,
    /// Connections held at once.
    pub connections: Option<usize>,
    /// Refuses `/v3` over plain HTTP; meant for production.
    pub require_https: bool,
    /// Base URL of the pages that explain the error codes of `/v3`; the server itself when absent.
    pub docs_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` counts, `["10.0.0.0/8"]`.
    pub trusted_proxies: Vec<Network>,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFile {
    /// Certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Private key, PEM.
    pub key: Option<PathBuf>,
    /// Makes a certificate and keeps it in the data folder.
    pub self_signed: bool,
    /// Addresses for HTTPS beside those for HTTP; empty: the HTTP addresses speak TLS.
    pub listen: Vec<SocketAddr>,
}

/// `[names]`: off unless there is an address or a domain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamesFile {
    /// Addresses for HTTP, `["0.0.0.0:80"]`.
    pub listen: Vec<SocketAddr>,
    /// Addresses for HTTPS, `["0.0.0.0:443"]`; they take SSH too.
    pub tls_listen: Vec<SocketAddr>,
    /// The names are `<label>.u.<domain>`; the default is the public host.
    pub domain: Option<String>,
    /// Certificate chain for `*.u.<domain>`, PEM; the default is the certificate of HTTPS.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// Connections held at once.
    pub connections: Option<usize>,
}

/// `[ssh]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SshFile {
    /// Addresses, `["0.0.0.0:2222"]`.
    pub listen: Vec<SocketAddr>,
    /// Port as seen from outside, when it is not the one listened on.
    pub public_port: Option<u16>,
    /// Host of the second address that Openport clients are told, when it is not the public one.
    pub fallback_host: Option<String>,
    /// Its port, 443 unless given.
    pub fallback_port: Option<u16>,
    /// Lets devices sign with `ssh-rsa`, which uses SHA-1; for clients that know nothing better.
    pub legacy_ssh_rsa: bool,
}

/// `[database]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseFile {
    /// `sqlite:///path/moorline.db?mode=rwc` or `postgres://…`; the default is SQLite in the data folder.
    pub url: Option<Secret<String>>,
}

/// `[auth]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthFile {
    /// Secret of the tokens, 32 characters or more; made at first start when absent. `ADMIN_JWT_SECRET` wins over it.
    pub jwt_secret: Option<Secret<String>>,
}

/// `[openport]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpenportFile {
    /// Serves keys that nobody has registered; yes unless given.
    pub allow_anonymous_keys: Option<bool>,
}

/// `[limits]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Calls a minute of an API key without a number of its own.
    pub default_rate_limit: Option<u32>,
}

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFile {
    /// `text` or `json`.
    pub format: Option<LogFormat>,
    /// As `RUST_LOG` takes it, `"info"`.
    pub filter: Option<String>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with file and line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|(line, message)| ConfigError::Parse {
            path: path.to_owned(),
            line,
            message,
        })
    }

    /// Reads `text`.
    ///
    /// # Errors
    /// Line, from 1, and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().get(..start).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            (line, error.message().replace('\n', ", "))
        })
    }
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PortRange>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        de::Error::custom(format!("`{text}` is not a duration such as 15s: {error}"))
    })
}
