//! What the server says at its start, and the files that say where it is.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use super::first_start::Welcome;
use super::{Assembled, ServeError};
use crate::api::Identity;
use crate::config::Config;
use crate::http::Listener;
use crate::private_file;
use crate::registry::model::PublicKey;

/// Keeps a second server off the data folder; given back when the process ends, however it ends.
pub(super) fn lock(data_dir: &Path) -> Result<Flock<File>, ServeError> {
    let path = data_dir.join("server.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| ServeError::File { path, source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| ServeError::DataDirInUse(data_dir.to_owned()))
}

/// `listening.json`, there while everything listens.
pub(super) struct Listening(PathBuf);

impl Listening {
    /// The server does not listen any more.
    pub(super) fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "remove file");
        }
    }
}

/// Writes `listening.json`: the bound addresses.
pub(super) fn listening(config: &Config, assembled: &Assembled) -> Result<Listening, ServeError> {
    #[derive(Serialize)]
    struct Addresses {
        http: Vec<String>,
        ssh: Vec<String>,
        names: Vec<String>,
        names_tls: Vec<String>,
    }
    let path = config.data_file("listening.json");
    let bound = |listeners: &[Listener]| -> Vec<String> {
        let addresses = listeners.iter().filter_map(|one| one.address().ok());
        addresses.map(|address| address.to_string()).collect()
    };
    let names = assembled.names.as_ref();
    let ssh = assembled.gateway.addresses();
    let addresses = Addresses {
        http: bound(&assembled.listeners),
        ssh: ssh.iter().map(ToString::to_string).collect(),
        names: names.map_or(Vec::new(), |names| bound(&names.plain)),
        names_tls: names.map_or(Vec::new(), |names| bound(&names.secure)),
    };
    tracing::info!(http = ?addresses.http, ssh = ?addresses.ssh, "listening");
    let text = serde_json::to_vec(&addresses).unwrap_or_default();
    private_file::write(&path, &text).map_err(|source| ServeError::File {
        path: path.clone(),
        source,
    })?;
    Ok(Listening(path))
}

/// Prints where the server is and, once, what was made at its first start.
pub(super) fn welcome(identity: &Identity, config: &Config, welcome: Welcome) {
    let text = lines(identity, config, &welcome);
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "print where the server is");
    }
}

fn lines(identity: &Identity, config: &Config, welcome: &Welcome) -> String {
    let fingerprint = PublicKey::parse(&identity.host_key).map(|key| key.fingerprint);
    let mut lines = vec![
        format!(
            "Moorline {} on {}",
            env!("CARGO_PKG_VERSION"),
            identity.api_url
        ),
        format!("  data folder:    {}", config.data_dir.display()),
        format!(
            "  SSH gateway:    {} port {}",
            identity.public_host, identity.ssh_port
        ),
        format!("  SSH host key:   {}", fingerprint.unwrap_or_default()),
    ];
    if let Some(pin) = &identity.api_pin {
        lines.push(format!("  HTTPS pin:      {pin}"));
    }
    if let Some(admin) = &welcome.admin {
        let password = admin
            .generated
            .as_ref()
            .map_or("as in ADMIN_PASSWORD", |password| password.expose());
        lines.push("Shown this once:".to_owned());
        lines.push(format!("  administrator:  {}", admin.username));
        lines.push(format!("  password:       {password}"));
    }
    if let Some(key) = &welcome.root_key {
        lines.push(format!("  root key id:    {}", key.id));
        lines.push(format!("  root secret:    {}", key.secret.expose()));
    }
    if let Some(key) = &welcome.enrolment_key {
        let pin = identity
            .api_pin
            .as_ref()
            .map(|pin| format!("MOORLINE_TRUST_SERVER_SPKI_SHA256='{pin}' "));
        lines.push("  enrol a device, on the device as root:".to_owned());
        lines.push(format!(
            "    {}MOORLINE_API_URL='{}' MOORLINE_API_KEY='{}' moorline-agent run",
            pin.unwrap_or_default(),
            identity.api_url,
            key.expose()
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}
