//! Passwords that are good for one login to a host (control contract section 13).

use moorline_protocol::Secret;
use sea_orm::{ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::Registry;
use super::entity::{host, one_time_password, user};
use super::error::{Attempt as _, RegistryError};
use super::model::{HostId, Timestamp, User};

/// One-time passwords of a host that are good at once; past it the oldest dies.
const MAX_ONE_TIME_PASSWORDS: u64 = 64;
/// What one-time passwords are hashed for.
const PURPOSE: &str = "one-time password";

impl Registry {
    /// Keeps the hash of a password that is good for one login to this host until `expires_at`. False when `owner`,
    /// who asked for it, is not its owner any more or was changed meanwhile so that their tokens were cut.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn add_one_time_password(
        &self,
        id: HostId,
        owner: &User,
        password: &Secret<String>,
        expires_at: Timestamp,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let same = user::Entity::find_by_id(owner.id.0)
            .filter(user::Column::TokenVersion.eq(owner.token_version))
            .lock_shared()
            .one(&transaction)
            .await
            .attempt("read owner of host")?;
        let owned = host::Entity::find_by_id(id.0)
            .filter(host::Column::UserId.eq(owner.id.0))
            .lock_shared()
            .one(&transaction)
            .await
            .attempt("read host")?;
        if same.is_none() || owned.is_none() {
            return Ok(false);
        }
        one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::ExpiresAt.lte(Timestamp::now().0))
            .exec(&transaction)
            .await
            .attempt("let old one-time passwords go")?;
        let good = one_time_password::Entity::find()
            .filter(one_time_password::Column::HostId.eq(id.0))
            .order_by_desc(one_time_password::Column::ExpiresAt)
            .limit(2 * MAX_ONE_TIME_PASSWORDS)
            .offset(MAX_ONE_TIME_PASSWORDS - 1)
            .all(&transaction)
            .await
            .attempt("count one-time passwords")?;
        one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::Hash.is_in(good.into_iter().map(|row| row.hash)))
            .exec(&transaction)
            .await
            .attempt("limit one-time passwords")?;
        let row = one_time_password::ActiveModel {
            hash: ActiveValue::Set(self.one_time_hash(password)),
            host_id: ActiveValue::Set(id.0),
            expires_at: ActiveValue::Set(expires_at.0),
        };
        one_time_password::Entity::insert(row)
            .exec_without_returning(&transaction)
            .await
            .attempt("keep one-time password")?;
        transaction
            .commit()
            .await
            .attempt("keep one-time password")?;
        Ok(true)
    }

    /// Whether `password` is good for a login to this host now; from then on it is not.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn take_one_time_password(
        &self,
        id: HostId,
        password: &Secret<String>,
    ) -> Result<bool, RegistryError> {
        let done = one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::Hash.eq(self.one_time_hash(password)))
            .filter(one_time_password::Column::HostId.eq(id.0))
            .filter(one_time_password::Column::ExpiresAt.gt(Timestamp::now().0))
            .exec(&self.store.write)
            .await
            .attempt("take one-time password")?;
        Ok(done.rows_affected > 0)
    }

    fn one_time_hash(&self, password: &Secret<String>) -> Vec<u8> {
        let bytes = password.expose().as_bytes();
        self.store.keys.keyed_hash(PURPOSE, bytes)
    }
}
