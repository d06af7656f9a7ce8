//! The mark of a restore that is under way on PostgreSQL. Whoever finds it beside no registry, or beside one that was
//! just put back, must not take that for the database.
//!
//! It names the schema with the tables from before the restore, and the one with what a restore that was cut off had
//! put back, once the next one has moved that aside: nobody has ever worked with it, so it goes when a restore is over.
//!
//! *Invariant:* it is set in the transaction that moves the former tables aside, and goes with their return or as the
//! last step of a restore.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::super::error::{Attempt as _, RegistryError};

/// The table that is the mark. It has one row.
pub(super) const TABLE: &str = "moorline_restoring";

/// The schemas that a restore which has not finished left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Has the tables from before it.
    pub(super) former: String,
    /// Has what one that was cut off had put back, unless that still stands in its place.
    pub(super) discarded: Option<String>,
}

/// Refuses a database that a restore has not finished with.
pub(in crate::registry) async fn refuse(
    database: &impl ConnectionTrait,
) -> Result<(), RegistryError> {
    match left(database).await? {
        None => Ok(()),
        Some(Left { former, .. }) => Err(RegistryError::RestoreUnfinished { schema: former }),
    }
}

/// What a restore that has not finished left, if there is one.
pub(super) async fn left(database: &impl ConnectionTrait) -> Result<Option<Left>, RegistryError> {
    const MARKED: &str = "SELECT current_schema() FROM pg_tables \
        WHERE schemaname = current_schema() AND tablename = 'moorline_restoring'";
    const LEFT: &str = "SELECT former_schema, discarded_schema FROM moorline_restoring";
    const ATTEMPT: &str = "look for an unfinished restore";
    let row = async |sql| {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        database.query_one_raw(statement).await.attempt(ATTEMPT)
    };
    if row(MARKED).await?.is_none() {
        return Ok(None);
    }
    let row = row(LEFT).await?.ok_or(RegistryError::Damaged {
        column: "moorline_restoring.former_schema",
    })?;
    Ok(Some(Left {
        former: row.try_get_by_index(0).attempt(ATTEMPT)?,
        discarded: row.try_get_by_index(1).attempt(ATTEMPT)?,
    }))
}
