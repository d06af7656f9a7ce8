//! The database at start-up: waited for, and a cut-off rotation of its master key ended.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tracing::{info, warn};

use super::ServeError;
use crate::backup::names::stamp;
use crate::config::Config;
use crate::master_key::files::KeyFiles;
use crate::master_key::{Candidates, KeyFile};
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;

/// Opens the registry, and ends a rotation of the master key that was cut off (control contract section 16).
pub(super) async fn registry(config: &Config) -> Result<Registry, ServeError> {
    let files = KeyFiles::read_or_create(&config.master_key())?;
    let registry = open_registry(config.database_url.expose(), files.candidates()).await?;
    if registry.key_file() == KeyFile::Pending {
        let kept = files.promote(&stamp(Timestamp::now()))?;
        info!(former_key = %kept.display(), "a rotation of the master key was cut off, it is done now");
    }
    Ok(registry)
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
