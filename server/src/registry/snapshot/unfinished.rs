//! The mark of a restore that is under way on PostgreSQL. Whoever finds it beside no registry, or beside one that was
//! just put back, must not take that for the database.
//!
//! *Invariant:* it is set in the transaction that moves the former tables aside, and goes with their return or as the
//! last step of a restore.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::super::error::{Attempt as _, RegistryError};

/// The table that is the mark. It has one row.
pub(super) const TABLE: &str = "moorline_restoring";

/// Refuses a database that a restore has not finished with.
pub(in crate::registry) async fn refuse(
    database: &impl ConnectionTrait,
) -> Result<(), RegistryError> {
    match former_schema(database).await? {
        None => Ok(()),
        Some(schema) => Err(RegistryError::RestoreUnfinished { schema }),
    }
}

/// The schema that holds the tables from before a restore that has not finished.
pub(super) async fn former_schema(
    database: &impl ConnectionTrait,
) -> Result<Option<String>, RegistryError> {
    const MARKED: &str = "SELECT current_schema() FROM pg_tables \
        WHERE schemaname = current_schema() AND tablename = 'moorline_restoring'";
    const FORMER: &str = "SELECT former_schema FROM moorline_restoring";
    const ATTEMPT: &str = "look for an unfinished restore";
    let row = async |sql| {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        database.query_one_raw(statement).await.attempt(ATTEMPT)
    };
    if row(MARKED).await?.is_none() {
        return Ok(None);
    }
    let former = row(FORMER).await?.ok_or(RegistryError::Damaged {
        column: "moorline_restoring.former_schema",
    })?;
    former.try_get_by_index(0).map(Some).attempt(ATTEMPT)
}
