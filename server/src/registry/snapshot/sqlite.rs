//! Snapshots of SQLite: the file as the database itself copies it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, DbErr,
    RuntimeErr, Statement,
};
use tokio_util::sync::CancellationToken;

use super::super::error::{Attempt as _, RegistryError};
use super::{Contents, SnapshotError, at, not_a_snapshot};
use crate::master_key::Candidates;
use crate::private_file::{self, Temporary};

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(10);
/// Operations of SQLite between two looks whether it shall stop: less than a millisecond.
const OPERATIONS: i32 = 1000;
/// Files that SQLite keeps beside its own.
const SIDE_FILES: [&str; 2] = ["-wal", "-shm"];
/// Result codes of SQLite, in their low byte, that mean that somebody else has the database open.
const BUSY_CODES: [u32; 2] = [5, 6];

pub(super) async fn take(
    url: &str,
    into: &Path,
    stop: &CancellationToken,
) -> Result<(), SnapshotError> {
    let file = file_of(url)?;
    let no_database = || SnapshotError::NoDatabase(file.display().to_string());
    if !file.is_file() {
        return Err(no_database());
    }
    let name = into
        .to_str()
        .ok_or_else(|| at("name", into)(io::ErrorKind::InvalidFilename.into()))?;
    let live = open(&file, Use::Live).await?;
    if contents(&live).await?.is_none() {
        return Err(no_database());
    }
    let copy = Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO $1", [name.into()]);
    listen(&live, stop).await.attempt("copy database")?;
    let copied = live.execute_raw(copy).await;
    live.close().await.attempt("close database")?;
    if copied.is_err() {
        private_file::remove_journal(into).map_err(at("remove journal of", into))?;
    }
    match copied {
        Err(_) if stop.is_cancelled() => Err(SnapshotError::Stopped),
        copied => Ok(copied.map(drop).attempt("copy database")?),
    }
}

/// Has statements of this connection fail once `stop` is cancelled. They go on otherwise when nobody waits for them,
/// and write files that were removed anew.
async fn listen(database: &DatabaseConnection, stop: &CancellationToken) -> Result<(), DbErr> {
    let failed = |error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
    let pool = database.get_sqlite_connection_pool();
    let mut connection = pool.acquire().await.map_err(failed)?;
    let mut handle = connection.lock_handle().await.map_err(failed)?;
    let stop = stop.clone();
    handle.set_progress_handler(OPERATIONS, move || !stop.is_cancelled());
    Ok(())
}

pub(super) async fn put_back(
    url: &str,
    snapshot: &Path,
    keys: &Candidates,
    stamp: &str,
) -> Result<Option<String>, SnapshotError> {
    let file = file_of(url)?;
    // What an earlier one left that was killed. Whoever gets here has the data folder for itself.
    if let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(OsStr::to_str)) {
        private_file::remove_abandoned(folder, |meant_for| meant_for == name)
            .map_err(at("remove what a killed restore left beside", &file))?;
    }
    let staged = Temporary::beside(&file).map_err(at("make a file beside", &file))?;
    fs::copy(snapshot, staged.path()).map_err(at("copy", snapshot))?;
    check(snapshot, staged.path(), keys).await?;
    let kept = with_suffix(&file, &format!(".replaced_{stamp}"));
    if file.exists() {
        settle(&file).await?;
        // The name of the database never leads nowhere, whenever the power is cut.
        fs::hard_link(&file, &kept).map_err(at("keep the former database as", &kept))?;
    }
    for side in SIDE_FILES {
        let (from, to) = (with_suffix(&file, side), with_suffix(&kept, side));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("move", &from)(error));
            }
            Err(_) | Ok(()) => {}
        }
    }
    staged.keep().map_err(at("replace", &file))?;
    if !kept.exists() {
        return Ok(None);
    }
    private_file::make_private(&kept).map_err(at("make private", &kept))?;
    Ok(Some(kept.display().to_string()))
}

/// Looks at `copy`, which is one of `snapshot`.
async fn check(snapshot: &Path, copy: &Path, keys: &Candidates) -> Result<(), SnapshotError> {
    let refused = |error: RegistryError| not_a_snapshot(snapshot, error.to_string());
    let database = open(copy, Use::Copy).await.map_err(refused)?;
    let sound = "PRAGMA integrity_check(1)";
    let verdict: String = one(&database, sound).await.map_err(refused)?;
    if verdict != "ok" {
        return Err(not_a_snapshot(
            snapshot,
            format!("it is damaged: {verdict}"),
        ));
    }
    let contents = contents(&database).await.map_err(refused)?;
    database.close().await.attempt("close snapshot")?;
    contents
        .ok_or_else(|| not_a_snapshot(snapshot, "it is no database of Moorline"))?
        .check(snapshot, keys)
}

/// Makes one file of the database and its side files. That takes it for itself, so it also shows whether somebody else
/// has it open. A database too damaged for it is kept with its side files as they are.
async fn settle(file: &Path) -> Result<(), SnapshotError> {
    let in_use = || SnapshotError::InUse(file.display().to_string());
    let settled = async {
        let database = open(file, Use::Live).await?;
        let mode: String = one(&database, "PRAGMA journal_mode = DELETE").await?;
        database.close().await.attempt("close database")?;
        Ok::<_, RegistryError>(mode)
    };
    match settled.await {
        Ok(mode) if mode == "delete" => Ok(()),
        Ok(_) => Err(in_use()),
        Err(error) if is_busy(&error) => Err(in_use()),
        Err(error) => {
            tracing::warn!(%error, "former database is damaged");
            Ok(())
        }
    }
}

pub(in crate::registry) fn is_busy(error: &RegistryError) -> bool {
    let RegistryError::Database { source, .. } = error else {
        return false;
    };
    let (DbErr::Conn(cause) | DbErr::Exec(cause) | DbErr::Query(cause)) = source else {
        return matches!(source, DbErr::ConnectionAcquire(_));
    };
    let RuntimeErr::SqlxError(cause) = cause else {
        return false;
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| BUSY_CODES.contains(&(code & 0xff)))
}

/// `None` when it is no database of Moorline.
async fn contents(database: &DatabaseConnection) -> Result<Option<Contents>, RegistryError> {
    const TABLES: &str = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' \
        AND name IN ('schema_migrations', 'master_key_check')";
    if one::<i64>(database, TABLES).await? != 2 {
        return Ok(None);
    }
    let rows = |sql: &'static str| async move {
        database
            .query_all_raw(Statement::from_string(DbBackend::Sqlite, sql))
            .await
            .attempt("read snapshot")
    };
    let applied = rows("SELECT number, name FROM schema_migrations ORDER BY number").await?;
    let migrations = applied
        .iter()
        .map(|row| {
            row.try_get_by_index(0)
                .and_then(|number| Ok((number, row.try_get_by_index(1)?)))
        })
        .collect::<Result<_, DbErr>>()
        .attempt("read migrations")?;
    let key = rows("SELECT hash FROM master_key_check WHERE id = 1").await?;
    let key_hash = key
        .first()
        .map(|row| row.try_get_by_index(0))
        .transpose()
        .attempt("read master key check")?;
    Ok(Some(Contents {
        migrations,
        key_hash,
    }))
}

async fn one<T: sea_orm::TryGetable>(
    database: &DatabaseConnection,
    sql: &str,
) -> Result<T, RegistryError> {
    let row = database
        .query_one_raw(Statement::from_string(DbBackend::Sqlite, sql))
        .await
        .attempt("read database")?;
    row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))
        .and_then(|row| row.try_get_by_index(0))
        .attempt("read database")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Others may have it open.
    Live,
    /// Nobody else has it, and nothing is written beside it.
    Copy,
}

async fn open(file: &Path, use_as: Use) -> Result<DatabaseConnection, RegistryError> {
    let file = file.to_owned();
    let mut options = ConnectOptions::new("sqlite://snapshot?mode=rw");
    options
        .max_connections(1)
        .sqlx_logging(false)
        .connect_timeout(BUSY)
        .acquire_timeout(BUSY)
        .map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&file)
                .create_if_missing(false)
                .busy_timeout(BUSY / 2)
                .read_only(use_as == Use::Copy)
                .immutable(use_as == Use::Copy)
        });
    Database::connect(options).await.attempt("open database")
}

pub(in crate::registry) fn file_of(url: &str) -> Result<PathBuf, RegistryError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|_| RegistryError::Address {
        reason: "it cannot be parsed",
    })?;
    Ok(options.get_filename().to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
