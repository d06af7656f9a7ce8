//! The whole database as one file: taken while the server works, checked, and put back (control contract section 16).
//!
//! | module | holds |
//! |---|---|
//! | `sqlite` | a copy of the file |
//! | `postgres`, `program` | a dump by `pg_dump` and `pg_restore` of PATH |
//! | `unfinished` | the mark of a restore of PostgreSQL that is under way |
//!
//! *Invariant:* a snapshot is looked at in full before anything of the present database is touched.

mod postgres;
mod program;
mod sqlite;
pub(super) mod unfinished;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::error::RegistryError;
use super::{migrations, store};
use crate::master_key::Candidates;
pub(super) use sqlite::{file_of, is_busy};

/// What a file of SQLite begins with.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// What a dump of PostgreSQL in custom format begins with.
const POSTGRES_MAGIC: &[u8] = b"PGDMP";

/// Why there is no snapshot, or why it was not put back.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file cannot be read, made or moved.
    #[error("{attempt} {}: {cause}", path.display())]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the file system said.
        cause: io::Error,
    },
    /// The configured place holds nothing that this program made.
    #[error("{0} holds no database of Moorline")]
    NoDatabase(String),
    /// The file cannot be put back.
    #[error("{} is no snapshot that can be put back: {reason}", path.display())]
    NotASnapshot {
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Somebody works on what is to be replaced.
    #[error("{0} is in use: stop every server and command that works on it")]
    InUse(String),
    /// A program of PostgreSQL is not there.
    #[error("run {0}: there is no such program in PATH, install the client programs of PostgreSQL")]
    ProgramMissing(&'static str),
    /// It failed.
    #[error("run {program}: {message}")]
    Program {
        /// Which one.
        program: &'static str,
        /// What it said.
        message: String,
    },
    /// It took too long.
    #[error("run {program}: it had not ended after {}", humantime::format_duration(*limit))]
    ProgramStuck {
        /// Which one.
        program: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// It was told to stop.
    #[error("take snapshot: stopped by a signal")]
    Stopped,
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A kind of database, and so of snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One file.
    Sqlite,
    /// A server.
    Postgres,
}

impl Kind {
    /// The kind of the database at `url`.
    ///
    /// # Errors
    /// [`RegistryError::Address`].
    pub fn of_url(url: &str) -> Result<Self, RegistryError> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            _ => Err(RegistryError::Address {
                reason: "it begins with neither sqlite: nor postgres:",
            }),
        }
    }

    /// How the names of its snapshots end.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Sqlite => "db",
            Self::Postgres => "dump",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    fn of_file(path: &Path) -> Result<Option<Self>, SnapshotError> {
        let mut start = Vec::new();
        let most = SQLITE_MAGIC.len().try_into().unwrap_or(u64::MAX);
        File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut start))
            .map_err(at("read", path))?;
        Ok(match start.as_slice() {
            SQLITE_MAGIC => Some(Self::Sqlite),
            start if start.starts_with(POSTGRES_MAGIC) => Some(Self::Postgres),
            _ => None,
        })
    }
}

/// Writes a consistent snapshot of the database at `url`, which may be in use, into the empty file `into`. Cancelling
/// `stop` ends it early.
///
/// # Errors
/// [`SnapshotError`]; then `into` holds nothing of use.
pub async fn take(url: &str, into: &Path, stop: &CancellationToken) -> Result<(), SnapshotError> {
    match Kind::of_url(url)? {
        Kind::Sqlite => sqlite::take(url, into, stop).await,
        Kind::Postgres => postgres::take(url, into, stop).await,
    }
}

/// Puts the snapshot `file` in the place of the database at `url`, and tells where the former one is: a file
/// beside it, or a schema beside its own. Both have `stamp` in their name; `None` when there was no database.
///
/// # Errors
/// [`SnapshotError`], also when the snapshot was sealed under another key than any of `keys` or by a newer version; then the
/// database is as it was.
pub async fn put_back(
    url: &str,
    file: &Path,
    keys: &Candidates,
    stamp: &str,
) -> Result<Option<String>, SnapshotError> {
    let configured = Kind::of_url(url)?;
    match Kind::of_file(file)? {
        Some(found) if found == configured => {}
        Some(found) => {
            let reason = format!(
                "it is of {}, the configured database is {}",
                found.as_str(),
                configured.as_str()
            );
            return Err(not_a_snapshot(file, reason));
        }
        None => return Err(not_a_snapshot(file, "it is no database")),
    }
    match configured {
        Kind::Sqlite => sqlite::put_back(url, file, keys, stamp).await,
        Kind::Postgres => postgres::put_back(url, file, keys, stamp).await,
    }
}

/// What a snapshot says of itself.
struct Contents {
    migrations: Vec<(i32, String)>,
    /// By which its master key is recognised.
    key_hash: Option<Vec<u8>>,
}

impl Contents {
    fn check(&self, file: &Path, keys: &Candidates) -> Result<(), SnapshotError> {
        if !migrations::recognise(&self.migrations)? {
            return Err(not_a_snapshot(file, "it is no database of Moorline"));
        }
        match &self.key_hash {
            None => Err(not_a_snapshot(file, "it names no master key")),
            Some(hash) => match keys.find(|key| store::hash_of(key) == *hash) {
                Some(_) => Ok(()),
                None => Err(RegistryError::OtherMasterKey.into()),
            },
        }
    }
}

fn not_a_snapshot(path: &Path, reason: impl Into<String>) -> SnapshotError {
    SnapshotError::NotASnapshot {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn at(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |cause| SnapshotError::File {
        attempt,
        path,
        cause,
    }
}
