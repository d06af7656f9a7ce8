//! Configuration: what was typed ([`file::ConfigFile`], command line) and what it means ([`Config`], complete and
//! checked). Every key has a default; `moorline-server serve` with nothing at all is a working server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use moorline_protocol::Secret;
use thiserror::Error;

mod checks;
pub mod file;
pub mod proxies;

use checks::{
    base_url, check_host, check_region, default_rate_limit, fallback_host, jwt_secret, names, tls,
};
use file::{ConfigFile, LogFormat};
use proxies::TrustedProxies;
/// Public ports of forwards unless configured.
const DEFAULT_PORTS: (u16, u16) = (10_000, 59_999);
/// HTTP connections held at once; each costs a file descriptor and some 20 KiB.
const DEFAULT_HTTP_CONNECTIONS: usize = 10_000;
/// How long running requests may take when the server stops.
const DEFAULT_GRACE: Duration = Duration::from_secs(15);
const HTTP_PORT: u16 = 8080;
const SSH_PORT: u16 = 2222;
/// Port of the second address of the gateway that Openport clients are told (openport contract section 5).
const FALLBACK_PORT: u16 = 443;

/// Why the server cannot be configured so.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}:{line}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value cannot be used.
    #[error("{key}: {reason}")]
    Invalid {
        /// The key as it stands in the file.
        key: &'static str,
        /// Why.
        reason: String,
    },
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--http`.
    pub http: Option<SocketAddr>,
    /// `--ssh`, any number of times.
    pub ssh: Vec<SocketAddr>,
    /// `--public-host`.
    pub public_host: Option<String>,
    /// `--ports`.
    pub ports: Option<PortRange>,
    /// `--tls-self-signed`.
    pub tls_self_signed: bool,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `ADMIN_JWT_SECRET`, which no argument gives.
    pub jwt_secret: Option<Secret<String>>,
}

/// First and last of the public ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange(pub u16, pub u16);

impl std::str::FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ends = text
            .split_once('-')
            .and_then(|(from, to)| Some((from.trim().parse().ok()?, to.trim().parse().ok()?)));
        match ends {
            Some((from, to)) if from >= 1 && from <= to => Ok(Self(from, to)),
            _ => Err(format!(
                "`{text}` is not a range of ports such as 10000-59999"
            )),
        }
    }
}

/// Where the HTTPS certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSource {
    /// Files in PEM form.
    Files {
        /// Certificate chain.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// Made by the server and kept in its data folder.
    SelfSigned,
}

/// HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate.
    pub source: TlsSource,
    /// Addresses of their own; empty means that the HTTP addresses speak TLS instead.
    pub listen: Vec<SocketAddr>,
}

/// HTTP names of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Addresses for HTTP.
    pub listen: Vec<SocketAddr>,
    /// Addresses for HTTPS and SSH.
    pub tls_listen: Vec<SocketAddr>,
    /// The names are `<label>.u.<domain>`; lower case.
    pub domain: String,
    /// Certificate chain and private key for them, if not those of HTTPS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Connections held at once.
    pub connections: usize,
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of everything the server keeps.
    pub data_dir: PathBuf,
    /// Name of this node.
    pub region: String,
    /// Name or address under which devices and people reach this node.
    pub public_host: String,
    /// Public ports of forwards, both ends included.
    pub ports: (u16, u16),
    /// HTTP addresses.
    pub http: Vec<SocketAddr>,
    /// Base URL of the API, if it is not made from the public host and the first HTTP address.
    pub public_url: Option<String>,
    /// HTTPS, if any.
    pub tls: Option<Tls>,
    /// HTTP connections held at once.
    pub http_connections: usize,
    /// Whether `/v3` refuses plain HTTP.
    pub require_https: bool,
    /// Base URL of the pages that explain error codes, if it is not the server's own.
    pub docs_url: Option<String>,
    /// HTTP names of devices, if any.
    pub names: Option<Names>,
    /// SSH addresses.
    pub ssh: Vec<SocketAddr>,
    /// SSH port as seen from outside, if it is not the one bound.
    pub ssh_public_port: Option<u16>,
    /// Host of the second SSH address that Openport clients are told, if it is not the public one.
    pub ssh_fallback_host: Option<String>,
    /// Its port.
    pub ssh_fallback_port: u16,
    /// Whether devices may sign with `ssh-rsa`, which uses SHA-1.
    pub legacy_ssh_rsa: bool,
    /// Whether keys that nobody registered are served (openport contract section 4).
    pub allow_anonymous_keys: bool,
    /// Proxies in front of the HTTP addresses.
    pub trusted_proxies: TrustedProxies,
    /// Address of the database.
    pub database_url: Secret<String>,
    /// Secret of the tokens; `None` is made at first start and kept in the data folder.
    pub jwt_secret: Option<Secret<String>>,
    /// Calls a minute of an API key without a number of its own.
    pub default_rate_limit: u32,
    /// How long running requests and streams may take when the server stops.
    pub shutdown_grace: Duration,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Filter of the log, as `RUST_LOG` takes it.
    pub log_filter: String,
}

impl Config {
    /// Puts file, command line and defaults together.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        Self::combine(file, overrides)
    }

    /// Completes and checks `file`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn combine(file: ConfigFile, overrides: Overrides) -> Result<Self, ConfigError> {
        let data_dir = overrides
            .data_dir
            .or(file.data_dir)
            .unwrap_or_else(default_data_dir);
        let http = match overrides.http {
            Some(address) => vec![address],
            None => or_any(file.http.listen, HTTP_PORT),
        };
        let ssh = match overrides.ssh.is_empty() {
            false => overrides.ssh,
            true => or_any(file.ssh.listen, SSH_PORT),
        };
        let public_host = overrides
            .public_host
            .or(file.public_host)
            .unwrap_or_else(|| guess_public_host(&ssh));
        check_host("public_host", &public_host)?;
        let region = file.region.unwrap_or_else(|| "local".to_owned());
        check_region(&region)?;
        let ports = overrides.ports.or(file.ports);
        let tls = tls(file.tls, overrides.tls_self_signed)?;
        let names = names(file.names, &public_host, tls.is_some())?;
        let database_url = file
            .database
            .url
            .unwrap_or_else(|| Secret::new(sqlite_url(&data_dir)));
        Ok(Self {
            region,
            public_host,
            ports: ports.map_or(DEFAULT_PORTS, |PortRange(from, to)| (from, to)),
            http,
            public_url: base_url("http.public_url", file.http.public_url)?,
            docs_url: base_url("http.docs_url", file.http.docs_url)?,
            require_https: file.http.require_https,
            tls,
            names,
            http_connections: file
                .http
                .connections
                .unwrap_or(DEFAULT_HTTP_CONNECTIONS)
                .max(1),
            ssh,
            ssh_public_port: file.ssh.public_port,
            ssh_fallback_host: fallback_host(file.ssh.fallback_host)?,
            ssh_fallback_port: file.ssh.fallback_port.unwrap_or(FALLBACK_PORT),
            legacy_ssh_rsa: file.ssh.legacy_ssh_rsa,
            allow_anonymous_keys: file.openport.allow_anonymous_keys.unwrap_or(true),
            trusted_proxies: TrustedProxies(file.http.trusted_proxies),
            database_url,
            jwt_secret: jwt_secret(file.auth.jwt_secret, overrides.jwt_secret)?,
            default_rate_limit: default_rate_limit(file.limits.default_rate_limit)?,
            shutdown_grace: file.shutdown_grace.unwrap_or(DEFAULT_GRACE),
            log_format: overrides.log_format.or(file.log.format).unwrap_or_default(),
            log_filter: file.log.filter.unwrap_or_else(|| "info".to_owned()),
            data_dir,
        })
    }

    /// The file of the master key.
    #[must_use]
    pub fn master_key(&self) -> PathBuf {
        self.data_file("master.key")
    }

    /// A file in the data folder.
    #[must_use]
    pub fn data_file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }
}

/// The database in a data folder when none is configured.
#[must_use]
pub fn sqlite_url(data_dir: &Path) -> String {
    let path = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    format!("sqlite://{}?mode=rwc", path.join("moorline.db").display())
}

/// `./moorline-data`, or for root the folder of a system service.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::Uid::effective().is_root() {
        PathBuf::from("/var/lib/moorline-server")
    } else {
        PathBuf::from("moorline-data")
    }
}

fn or_any(listen: Vec<SocketAddr>, port: u16) -> Vec<SocketAddr> {
    if listen.is_empty() {
        vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]
    } else {
        listen
    }
}

/// The address that is listened on; for "any", the one this machine uses towards others.
fn guess_public_host(listen: &[SocketAddr]) -> String {
    let one = listen
        .iter()
        .map(SocketAddr::ip)
        .find(|ip| !ip.is_unspecified());
    one.or_else(outward_address)
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .to_string()
}

/// Connecting a UDP socket sends nothing; it only picks a route (the address is one for documentation).
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests;
