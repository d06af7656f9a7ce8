//! `moorline-server backup` and `moorline-server restore`: the whole database as one private file, and back
//! (control contract section 16).
//!
//! | module | holds |
//! |---|---|
//! | [`names`] | how snapshots are called, and which of them are too old |
//!
//! *Invariant:* a snapshot has its name only once it is complete, and nothing is deleted before that.
//!
//! *Invariant:* the master key is in no snapshot.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::master_key::MasterKeyError;
use crate::master_key::files::KeyFiles;
use crate::private_file::{self, Temporary};
use crate::registry::model::Timestamp;
use crate::registry::snapshot::{self, Kind, SnapshotError};
use crate::serve::{ServeError, lock_data_dir, make_data_dir};

pub mod names;

use names::SnapshotName;

/// Arguments of `backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// Folder of the snapshots; made if there is none
    #[arg(
        long,
        value_name = "DIR",
        env = "BACKUP_DIR",
        default_value = "/var/backups/moorline"
    )]
    pub dir: PathBuf,
    /// Days after which snapshots of this name are deleted; 0 deletes none
    #[arg(long, value_name = "DAYS", env = "RETENTION_DAYS", default_value_t = 7,
        value_parser = clap::value_parser!(u32).range(..=i64::from(names::MAX_RETENTION_DAYS)))]
    pub retention_days: u32,
    /// What the names of the snapshots begin with
    #[arg(long, value_name = "NAME", env = "DB_NAME", default_value = "moorline")]
    pub name: SnapshotName,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a command that succeeded has to say.
#[derive(Clone, Debug)]
pub struct Said {
    /// For stdout.
    pub data: String,
    /// For stderr: what to bear in mind.
    pub advice: String,
}

/// Why there is no snapshot, or why it was not put back.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file or folder cannot be used.
    #[error("{attempt} {}: {cause}", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On which.
        path: PathBuf,
        /// What the file system said.
        cause: std::io::Error,
    },
    /// There is a snapshot of this second.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The new snapshot is complete, but an old one is in the way of the retention.
    #[error(
        "{} is complete, but delete {}: {cause}",
        snapshot.display(),
        path.display()
    )]
    Retention {
        /// The new one.
        snapshot: PathBuf,
        /// The old one.
        path: PathBuf,
        /// What the file system said.
        cause: std::io::Error,
    },
    /// The database or the snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The master key, without which a snapshot is of no use.
    #[error(
        "{0}\nhint: put the master.key of the server that was backed up into the data folder first"
    )]
    MasterKey(#[from] MasterKeyError),
    /// The data folder, also when a server works on it.
    #[error(transparent)]
    DataDir(#[from] ServeError),
}

/// Takes a snapshot at `now`, then deletes those of its name that are older than the retention. Cancelling `stop` ends
/// it early.
///
/// # Errors
/// [`BackupError`]; but for [`BackupError::Retention`] there is no new file then, and nothing was deleted.
pub async fn backup(
    args: &BackupArgs,
    config: &Config,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<Said, BackupError> {
    #[derive(Serialize)]
    struct Answer<'a> {
        path: &'a Path,
        bytes: u64,
        deleted: &'a [PathBuf],
    }
    let url = config.database_url.expose();
    let kind = Kind::of_url(url).map_err(SnapshotError::from)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&args.dir)
        .map_err(at("make folder", &args.dir))?;
    let path = args.dir.join(args.name.at(now, kind));
    if path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(path));
    }
    let of_this_name = |file: &str| args.name.taken_at(file).is_some();
    let abandoned = private_file::remove_abandoned(&args.dir, of_this_name);
    let abandoned = abandoned.map_err(at("remove what a killed backup left in", &args.dir))?;
    let temporary = Temporary::beside(&path).map_err(at("make a file in", &args.dir))?;
    snapshot::take(url, temporary.path(), stop).await?;
    temporary.keep().map_err(at("keep", &path))?;
    let bytes = path.metadata().map_err(at("read", &path))?.len();
    let deleted = delete_expired(args, &path, now)?;
    let data = if args.json {
        json(&Answer {
            path: &path,
            bytes,
            deleted: &deleted,
        })
    } else {
        format!("{} {bytes} bytes\n", path.display())
    };
    let master_key = config.master_key();
    let mut advice = format!(
        "The master key is not in it, and without it the snapshot is of no use: keep {} in another place.\n",
        master_key.display()
    );
    for path in abandoned.iter().chain(&deleted) {
        advice.push_str(&format!("deleted {}\n", path.display()));
    }
    Ok(Said { data, advice })
}

fn delete_expired(
    args: &BackupArgs,
    snapshot: &Path,
    now: Timestamp,
) -> Result<Vec<PathBuf>, BackupError> {
    if args.retention_days == 0 {
        return Ok(Vec::new());
    }
    let failed = |path: &Path, cause| BackupError::Retention {
        snapshot: snapshot.to_owned(),
        path: path.to_owned(),
        cause,
    };
    let entries = std::fs::read_dir(&args.dir).map_err(|cause| failed(&args.dir, cause))?;
    let mut deleted = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|cause| failed(&args.dir, cause))?;
        let expired = entry
            .file_name()
            .to_str()
            .and_then(|file| args.name.taken_at(file))
            .is_some_and(|taken| names::is_expired(taken, args.retention_days, now));
        let path = entry.path();
        if !expired || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        std::fs::remove_file(&path).map_err(|cause| failed(&path, cause))?;
        deleted.push(path);
    }
    deleted.sort();
    Ok(deleted)
}

/// Puts a snapshot in the place of the database. The former database is kept, with `now` in its name.
///
/// # Errors
/// [`BackupError`]; then the database is as it was.
pub async fn restore(
    args: &RestoreArgs,
    config: &Config,
    now: Timestamp,
) -> Result<Said, BackupError> {
    #[derive(Serialize)]
    struct Answer<'a> {
        restored: &'a Path,
        kept: Option<&'a str>,
    }
    make_data_dir(config)?;
    let _lock = lock_data_dir(&config.data_dir)?;
    let keys = KeyFiles::read(&config.master_key())?;
    let url = config.database_url.expose();
    let stamp = names::stamp(now);
    let kept = snapshot::put_back(url, &args.file, keys.candidates(), &stamp).await?;
    let data = if args.json {
        json(&Answer {
            restored: &args.file,
            kept: kept.as_deref(),
        })
    } else {
        let kept = kept.as_ref().map_or_else(
            || "there was no database before".to_owned(),
            |kept| format!("the former database is kept: {kept}"),
        );
        format!("restored {}\n{kept}\n", args.file.display())
    };
    let advice = "Host keys, certificates and recordings are not in a snapshot: put back those of the data folder \
        too, or devices refuse the server.\n"
        .to_owned();
    Ok(Said { data, advice })
}

fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

fn at(attempt: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |cause| BackupError::File {
        attempt,
        path,
        cause,
    }
}
