//! `moorline-server serve`: puts the parts together, runs them, ends them in order.
//!
//! | module | holds |
//! |---|---|
//! | [`first_start`] | the first administrator, the first API keys |
//! | [`listeners`] | who listens where, with which certificate |
//! | [`announce`] | what is printed, `listening.json` |
//! | [`supervise`] | signals, systemd |

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nix::fcntl::Flock;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::{Api, Clients, Identity, Parts, Tokens};
use crate::backup::names::stamp;
use crate::config::{Config, ConfigError};
use crate::expiry::Expiry;
use crate::forward::PublicPorts;
use crate::forward::http::{NameParts, Names};
use crate::gateway::{Gateway, GatewayConfig, GatewayError};
use crate::hosts::{Hosts, Place};
use crate::http::{Http, Listener};
use crate::lapse;
use crate::live_sessions::LiveSessions;
use crate::login_limits::LoginLimits;
use crate::master_key::files::KeyFiles;
use crate::master_key::{Candidates, KeyFile, MasterKeyError};
use crate::passwords::{PasswordError, Passwords};
use crate::presence;
use crate::recording::Recordings;
use crate::registry::Registry;
use crate::registry::error::{ApiClientError, RegistryError, UserError};
use crate::registry::model::{Node, NodeStatus, Timestamp};
use crate::retention;
use crate::tls::{Https, TlsError};
use crate::tunnels::Tunnels;
use crate::websocket::{WebSocketParts, WebSockets};

mod announce;
mod first_start;
mod listeners;
mod supervise;

/// Silence after which a stock client, over SSH or WebSocket, is asked for a sign of life.
const SSH_KEEPALIVE: Duration = Duration::from_secs(15);
/// How long the parts have beyond the grace of their own to end.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A file or folder cannot be used.
    #[error("use {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another server works on the data folder.
    #[error("{0} is in use by another moorline-server")]
    DataDirInUse(PathBuf),
    /// An address cannot be listened on.
    #[error("listen for HTTP on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// `ADMIN_PASSWORD` cannot be used.
    #[error("ADMIN_PASSWORD must have 8 to 128 characters")]
    AdminPassword,
    /// `ADMIN_USERNAME` cannot be used.
    #[error("ADMIN_USERNAME must have 3 to 50 characters")]
    AdminUsername,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The database.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The first administrator.
    #[error("make the first administrator: {0}")]
    Admin(#[from] UserError),
    /// The first API key.
    #[error("make the first API key: {0}")]
    ApiKey(#[from] ApiClientError),
    /// Passwords.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Signals.
    #[error("watch for signals: {0}")]
    Signals(std::io::Error),
    /// A part that should run for ever ended.
    #[error("a part of the server ended by itself")]
    PartEnded,
}

/// Everything that is bound and loaded, ready to run.
struct Assembled {
    registry: Registry,
    tunnels: Tunnels,
    ports: PublicPorts,
    gateway: Gateway,
    hosts: Hosts,
    live: LiveSessions,
    recordings: Recordings,
    http: Http,
    listeners: Vec<Listener>,
    names: Option<ServedNames>,
    sockets: WebSockets,
}

/// The HTTP names with their own listeners.
struct ServedNames {
    names: Names,
    http: Http,
    plain: Vec<Listener>,
    secure: Vec<Listener>,
}

/// Runs the server until `stop` is cancelled or a signal comes.
///
/// # Errors
/// [`ServeError`] when it cannot start, or when a part of it ended by itself.
pub async fn serve(config: Config, stop: CancellationToken) -> Result<(), ServeError> {
    make_data_dir(&config)?;
    let _lock = lock_data_dir(&config.data_dir)?;
    // Public ports end after the tunnels that feed them, so that what is under way gets through.
    let ports_stop = CancellationToken::new();
    let assembled = assemble(&config, ports_stop.clone()).await?;
    let listening = announce::listening(&config, &assembled)?;
    supervise::ready();
    let done = run(assembled, &config, stop, ports_stop).await;
    listening.remove();
    done
}

/// Opens the registry. A PostgreSQL that starts beside this server, as after a power cut, is given about 20 s.
async fn open_registry(url: &str, keys: &Candidates) -> Result<Registry, RegistryError> {
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(8)
        .with_jitter();
    let may_heal = |error: &RegistryError| {
        !url.starts_with("sqlite:") && matches!(error, RegistryError::Database { .. })
    };
    (|| Registry::open(url, keys.clone()))
        .retry(patience)
        .when(may_heal)
        .notify(|error, pause| warn!(%error, ?pause, "database does not answer yet"))
        .await
}

/// Opens the registry, and ends a rotation of the master key that was cut off (control contract section 16).
async fn registry(config: &Config) -> Result<Registry, ServeError> {
    let files = KeyFiles::read_or_create(&config.master_key())?;
    let registry = open_registry(config.database_url.expose(), files.candidates()).await?;
    if registry.key_file() == KeyFile::Pending {
        let kept = files.promote(&stamp(Timestamp::now()))?;
        tracing::info!(former_key = %kept.display(), "a rotation of the master key was cut off, it is done now");
    }
    Ok(registry)
}

async fn assemble(config: &Config, ports_stop: CancellationToken) -> Result<Assembled, ServeError> {
    let registry = registry(config).await?;
    let passwords = Passwords::new().await?;
    let tunnels = Tunnels::default();
    let ports = PublicPorts::new(
        port_addresses(config),
        tunnels.clone(),
        registry.clone(),
        ports_stop.clone(),
    );
    let logins = LoginLimits::new(registry.clone());
    let live = LiveSessions::default();
    let recordings = Recordings::new(config.data_file("recordings"));
    registry.close_sessions(&config.region).await?;
    let gateway = Gateway::bind(
        GatewayConfig {
            listen: listeners::of_gateway(config),
            host_key_path: config.data_file("ssh_host_ed25519_key"),
            gateway_key_path: config.data_file("gateway_ed25519_key"),
            node: config.region.clone(),
            keepalive_interval: SSH_KEEPALIVE,
            legacy_ssh_rsa: config.legacy_ssh_rsa,
            allow_anonymous_keys: config.allow_anonymous_keys,
            recordings: recordings.clone(),
        },
        registry.clone(),
        passwords.clone(),
        logins.clone(),
        live.clone(),
        tunnels.clone(),
        ports.clone(),
    )?;
    let https = listeners::https(config)?;
    let listeners = listeners::of_api(config, https.as_ref(), &gateway.entry())?;
    let identity = identity(config, &gateway, &listeners, https.as_ref())?;
    registry.put_node(node(config, &identity)).await?;
    let welcome = first_start::prepare(config, &registry, &passwords).await?;
    announce::welcome(&identity, config, welcome);
    let hosts = Hosts::new(
        registry.clone(),
        tunnels.clone(),
        passwords.clone(),
        live.clone(),
        place(config, &identity),
    );
    let api = Api::new(Parts {
        registry: registry.clone(),
        tunnels: tunnels.clone(),
        ports: ports.clone(),
        passwords,
        logins,
        tokens: tokens(config)?,
        hosts: hosts.clone(),
        recordings: recordings.clone(),
        identity,
        clients: clients(config),
        metrics: recorder(),
    });
    let names = config.names.as_ref().map(|names| {
        Names::new(NameParts {
            domain: names.domain.clone(),
            node: config.region.clone(),
            registry: registry.clone(),
            tunnels: tunnels.clone(),
            traffic: ports.traffic().clone(),
            stop: ports_stop.clone(),
        })
    });
    let sockets = WebSockets::new(WebSocketParts {
        registry: registry.clone(),
        tunnels: tunnels.clone(),
        ports: ports.clone(),
        node: config.region.clone(),
        keepalive_interval: SSH_KEEPALIVE,
    });
    let router = api.router().merge(sockets.clone().routes());
    let grace = config.shutdown_grace;
    let http = Http::new(
        router.clone(),
        names.clone(),
        config.http_connections,
        grace,
    );
    let names = match (names, &config.names) {
        (Some(names), Some(own)) => Some(ServedNames {
            http: Http::new(router, Some(names.clone()), own.connections, grace),
            plain: listeners::of_names(config, own, &gateway.entry())?,
            secure: listeners::of_names_over_tls(config, own, https.as_ref(), &gateway.entry())?,
            names,
        }),
        _ => None,
    };
    Ok(Assembled {
        registry,
        tunnels,
        ports,
        gateway,
        hosts,
        live,
        recordings,
        http,
        listeners,
        names,
        sockets,
    })
}

async fn run(
    assembled: Assembled,
    config: &Config,
    stop: CancellationToken,
    ports_stop: CancellationToken,
) -> Result<(), ServeError> {
    let Assembled {
        registry,
        tunnels,
        ports,
        gateway,
        hosts,
        live,
        recordings,
        http,
        listeners,
        names,
        sockets,
    } = assembled;
    let signals = supervise::Signals::install().map_err(ServeError::Signals)?;
    let mut parts = JoinSet::new();
    parts.spawn(signals.run(stop.clone()));
    parts.spawn(supervise::watchdog(registry.clone(), stop.clone()));
    parts.spawn(Expiry::new(registry.clone()).run(stop.clone()));
    let ended = lapse::run(
        registry.clone(),
        tunnels.clone(),
        ports.clone(),
        stop.clone(),
    );
    parts.spawn(ended);
    let traffic = ports.traffic().clone();
    parts.spawn(presence::run(
        registry.clone(),
        tunnels,
        traffic.clone(),
        stop.clone(),
    ));
    parts.spawn(live.run(registry.clone(), stop.clone()));
    parts.spawn(retention::run(registry.clone(), recordings, stop.clone()));
    parts.spawn(hosts.run(stop.clone()));
    parts.spawn(http.run(listeners, stop.clone()));
    parts.spawn(gateway.run(stop.clone()));
    parts.spawn(sockets.run(stop.clone()));
    let names = names.map(|served| {
        let listeners = served.plain.into_iter().chain(served.secure).collect();
        parts.spawn(served.http.run(listeners, stop.clone()));
        served.names
    });
    // Every part runs until it is told to stop.
    let first = parts.join_next().await;
    let told = stop.is_cancelled();
    if let Some(Err(error)) = &first {
        tracing::error!(%error, "a part of the server failed");
    }
    stop.cancel();
    supervise::stopping();
    let ended = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(config.shutdown_grace + STOP_MARGIN, ended)
        .await
        .is_err()
    {
        tracing::warn!("parts of the server left at the end");
    }
    ports_stop.cancel();
    let drained = async {
        ports.drained().await;
        if let Some(names) = names {
            names.drained().await;
        }
    };
    if tokio::time::timeout(config.shutdown_grace, drained)
        .await
        .is_err()
    {
        tracing::warn!("streams left at the end");
    }
    // The last streams ended just now.
    presence::record_traffic(&registry, &traffic, Timestamp::now().month_start()).await;
    if told {
        Ok(())
    } else {
        Err(ServeError::PartEnded)
    }
}

/// Keeps every other server off the data folder for as long as what it gives lives, however the process ends.
///
/// # Errors
/// [`ServeError::DataDirInUse`] when one runs, [`ServeError::File`].
pub fn lock_data_dir(data_dir: &Path) -> Result<Flock<File>, ServeError> {
    announce::lock(data_dir)
}

/// Makes the data folder, which nobody else may read, if it is not there.
///
/// # Errors
/// [`ServeError::File`].
pub fn make_data_dir(config: &Config) -> Result<(), ServeError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(|source| ServeError::File {
            path: config.data_dir.clone(),
            source,
        })
}

/// Public ports listen where the gateway does.
fn port_addresses(config: &Config) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = config.ssh.iter().map(SocketAddr::ip).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn identity(
    config: &Config,
    gateway: &Gateway,
    listeners: &[Listener],
    https: Option<&Https>,
) -> Result<Identity, ServeError> {
    // Where it has no address of its own, it shares one that is configured with its port.
    let shared = config.ssh.first().map_or(0, SocketAddr::port);
    let bound = gateway.addresses().first().map_or(shared, SocketAddr::port);
    Ok(Identity {
        api_url: match &config.public_url {
            Some(url) => url.clone(),
            None => api_url(config, listeners, https.is_some())?,
        },
        public_url: config.public_url.clone(),
        api_pin: https.and_then(|https| https.pin.clone()),
        public_host: config.public_host.clone(),
        ssh_port: config.ssh_public_port.unwrap_or(bound),
        host_key: gateway.host_key_line().to_owned(),
        gateway_key: Some(gateway.gateway_key_line().to_owned()),
        default_rate_limit: config.default_rate_limit.into(),
        docs_url: config.docs_url.clone().unwrap_or_default(),
        require_https: config.require_https,
    })
}

/// The base URL under the public host: that of HTTPS, if there is one.
fn api_url(config: &Config, listeners: &[Listener], https: bool) -> Result<String, ServeError> {
    let (scheme, standard) = if https { ("https", 443) } else { ("http", 80) };
    // The HTTPS addresses come last, so for either scheme it is the first listener that speaks it.
    let listener = listeners
        .iter()
        .find(|listener| listener.speaks_tls() == https);
    let address = match listener {
        Some(listener) => listener.address().map_err(|source| ServeError::Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            source,
        })?,
        None => SocketAddr::from(([0, 0, 0, 0], standard)),
    };
    let host = match config.public_host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => config.public_host.clone(),
    };
    Ok(if address.port() == standard {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{}", address.port())
    })
}

fn place(config: &Config, identity: &Identity) -> Place {
    Place {
        node: config.region.clone(),
        ssh_host: identity.public_host.clone(),
        ssh_port: identity.ssh_port,
    }
}

fn node(config: &Config, identity: &Identity) -> Node {
    Node {
        name: config.region.clone(),
        public_host: config.public_host.clone(),
        ssh_port: identity.ssh_port,
        host_key: identity.host_key.clone(),
        status: NodeStatus::Active,
        ports: config.ports,
        names_domain: config
            .names
            .as_ref()
            .map(|names| names.domain.clone())
            .filter(|domain| *domain != config.public_host),
    }
}

fn clients(config: &Config) -> Clients {
    Clients {
        allow_anonymous_keys: config.allow_anonymous_keys,
        fallback_host: config.ssh_fallback_host.clone(),
        fallback_port: config.ssh_fallback_port,
        trusted_proxies: config.trusted_proxies.clone(),
    }
}

fn tokens(config: &Config) -> Result<Tokens, ServeError> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(Tokens::new(secret));
    }
    let path = config.data_file("jwt.key");
    Tokens::read_or_create(&path).map_err(|source| ServeError::File { path, source })
}

/// The recorder of this process; the one that is there already when there are several servers in it, as in tests.
fn recorder() -> Option<PrometheusHandle> {
    static HANDLE: std::sync::OnceLock<Option<PrometheusHandle>> = std::sync::OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().ok())
        .clone()
}
