//! The connections to the database, and how a change is begun on each kind.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::{self, Row as _};
use sea_orm::{
    ActiveValue, ColumnTrait as _, ConnectOptions, Database, DatabaseConnection,
    DatabaseTransaction, DbBackend, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};

use super::entity::{forward, master_key_check};
use super::error::{Attempt as _, RegistryError};
use super::migrations;
use super::model::Node;
use super::ports::{Ports, Take};
use super::snapshot::unfinished;
use crate::master_key::{Candidates, KeyFile, LastingKey, MasterKey, MasterKeyError};
use crate::private_file;

/// Connections that read SQLite at once; more than the processors of a small server gain nothing.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 10;
/// How long a statement waits for another process that writes, such as an `admin` command.
const BUSY: Duration = Duration::from_secs(10);
/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(15);
/// Statements kept prepared per connection: those of a batch differ by its size.
const PREPARED_STATEMENTS: usize = 512;

/// What all parts of the registry work on.
#[derive(Debug)]
pub(super) struct Store {
    /// For reading.
    pub(super) read: DatabaseConnection,
    /// For writing. On SQLite a single connection, so that this process never finds the database locked by itself.
    pub(super) write: DatabaseConnection,
    pub(super) keys: MasterKey,
    /// For hashes that outlive the master key.
    pub(super) lasting: LastingKey,
    /// Which file the master key is from.
    pub(super) key_file: KeyFile,
    ports: Mutex<Ports>,
}

impl Store {
    pub(super) async fn open(url: &str, keys: &Candidates) -> Result<Self, RegistryError> {
        let fence = Fence::default();
        let (read, write) = if url.starts_with("sqlite:") {
            open_sqlite(url).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = open_postgres(url, fence.clone()).await?;
            (pool.clone(), pool)
        } else {
            return Err(RegistryError::Address {
                reason: "it begins with neither sqlite: nor postgres:",
            });
        };
        let mut store = Self {
            read,
            write,
            keys: keys.current().clone(),
            lasting: keys.current().first_lasting().map_err(no_random)?,
            key_file: KeyFile::Current,
            ports: Mutex::default(),
        };
        let transaction = store.begin().await?;
        if !store.is_sqlite() {
            unfinished::refuse(&transaction).await?;
        }
        migrations::apply(&transaction).await?;
        store.check_master_key(keys, &transaction).await?;
        transaction.commit().await.attempt("migrate database")?;
        fence.close(hash_of(&store.keys));
        Ok(store)
    }

    /// A key file that was lost and made anew would otherwise show only as secrets that nobody finds.
    async fn check_master_key(
        &mut self,
        keys: &Candidates,
        transaction: &DatabaseTransaction,
    ) -> Result<(), RegistryError> {
        const ATTEMPT: &str = "check master key";
        let found = master_key_check::Entity::find_by_id(1)
            .one(transaction)
            .await
            .attempt(ATTEMPT)?;
        if let Some(found) = found {
            let (file, key) = fitting(keys, &found)?;
            self.lasting = lasting_of(key, &found)?;
            self.keys = key.clone();
            self.key_file = file;
            return Ok(());
        }
        let row = master_key_check::ActiveModel {
            id: ActiveValue::Set(1),
            hash: ActiveValue::Set(hash_of(&self.keys)),
            lasting_sealed: ActiveValue::Set(None),
        };
        master_key_check::Entity::insert(row)
            .exec_without_returning(transaction)
            .await
            .attempt(ATTEMPT)?;
        Ok(())
    }

    /// Begins a change. On SQLite it holds the write lock from here on: a transaction that only became a writer
    /// later would be refused when another process wrote in between.
    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, RegistryError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: self.is_sqlite().then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.write
            .begin_with_options(options)
            .await
            .attempt("begin transaction")
    }

    /// Takes a free port of `node`; `None` when there is none. Whoever takes it gives it back if it is not written.
    pub(super) async fn take_port(
        &self,
        transaction: &DatabaseTransaction,
        node: &Node,
        now: Instant,
    ) -> Result<Option<u16>, RegistryError> {
        match self.with_ports(|ports| ports.take(node, now)) {
            Take::Port(port) => return Ok(Some(port)),
            Take::None => return Ok(None),
            Take::Unknown => {}
        }
        let in_use: Vec<i32> = forward::Entity::find()
            .select_only()
            .column(forward::Column::PublicPort)
            .filter(forward::Column::Node.eq(node.name.as_str()))
            .into_tuple()
            .all(transaction)
            .await
            .attempt("read ports in use")?;
        let in_use = in_use
            .into_iter()
            .filter_map(|port| u16::try_from(port).ok());
        Ok(self.with_ports(|ports| {
            ports.load(node, in_use, now);
            match ports.take(node, now) {
                Take::Port(port) => Some(port),
                Take::None | Take::Unknown => None,
            }
        }))
    }

    pub(super) fn with_ports<T>(&self, work: impl FnOnce(&mut Ports) -> T) -> T {
        work(&mut self.ports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the database is SQLite; the other is PostgreSQL.
    pub(super) fn is_sqlite(&self) -> bool {
        self.write.get_database_backend() == DbBackend::Sqlite
    }
}

/// By which a master key is recognised in the database.
pub(super) fn hash_of(keys: &MasterKey) -> Vec<u8> {
    keys.keyed_hash("master key check", b"moorline")
}

/// The key of the database with this mark.
pub(super) fn fitting<'a>(
    keys: &'a Candidates,
    mark: &master_key_check::Model,
) -> Result<(KeyFile, &'a MasterKey), RegistryError> {
    keys.find(|key| hash_of(key) == mark.hash)
        .ok_or(RegistryError::OtherMasterKey)
}

/// The lasting key of the database with this mark, whose master key is `key`.
pub(super) fn lasting_of(
    key: &MasterKey,
    mark: &master_key_check::Model,
) -> Result<LastingKey, RegistryError> {
    let Some(sealed) = &mark.lasting_sealed else {
        return key.first_lasting().map_err(no_random);
    };
    key.open_lasting(sealed).map_err(|_| RegistryError::Seal {
        attempt: "open lasting key",
    })
}

fn no_random(_: MasterKeyError) -> RegistryError {
    RegistryError::Seal {
        attempt: "derive lasting key",
    }
}

/// Once closed, it lets no connection through to a database that is under another master key. A server that was cut
/// off from its database while the key was rotated would else go on writing under the former one.
#[derive(Clone, Default)]
struct Fence(Arc<OnceLock<Vec<u8>>>);

impl Fence {
    fn close(&self, mark: Vec<u8>) {
        self.0.get_or_init(|| mark);
    }

    async fn pass(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Some(mark) = self.0.get() else {
            return Ok(());
        };
        let sql = "SELECT hash FROM master_key_check WHERE id = 1";
        let row = sqlx::query(sql).fetch_optional(connection).await?;
        let found: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?;
        if found.as_ref() == Some(mark) {
            return Ok(());
        }
        tracing::error!(
            "the master key of the database was rotated: start the server with the new one"
        );
        Err(sqlx::Error::Configuration(
            RegistryError::OtherMasterKey.into(),
        ))
    }
}

async fn open_sqlite(url: &str) -> Result<(DatabaseConnection, DatabaseConnection), RegistryError> {
    make_private(url)?;
    let write = connect(sqlite_options(url, 1)).await?;
    let read = connect(sqlite_options(url, SQLITE_READERS)).await?;
    Ok((read, write))
}

/// The database holds password hashes: SQLite would make the file readable for all. Its side files follow its mode.
fn make_private(url: &str) -> Result<(), RegistryError> {
    let path = url
        .trim_start_matches("sqlite:")
        .trim_start_matches("//")
        .split('?')
        .next()
        .unwrap_or_default();
    if path.is_empty() || path.starts_with(':') || !url.contains("mode=rwc") {
        return Ok(());
    }
    private_file::create_empty(path.as_ref()).map_err(|source| RegistryError::DatabaseFile {
        path: path.into(),
        kind: source.kind(),
    })
}

fn sqlite_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = common_options(url, connections);
    // A file does not go away as a server does.
    options.test_before_acquire(false);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .statement_cache_capacity(PREPARED_STATEMENTS)
            .pragma("journal_mode", "WAL")
            // Only FULL keeps a WAL commit through a power cut.
            .pragma("synchronous", "FULL")
    });
    options
}

async fn open_postgres(url: &str, fence: Fence) -> Result<DatabaseConnection, RegistryError> {
    let mut options = common_options(url, POSTGRES_CONNECTIONS);
    options
        .set_application_name("moorline-server")
        .map_sqlx_postgres_opts(|postgres| postgres.statement_cache_capacity(PREPARED_STATEMENTS))
        .map_sqlx_postgres_pool_opts(move |pool| {
            let fence = fence.clone();
            pool.after_connect(move |connection, _| {
                let fence = fence.clone();
                Box::pin(async move { fence.pass(connection).await })
            })
        });
    connect(options).await
}

pub(super) async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, RegistryError> {
    let url = options.get_url().to_owned();
    match Database::connect(options).await {
        // The address may hold a password, which belongs in no message.
        Err(error) if error.to_string().contains(&url) => Err(RegistryError::Address {
            reason: "it cannot be parsed",
        }),
        other => other.attempt("open database"),
    }
}

pub(super) fn common_options(url: &str, connections: u32) -> ConnectOptions {
    // The library knows the short form only.
    let url = url
        .strip_prefix("postgresql:")
        .map_or_else(|| url.to_owned(), |rest| format!("postgres:{rest}"));
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .record_stmt_in_spans(false)
        .sqlx_logging(false);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_refused_without_its_password() {
        for url in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d"] {
            let keys = MasterKey::random().unwrap();
            let error = Store::open(url, &keys.into()).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
