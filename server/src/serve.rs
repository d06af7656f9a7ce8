//! `moorline-server serve`: puts the parts together, runs them, ends them in order.
//!
//! | module | holds |
//! |---|---|
//! | [`database`] | the registry, opened |
//! | [`assembly`] | the parts, put together |
//! | [`identity`] | what the server says of itself |
//! | [`first_start`] | the first administrator, the first API keys |
//! | [`listeners`] | who listens where, with which certificate |
//! | [`announce`] | what is printed, `listening.json` |
//! | [`running`] | the parts, running, and their end |
//! | [`supervise`] | signals, systemd |

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::forward::PublicPorts;
use crate::forward::http::Names;
use crate::gateway::{Gateway, GatewayError};
use crate::hosts::Hosts;
use crate::http::{Http, Listener};
use crate::live_sessions::LiveSessions;
use crate::login_limits::LoginLimits;
use crate::master_key::MasterKeyError;
use crate::passwords::{PasswordError, Passwords};
use crate::recording::Recordings;
use crate::registry::Registry;
use crate::registry::error::{ApiClientError, RegistryError, UserError};
use crate::tls::TlsError;
use crate::tunnels::Tunnels;
use crate::websocket::WebSockets;

mod announce;
mod assembly;
mod database;
mod first_start;
mod identity;
mod listeners;
mod running;
mod supervise;

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

/// What several parts have in common.
struct Shared {
    registry: Registry,
    passwords: Passwords,
    tunnels: Tunnels,
    ports: PublicPorts,
    logins: LoginLimits,
    live: LiveSessions,
    recordings: Recordings,
}

/// Everything that is bound and loaded, ready to run.
struct Assembled {
    shared: Shared,
    gateway: Gateway,
    hosts: Hosts,
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
    let assembled = assembly::assemble(&config, ports_stop.clone()).await?;
    let listening = announce::listening(&config, &assembled)?;
    supervise::ready();
    let done = running::run(assembled, &config, stop, ports_stop).await;
    listening.remove();
    done
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
