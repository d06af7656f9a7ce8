//! The schema, by numbered steps that are only ever added to.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use super::error::{Attempt as _, RegistryError};
use super::model::Timestamp;

/// One step; both databases have the same numbers and names.
struct Migration {
    number: i32,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "first",
        sqlite: include_str!("../../migrations/sqlite/0001_first.sql"),
        postgres: include_str!("../../migrations/postgres/0001_first.sql"),
    },
    Migration {
        number: 2,
        name: "sessions",
        sqlite: include_str!("../../migrations/sqlite/0002_sessions.sql"),
        postgres: include_str!("../../migrations/postgres/0002_sessions.sql"),
    },
    Migration {
        number: 3,
        name: "control",
        sqlite: include_str!("../../migrations/sqlite/0003_control.sql"),
        postgres: include_str!("../../migrations/postgres/0003_control.sql"),
    },
    Migration {
        number: 4,
        name: "lasting_key",
        sqlite: include_str!("../../migrations/sqlite/0004_lasting_key.sql"),
        postgres: include_str!("../../migrations/postgres/0004_lasting_key.sql"),
    },
    Migration {
        number: 5,
        name: "listing",
        sqlite: include_str!("../../migrations/sqlite/0005_listing.sql"),
        postgres: include_str!("../../migrations/postgres/0005_listing.sql"),
    },
];

/// Processes that start at once migrate one after the other. Any fixed number does.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7166514)";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// Applies what is missing. The transaction must hold the write lock of SQLite already.
pub(super) async fn apply(transaction: &DatabaseTransaction) -> Result<(), RegistryError> {
    let backend = transaction.get_database_backend();
    if backend == DbBackend::Postgres {
        run(transaction, POSTGRES_LOCK).await?;
    }
    run(transaction, TABLE).await?;
    let applied = highest(transaction).await?;
    let known = MIGRATIONS.last().map_or(0, |last| last.number);
    if applied > known {
        return Err(RegistryError::TooNew {
            found: applied,
            known,
        });
    }
    for step in MIGRATIONS.iter().filter(|step| step.number > applied) {
        let sql = match backend {
            DbBackend::Postgres => step.postgres,
            _ => step.sqlite,
        };
        run(transaction, sql).await?;
        let noted = Statement::from_sql_and_values(
            backend,
            "INSERT INTO schema_migrations (number, name, applied_at) VALUES ($1, $2, $3)",
            [
                step.number.into(),
                step.name.into(),
                Timestamp::now().0.into(),
            ],
        );
        transaction
            .execute_raw(noted)
            .await
            .attempt("note migration")?;
    }
    Ok(())
}

/// Whether a database with these steps, in order, was made by this program.
///
/// # Errors
/// [`RegistryError::TooNew`] when it has more of them than are known.
pub(super) fn recognise(applied: &[(i32, String)]) -> Result<bool, RegistryError> {
    let fits = |((number, name), step): (&(i32, String), &Migration)| {
        *number == step.number && name == step.name
    };
    if applied.is_empty() || !applied.iter().zip(MIGRATIONS).all(fits) {
        return Ok(false);
    }
    let known = MIGRATIONS.last().map_or(0, |last| last.number);
    let found = applied.last().map_or(0, |last| last.0);
    if found > known {
        return Err(RegistryError::TooNew { found, known });
    }
    Ok(true)
}

async fn highest(transaction: &DatabaseTransaction) -> Result<i32, RegistryError> {
    let statement = Statement::from_string(
        transaction.get_database_backend(),
        "SELECT COALESCE(MAX(number), 0) AS number FROM schema_migrations",
    );
    let row = transaction
        .query_one_raw(statement)
        .await
        .attempt("read migrations")?;
    row.map_or(Ok(0), |row| row.try_get("", "number"))
        .attempt("read migrations")
}

async fn run(transaction: &DatabaseTransaction, sql: &str) -> Result<(), RegistryError> {
    transaction
        .execute_unprepared(sql)
        .await
        .map(|_| ())
        .attempt("migrate database")
}

#[cfg(test)]
mod tests {
    use sea_orm::{Database, TransactionTrait as _};

    use super::*;

    #[tokio::test]
    async fn what_is_there_comes_along() {
        let database = Database::connect("sqlite::memory:").await.unwrap();
        let transaction = database.begin().await.unwrap();
        run(&transaction, TABLE).await.unwrap();
        run(&transaction, MIGRATIONS[0].sqlite).await.unwrap();
        let first = "INSERT INTO schema_migrations VALUES (1, 'first', 0); \
            INSERT INTO accounts (id, uid, name, name_folded, created_at) VALUES (1, 'a', 'a', 'a', 0); \
            INSERT INTO users (id, account_id, username, short_id, role, status, password_hash, created_at, updated_at) \
            VALUES (x'01', 1, 'anna', 'abc123', 'admin', 'active', '', 0, 0); \
            INSERT INTO user_keys VALUES (x'02', x'01', 'l', 'k', 'c', 'f', 0); \
            INSERT INTO events (at, level, kind, message, metadata) VALUES (0, 'info', 'k', 'm', '{}')";
        run(&transaction, first).await.unwrap();
        apply(&transaction).await.unwrap();
        let last = MIGRATIONS.last().unwrap().number;
        assert_eq!(highest(&transaction).await.unwrap(), last);
        let kept = "SELECT COUNT(*) AS kept FROM short_ids JOIN users ON users.id = short_ids.user_id \
            JOIN user_keys ON user_keys.user_id = users.id, events \
            WHERE short_ids.short_id = 'abc123' AND purpose = 'inbound' AND events.host_id IS NULL";
        let row = transaction
            .query_one_raw(Statement::from_string(DbBackend::Sqlite, kept))
            .await
            .unwrap();
        assert_eq!(row.unwrap().try_get::<i64>("", "kept").unwrap(), 1);
    }

    #[test]
    fn numbers_count_up_from_one() {
        assert_eq!(MIGRATIONS.len(), 5);
        for (expected, step) in (1..).zip(MIGRATIONS) {
            assert_eq!(step.number, expected, "{}", step.name);
        }
    }
}
