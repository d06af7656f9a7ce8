//! Snapshots of PostgreSQL: dumps in custom format of the schema that Moorline's tables are in.
//!
//! *Invariant:* the password goes to the programs in their environment, never as an argument.

use std::path::Path;
use std::process::Command;
use std::str::FromStr as _;
use std::time::Duration;

use moorline_protocol::Secret;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
    TransactionTrait as _,
};
use tokio_util::sync::CancellationToken;

use super::super::error::{Attempt as _, RegistryError};
use super::unfinished::{self, Left};
use super::{Contents, SnapshotError, not_a_snapshot, program};
use crate::master_key::Candidates;

const DUMP: &str = "pg_dump";
const RESTORE: &str = "pg_restore";
/// How long a dump waits for a lock on a table, as when another version migrates.
const LOCK_WAIT: &str = "--lock-wait-timeout=60s";
/// How long a call waits for a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// What the commands here call themselves at the database; the server has another name.
const APPLICATION: &str = "moorline-backup";

pub(super) async fn take(
    url: &str,
    into: &Path,
    stop: &CancellationToken,
) -> Result<(), SnapshotError> {
    let address = Address::parse(url)?;
    let database = connect(url).await?;
    let schema = schema(&database).await?;
    unfinished::refuse(&database).await?;
    if !holds_registry(&database).await? {
        return Err(SnapshotError::NoDatabase(address.to_string()));
    }
    database.close().await.attempt("close database")?;
    let mut dump = address.command(DUMP);
    dump.args([
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        LOCK_WAIT,
    ])
    .arg(format!("--schema={}", quoted(&schema)))
    .arg("--file")
    .arg(into)
    .arg(address.connection());
    // Nobody waits for the program then, and it is killed.
    tokio::select! {
        done = program::run(DUMP, dump) => done.map(drop),
        () = stop.cancelled() => Err(SnapshotError::Stopped),
    }
}

pub(super) async fn put_back(
    url: &str,
    file: &Path,
    keys: &Candidates,
    stamp: &str,
) -> Result<Option<String>, SnapshotError> {
    let address = Address::parse(url)?;
    let (found, contents) = look(&address, file).await?;
    contents.check(file, keys)?;
    let database = connect(url).await?;
    let schema = schema(&database).await?;
    if found != schema {
        let reason = format!("its tables are in schema {found}, those of the database in {schema}");
        return Err(not_a_snapshot(file, reason));
    }
    refuse_others(&database, &address).await?;
    let tables = tables(&database, &schema).await?;
    if !tables.is_empty() && !holds_registry(&database).await? {
        return Err(SnapshotError::NoDatabase(format!(
            "{address} has tables of something else and"
        )));
    }
    let replaced = Replaced {
        left: unfinished::left(&database).await?,
        schema,
        tables,
        aside: format!("moorline_replaced_{stamp}"),
    };
    replaced.move_aside(&database).await?;
    let mut restore = address.command(RESTORE);
    restore
        .args([
            "--no-owner",
            "--no-privileges",
            "--exit-on-error",
            "--single-transaction",
        ])
        .arg(format!("--schema={}", replaced.schema))
        .arg(format!("--dbname={}", address.connection()))
        .arg(file);
    if let Err(error) = program::run(RESTORE, restore).await {
        // Nothing of it stays: it was one transaction.
        replaced.move_back(&database).await?;
        return Err(error);
    }
    let kept = replaced.finish(&database).await?;
    database.close().await.attempt("close database")?;
    Ok(kept.map(|kept| format!("schema {kept} of {address}")))
}

/// What stands where a snapshot is put back.
struct Replaced {
    schema: String,
    /// Without the mark.
    tables: Vec<String>,
    /// The schema that they are moved to.
    aside: String,
    /// What a restore that was cut off left.
    left: Option<Left>,
}

impl Replaced {
    /// Makes room, and marks that in the same transaction.
    async fn move_aside(&self, database: &DatabaseConnection) -> Result<(), RegistryError> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let mut statements = vec![format!("CREATE SCHEMA {}", quoted(&self.aside))];
        statements.extend(moves(&self.tables, &self.schema, &self.aside));
        let (aside, mark) = (self.aside.replace('\'', "''"), self.mark());
        match &self.left {
            None => statements.push(format!(
                "CREATE TABLE {mark} AS \
                 SELECT '{aside}'::text AS former_schema, NULL::text AS discarded_schema"
            )),
            // What a restore was cut off after is not what was before it.
            Some(_) => {
                statements.extend(self.discard(database).await?);
                statements.push(format!("UPDATE {mark} SET discarded_schema = '{aside}'"));
            }
        }
        all_or_none(database, statements).await
    }

    /// Undoes that after a restore that failed, or what one that was cut off has done.
    async fn move_back(&self, database: &DatabaseConnection) -> Result<(), RegistryError> {
        let mark = self.mark();
        let (from, tables, unmark) = match (&self.left, self.tables.is_empty()) {
            (None, true) => return Ok(()),
            (Some(left), true) => {
                let former = tables(database, &left.former).await?;
                (&left.former, former, format!("DROP TABLE {mark}"))
            }
            (None, false) => {
                let unmark = format!("DROP TABLE {mark}");
                (&self.aside, self.tables.clone(), unmark)
            }
            (Some(_), false) => {
                let unmark = format!("UPDATE {mark} SET discarded_schema = NULL");
                (&self.aside, self.tables.clone(), unmark)
            }
        };
        let mut statements: Vec<String> = moves(&tables, from, &self.schema).collect();
        statements.push(format!("DROP SCHEMA IF EXISTS {}", quoted(from)));
        statements.push(unmark);
        if self.tables.is_empty() {
            statements.extend(self.discard(database).await?);
        }
        all_or_none(database, statements).await
    }

    /// Takes the mark away together with what nobody has worked with, and tells where the tables from before are.
    async fn finish(self, database: &DatabaseConnection) -> Result<Option<String>, RegistryError> {
        let mut statements = vec![format!("DROP TABLE IF EXISTS {}", self.mark())];
        let moved = (!self.tables.is_empty()).then(|| self.aside.clone());
        let kept = match &self.left {
            None => moved,
            Some(left) => {
                statements.extend(self.discard(database).await?);
                if let Some(moved) = moved {
                    statements.extend(drops(&self.tables, &moved));
                }
                Some(left.former.clone())
            }
        };
        all_or_none(database, statements).await?;
        Ok(kept)
    }

    /// What removes the tables that a restore which was cut off had put back, once they were moved aside. A schema that
    /// holds anything else fails it, and stays.
    async fn discard(&self, database: &DatabaseConnection) -> Result<Vec<String>, RegistryError> {
        let discarded = self.left.as_ref().and_then(|left| left.discarded.as_ref());
        match discarded {
            None => Ok(Vec::new()),
            Some(schema) => Ok(drops(&tables(database, schema).await?, schema).collect()),
        }
    }

    fn mark(&self) -> String {
        format!("{}.{}", quoted(&self.schema), unfinished::TABLE)
    }
}

/// Reads the whole dump, and gives the schema it is of and what it says of itself.
async fn look(address: &Address, file: &Path) -> Result<(String, Contents), SnapshotError> {
    let mut whole = address.command(RESTORE);
    whole.arg("--file=/dev/null").arg(file);
    let refused = |error| match error {
        SnapshotError::Program { message, .. } => not_a_snapshot(file, message),
        other => other,
    };
    program::run(RESTORE, whole).await.map_err(refused)?;
    let mut few = address.command(RESTORE);
    few.args(["--data-only", "--file=-"])
        .args(["--table=schema_migrations", "--table=master_key_check"])
        .arg(file);
    let text = program::run(RESTORE, few).await.map_err(refused)?;
    read_copies(&String::from_utf8_lossy(&text))
        .ok_or_else(|| not_a_snapshot(file, "it is no database of Moorline"))
}

/// Reads the rows of the two tables out of `COPY schema.table (columns) FROM stdin;` and the lines up to `\.`.
fn read_copies(text: &str) -> Option<(String, Contents)> {
    let mut schema = None;
    let mut contents = Contents {
        migrations: Vec::new(),
        key_hash: None,
    };
    let mut table = "";
    for line in text.lines() {
        if let Some(copy) = line.strip_prefix("COPY ") {
            for name in ["schema_migrations", "master_key_check"] {
                if let Some((before, _)) = copy.split_once(&format!(".{name} (")) {
                    table = name;
                    schema = Some(unquoted(before));
                }
            }
        } else if line == "\\." {
            table = "";
        } else if let Some((first, rest)) = line.split_once('\t') {
            match table {
                "schema_migrations" => {
                    let name = rest.split('\t').next().unwrap_or_default();
                    contents.migrations.push((first.parse().ok()?, name.into()));
                }
                "master_key_check" => {
                    let hash = rest.split('\t').next().unwrap_or_default();
                    let hex = hash.strip_prefix("\\\\x")?;
                    let hash = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
                    contents.key_hash = Some(hash);
                }
                _ => {}
            }
        }
    }
    contents.migrations.sort();
    Some((schema?, contents))
}

/// What moves `tables` between two schemas. Their indexes and sequences go along.
fn moves(tables: &[String], from: &str, to: &str) -> impl Iterator<Item = String> {
    let (from, to) = (quoted(from), quoted(to));
    tables
        .iter()
        .map(move |table| format!("ALTER TABLE {from}.{} SET SCHEMA {to}", quoted(table)))
}

/// What removes `tables` and then the schema that has nothing but them. One statement, since they name each other.
fn drops(tables: &[String], schema: &str) -> impl Iterator<Item = String> {
    let schema = quoted(schema);
    let tables: Vec<String> = tables
        .iter()
        .map(|table| format!("{schema}.{}", quoted(table)))
        .collect();
    let tables = (!tables.is_empty()).then(|| format!("DROP TABLE {}", tables.join(", ")));
    let schema = format!("DROP SCHEMA IF EXISTS {schema}");
    tables.into_iter().chain([schema])
}

async fn all_or_none(
    database: &DatabaseConnection,
    statements: Vec<String>,
) -> Result<(), RegistryError> {
    const ATTEMPT: &str = "move tables to another schema";
    let transaction = database.begin().await.attempt(ATTEMPT)?;
    let lock_wait = "SET LOCAL lock_timeout = '10s'".to_owned();
    for statement in std::iter::once(lock_wait).chain(statements) {
        transaction
            .execute_unprepared(&statement)
            .await
            .attempt(ATTEMPT)?;
    }
    transaction.commit().await.attempt(ATTEMPT)
}

/// Servers of other data folders may share the database, and the program of a restore that was killed may go on.
async fn refuse_others(
    database: &DatabaseConnection,
    address: &Address,
) -> Result<(), SnapshotError> {
    const OTHERS: &str = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid() \
        AND application_name IN ('moorline-server', 'moorline-backup'))";
    if one(database, OTHERS).await?.unwrap_or(false) {
        return Err(SnapshotError::InUse(address.to_string()));
    }
    Ok(())
}

async fn schema(database: &DatabaseConnection) -> Result<String, RegistryError> {
    one(database, "SELECT current_schema()::text")
        .await?
        .ok_or(RegistryError::Address {
            reason: "the database has no schema that may be used",
        })
}

async fn holds_registry(database: &DatabaseConnection) -> Result<bool, RegistryError> {
    const SQL: &str = "SELECT to_regclass(quote_ident(current_schema()) || '.schema_migrations') IS NOT NULL \
        AND to_regclass(quote_ident(current_schema()) || '.master_key_check') IS NOT NULL";
    Ok(one(database, SQL).await?.unwrap_or(false))
}

async fn tables(database: &DatabaseConnection, schema: &str) -> Result<Vec<String>, RegistryError> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 AND tablename <> $2 ORDER BY 1",
        [schema.into(), unfinished::TABLE.into()],
    );
    let rows = database
        .query_all_raw(statement)
        .await
        .attempt("list tables")?;
    rows.iter()
        .map(|row| row.try_get_by_index(0))
        .collect::<Result<_, _>>()
        .attempt("list tables")
}

async fn one<T: sea_orm::TryGetable>(
    database: &DatabaseConnection,
    sql: &str,
) -> Result<Option<T>, RegistryError> {
    let row = database
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .attempt("read database")?;
    row.map(|row| row.try_get_by_index::<Option<T>>(0))
        .transpose()
        .map(Option::flatten)
        .attempt("read database")
}

async fn connect(url: &str) -> Result<DatabaseConnection, RegistryError> {
    // The library knows the short form only.
    let url = url
        .strip_prefix("postgresql:")
        .map_or_else(|| url.to_owned(), |rest| format!("postgres:{rest}"));
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .acquire_timeout(CONNECT)
        .connect_timeout(CONNECT)
        .sqlx_logging(false)
        .set_application_name(APPLICATION);
    Database::connect(options).await.attempt("open database")
}

/// Where the database is, in the words of PostgreSQL's own programs.
struct Address {
    host: String,
    port: u16,
    user: String,
    database: String,
    password: Option<Secret<String>>,
    /// Further variables of the environment.
    further: Vec<(&'static str, String)>,
}

impl Address {
    /// Understands what the library does, and takes the defaults that it takes.
    fn parse(url: &str) -> Result<Self, RegistryError> {
        let unusable = || RegistryError::Address {
            reason: "it cannot be parsed",
        };
        let options = PgConnectOptions::from_str(url).map_err(|_| unusable())?;
        let plain = options.to_url_lossy();
        let password = plain
            .password()
            .map(|encoded| decoded(encoded).map(Secret::new).ok_or_else(unusable))
            .transpose()?;
        let mut further = Vec::new();
        for (key, value) in plain.query_pairs() {
            let variable = match &*key {
                "sslmode" => "PGSSLMODE",
                "sslrootcert" => "PGSSLROOTCERT",
                "sslcert" => "PGSSLCERT",
                "sslkey" => "PGSSLKEY",
                _ => continue,
            };
            further.push((variable, value.into_owned()));
        }
        if let Some(settings) = options.get_options() {
            further.push(("PGOPTIONS", settings.to_owned()));
        }
        let user = options.get_username().to_owned();
        Ok(Self {
            host: match options.get_socket() {
                Some(folder) => folder.display().to_string(),
                None => options.get_host().to_owned(),
            },
            port: options.get_port(),
            database: options.get_database().unwrap_or(&user).to_owned(),
            user,
            password,
            further,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["PGPASSWORD", "PGSERVICE", "PGHOSTADDR", "PGOPTIONS"] {
            command.env_remove(variable);
        }
        command
            .env("PGHOST", &self.host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGAPPNAME", APPLICATION)
            .env("LC_ALL", "C")
            .envs(self.further.iter().map(|(name, value)| (name, value)));
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password.expose());
        }
        command
    }

    /// The name of the database as a connection string, which no character in it can make into anything else.
    fn connection(&self) -> String {
        let name = self.database.replace('\\', "\\\\").replace('\'', "\\'");
        format!("dbname='{name}'")
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "database {} at {}", self.database, self.host)
    }
}

/// Undoes percent-encoding of everything but letters and digits.
fn decoded(encoded: &str) -> Option<String> {
    let pair = format!("password={}", encoded.replace('+', "%2B"));
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&pair).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn unquoted(name: &str) -> String {
    let inner = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    inner.map_or_else(|| name.to_owned(), |inner| inner.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stands_in_the_environment_alone() {
        let url = "postgres://us%40er:p%20%2B%25%2F%40%C3%A4@db.example.net:5433/moor%27line?sslmode=require";
        let address = Address::parse(url).unwrap();
        let mut command = address.command(DUMP);
        command.arg(address.connection());
        let env = |name: &str| {
            let mut all = command.get_envs();
            all.find(|(key, _)| *key == name)
                .and_then(|(_, value)| value?.to_str())
        };
        assert_eq!(env("PGPASSWORD"), Some("p +%/@ä"));
        assert_eq!(env("PGUSER"), Some("us@er"));
        assert_eq!(env("PGHOST"), Some("db.example.net"));
        assert_eq!(env("PGPORT"), Some("5433"));
        assert_eq!(env("PGSSLMODE"), Some("require"));
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, [r"dbname='moor\'line'"]);
        assert!(!address.to_string().contains("p +"));
    }

    #[test]
    fn rows_are_read_out_of_a_dump() {
        let text = "SET x;\nCOPY \"my \"\"own\".schema_migrations (number, name, applied_at) FROM stdin;\n\
            2\tsessions\t5\n1\tfirst\t4\n\\.\n\nCOPY \"my \"\"own\".master_key_check (id, hash, lasting_sealed) FROM stdin;\n\
            1\t\\\\x00ff\t\\N\n\\.\n";
        let (schema, contents) = read_copies(text).unwrap();
        assert_eq!(schema, "my \"own");
        let expected = [(1, "first".to_owned()), (2, "sessions".to_owned())];
        assert_eq!(contents.migrations, expected);
        assert_eq!(contents.key_hash, Some(vec![0, 255]));
        assert!(read_copies("SET x;\n").is_none());
    }
}
