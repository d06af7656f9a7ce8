//! Takes everything that is sealed from one master key to another, in one transaction.
//!
//! | what | under the new key |
//! |---|---|
//! | secrets of API keys, key binding tokens | sealed anew, and found by a new keyed hash |
//! | private keys of users, secrets of egress IPs, `dbid` of devices | sealed anew |
//! | the lasting key, on which session tokens and the ids of events hang | sealed anew, so that those stay as they are |
//! | one-time passwords, counts of failed logins | gone: only their hash is kept, and both are over within minutes |
//!
//! `columns` lists where sealed values stand.
//!
//! *Invariant:* the database is under the one key or the other, as its mark in `master_key_check` says,
//! and all of what is sealed with it.
//!
//! *Invariant:* nobody else works on the database meanwhile, and who comes later finds the new key.

mod columns;

use std::time::Duration;

use sea_orm::sqlx::sqlite::SqliteLockingMode;
use sea_orm::{
    ActiveValue, ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DatabaseTransaction,
    DbBackend, EntityTrait as _, QueryFilter as _, QueryOrder as _, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait as _,
};
use thiserror::Error;

use super::entity::{account, event, login_failure, master_key_check, one_time_password};
use super::error::{Attempt as _, RegistryError};
use super::model::{AccountId, NewEvent, Timestamp};
use super::snapshot::{Kind, file_of, is_busy, unfinished};
use super::{accounts, events, migrations, store};
use crate::master_key::{Candidates, KeyFile, MasterKey, MasterKeyError};
use columns::{SEALED, cannot_seal};

/// How long it waits for others to let go of SQLite.
const BUSY: Duration = Duration::from_secs(5);
/// What it calls itself at PostgreSQL; servers have another name.
const APPLICATION: &str = "moorline-rotation";
/// Who takes the key after this lock is gone reads the new mark.
const POSTGRES_ALONE: [&str; 2] = [
    "SET LOCAL lock_timeout = '60s'",
    "LOCK TABLE master_key_check IN ACCESS EXCLUSIVE MODE",
];
const POSTGRES_OTHERS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity \
    WHERE datname = current_database() AND application_name = 'moorline-server')";

/// Why the master key is not rotated. But for [`RotationError::Unknown`] the database is as it was.
#[derive(Debug, Error)]
pub enum RotationError {
    /// Somebody works on the database.
    #[error("database is in use: stop every server and command that works on it")]
    InUse,
    /// The configured place holds no database of Moorline.
    #[error("there is no database of Moorline")]
    NoDatabase,
    /// A sealed value does not open under the present key.
    #[error("open {place}: it is damaged or of another master key")]
    Damaged {
        /// Where it stands.
        place: String,
    },
    /// The database did not say whether the change is made.
    #[error("commit the rotation: {0}")]
    Unknown(RegistryError),
    /// The key files.
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    /// See [`RegistryError`].
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// How a rotation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Everything is under the new key.
    Done(Resealed),
    /// Everything was under the pending key already.
    WasDone,
}

/// How much was taken to the new key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Resealed {
    /// Secrets of API keys.
    pub api_keys: u64,
    /// Key binding tokens.
    pub binding_tokens: u64,
    /// Private keys of users.
    pub user_private_keys: u64,
    /// Secrets of egress IPs.
    pub egress_secrets: u64,
    /// Devices, by their `dbid`.
    pub devices: u64,
    /// One-time passwords that are good for nothing any more.
    pub dropped_one_time_passwords: u64,
}

/// Takes the database at `url` from whichever of `present` it is under to the key that `next` makes. That is asked
/// only once all else is in order; if the database is under the pending key already, it is not.
///
/// # Errors
/// [`RotationError`].
pub async fn rotate(
    url: &str,
    present: &Candidates,
    next: impl FnOnce() -> Result<MasterKey, MasterKeyError> + Send,
) -> Result<Rotation, RotationError> {
    let database = open(url).await.map_err(in_use)?;
    let transaction = begin(&database).await.map_err(in_use)?;
    let mark = alone(&transaction)
        .await?
        .ok_or(RotationError::NoDatabase)?;
    let (file, from) = store::fitting(present, &mark)?;
    if file == KeyFile::Pending {
        transaction.rollback().await.attempt("look at the key")?;
        database.close().await.attempt("close database")?;
        return Ok(Rotation::WasDone);
    }
    let to = next()?;
    let resealed = reseal_all(&transaction, from, &to).await?;
    put_mark(&transaction, &mark, from, &to).await?;
    note(&transaction).await?;
    let committed = transaction.commit().await.attempt("commit");
    committed.map_err(RotationError::Unknown)?;
    database.close().await.attempt("close database")?;
    Ok(Rotation::Done(resealed))
}

/// A connection beside which there is no other: SQLite gives it to nobody else while one is open.
async fn open(url: &str) -> Result<DatabaseConnection, RotationError> {
    let kind = Kind::of_url(url)?;
    let mut options = store::common_options(url, 1);
    match kind {
        Kind::Sqlite => {
            let file = file_of(url)?;
            if !file.is_file() {
                return Err(RotationError::NoDatabase);
            }
            options.map_sqlx_sqlite_opts(|sqlite| {
                sqlite
                    .create_if_missing(false)
                    .foreign_keys(true)
                    .busy_timeout(BUSY)
                    .locking_mode(SqliteLockingMode::Exclusive)
                    .pragma("journal_mode", "WAL")
                    .pragma("synchronous", "FULL")
                    // What was sealed under the former key is written over, not just let go.
                    .pragma("secure_delete", "ON")
            });
        }
        Kind::Postgres => {
            options.set_application_name(APPLICATION);
        }
    }
    let database = store::connect(options).await?;
    if kind == Kind::Postgres {
        unfinished::refuse(&database).await?;
    }
    Ok(database)
}

async fn begin(database: &DatabaseConnection) -> Result<DatabaseTransaction, RotationError> {
    let sqlite = database.get_database_backend() == DbBackend::Sqlite;
    let options = TransactionOptions {
        sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Exclusive),
        ..TransactionOptions::default()
    };
    let begun = database.begin_with_options(options).await;
    Ok(begun.attempt("begin transaction")?)
}

fn in_use(error: RotationError) -> RotationError {
    match error {
        RotationError::Registry(error) if is_busy(&error) => RotationError::InUse,
        other => other,
    }
}

/// Sees to it that nobody else works on the database until the end of the transaction, and gives the mark of its key.
async fn alone(
    transaction: &DatabaseTransaction,
) -> Result<Option<master_key_check::Model>, RotationError> {
    // Takes the lock that every server takes when it starts.
    migrations::apply(transaction).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        for statement in POSTGRES_ALONE {
            let done = transaction.execute_unprepared(statement).await;
            done.attempt("lock database")?;
        }
        let others = Statement::from_string(DbBackend::Postgres, POSTGRES_OTHERS);
        let row = transaction.query_one_raw(others).await;
        let row = row.attempt("look who works on the database")?;
        let busy = row.map_or(Ok(true), |row| row.try_get_by_index(0));
        if busy.attempt("look who works on the database")? {
            return Err(RotationError::InUse);
        }
    }
    let mark = master_key_check::Entity::find_by_id(1).one(transaction);
    Ok(mark.await.attempt("check master key")?)
}

async fn reseal_all(
    transaction: &DatabaseTransaction,
    from: &MasterKey,
    to: &MasterKey,
) -> Result<Resealed, RotationError> {
    let mut resealed = Resealed::default();
    for column in SEALED {
        let count = column.reseal(transaction, from, to).await?;
        *(column.counted)(&mut resealed) += count;
    }
    let dropped = one_time_password::Entity::delete_many();
    let dropped = dropped.exec(transaction).await;
    resealed.dropped_one_time_passwords = dropped.attempt("drop one-time passwords")?.rows_affected;
    let failures = login_failure::Entity::delete_many();
    failures
        .exec(transaction)
        .await
        .attempt("drop failed logins")?;
    Ok(resealed)
}

async fn put_mark(
    transaction: &DatabaseTransaction,
    mark: &master_key_check::Model,
    from: &MasterKey,
    to: &MasterKey,
) -> Result<(), RotationError> {
    let lasting = store::lasting_of(from, mark)?;
    let sealed = to.seal_lasting(&lasting).map_err(|_| cannot_seal())?;
    let row = master_key_check::ActiveModel {
        id: ActiveValue::Unchanged(mark.id),
        hash: ActiveValue::Set(store::hash_of(to)),
        lasting_sealed: ActiveValue::Set(Some(sealed)),
    };
    let done = master_key_check::Entity::update(row)
        .exec(transaction)
        .await;
    done.attempt("put mark of the master key")?;
    Ok(())
}

/// In the audit of the first account, whose administrators keep the installation.
async fn note(transaction: &DatabaseTransaction) -> Result<(), RegistryError> {
    let first = account::Entity::find()
        .filter(account::Column::Id.ne(accounts::ANONYMOUS))
        .order_by_asc(account::Column::Id)
        .one(transaction)
        .await
        .attempt("find first account")?;
    let event = NewEvent {
        account: first.map(|first| AccountId(first.id)),
        device: None,
        user: None,
        host: None,
        task: None,
        level: "info",
        kind: "master_key.rotated",
        message: "master key rotated".to_owned(),
        metadata: serde_json::json!({"by": "admin command"}),
    };
    event::Entity::insert(events::event_row(event, Timestamp::now()))
        .exec_without_returning(transaction)
        .await
        .attempt("record event")?;
    Ok(())
}
