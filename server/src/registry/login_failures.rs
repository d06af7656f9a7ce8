//! Failed logins, kept so that neither a restart nor another node forgets them (control contract section 1).
//!
//! A subject has one number, the time when its budget is full again (the generic cell rate algorithm, as in
//! [`crate::rate_limit`]). What was typed is kept as a keyed hash: people type passwords into the wrong field.

use std::time::Duration;

use data_encoding::HEXLOWER;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, Statement,
};

use super::Registry;
use super::entity::login_failure;
use super::error::{Attempt as _, RegistryError};
use super::model::Timestamp;

/// Written so that both databases understand it: one failure takes `$4` from the budget.
const COUNT: &str = "INSERT INTO login_failures (kind, subject, full_at) VALUES ($1, $2, $3 + $4) \
    ON CONFLICT (kind, subject) DO UPDATE SET full_at = $4 + \
    CASE WHEN login_failures.full_at > $3 THEN login_failures.full_at ELSE $3 END";

impl Registry {
    /// When the budget of `subject` is full again; `None` when it is.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn login_budget_full_at(
        &self,
        kind: &str,
        subject: &str,
    ) -> Result<Option<Timestamp>, RegistryError> {
        let row = login_failure::Entity::find_by_id((kind.to_owned(), self.hashed(subject)))
            .one(&self.store.read)
            .await
            .attempt("read failed logins")?;
        Ok(row.map(|row| Timestamp(row.full_at)))
    }

    /// Takes one failure from the budget of `subject`, which takes `step` to come back.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_login_failure(
        &self,
        kind: &str,
        subject: &str,
        now: Timestamp,
        step: Duration,
    ) -> Result<(), RegistryError> {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        let statement = Statement::from_sql_and_values(
            self.store.write.get_database_backend(),
            COUNT,
            [
                kind.into(),
                self.hashed(subject).into(),
                now.0.into(),
                step.into(),
            ],
        );
        self.store
            .write
            .execute_raw(statement)
            .await
            .map(|_| ())
            .attempt("count failed login")
    }

    /// Forgets the subjects whose budget is full again.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forget_login_failures(&self, now: Timestamp) -> Result<u64, RegistryError> {
        let done = login_failure::Entity::delete_many()
            .filter(login_failure::Column::FullAt.lte(now.0))
            .exec(&self.store.write)
            .await
            .attempt("forget failed logins")?;
        Ok(done.rows_affected)
    }

    fn hashed(&self, subject: &str) -> String {
        HEXLOWER.encode(
            &self
                .store
                .keys
                .keyed_hash("failed login", subject.as_bytes()),
        )
    }
}
