//! Accounts.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _};

use super::entity::account;
use super::error::{AccountError, Attempt as _, RegistryError};
use super::model::{Account, AccountId, Timestamp};
use super::{Registry, folded};
use crate::random;

/// Number of the account of devices that nobody has registered.
pub(super) const ANONYMOUS: i64 = 0;
/// Name of the account that is made when there is none.
const FIRST_NAME: &str = "main";

impl Registry {
    /// The oldest account; makes `main` if there is none.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn first_account(&self) -> Result<Account, RegistryError> {
        // Another process may make it at the same time; then the second look finds it.
        for _ in 0..2 {
            if let Some(first) = self.accounts().await?.into_iter().next() {
                return Ok(first);
            }
            match self.create_account(FIRST_NAME).await {
                Ok(account) => return Ok(account),
                Err(AccountError::NameTaken) => {}
                Err(AccountError::Registry(error)) => return Err(error),
            }
        }
        Err(RegistryError::Damaged {
            column: "accounts.name",
        })
    }

    /// The account with this number.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, RegistryError> {
        let row = account::Entity::find_by_id(id.0)
            .one(&self.store.read)
            .await
            .attempt("read account")?;
        Ok(row.map(Account::from))
    }

    /// The account of this name, case does not count.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn account_by_name(&self, name: &str) -> Result<Option<Account>, RegistryError> {
        let row = account::Entity::find()
            .filter(account::Column::NameFolded.eq(folded(name)))
            .filter(account::Column::Id.ne(ANONYMOUS))
            .one(&self.store.read)
            .await
            .attempt("read account")?;
        Ok(row.map(Account::from))
    }

    /// All accounts but the anonymous one, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn accounts(&self) -> Result<Vec<Account>, RegistryError> {
        let rows = account::Entity::find()
            .filter(account::Column::Id.ne(ANONYMOUS))
            .order_by_asc(account::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list accounts")?;
        Ok(rows.into_iter().map(Account::from).collect())
    }

    /// The accounts that are suspended.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn suspended_accounts(&self) -> Result<Vec<AccountId>, RegistryError> {
        let rows = account::Entity::find()
            .filter(account::Column::Suspended.eq(true))
            .all(&self.store.read)
            .await
            .attempt("list suspended accounts")?;
        Ok(rows.into_iter().map(|row| AccountId(row.id)).collect())
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn create_account(&self, name: &str) -> Result<Account, AccountError> {
        let row = account::ActiveModel {
            id: ActiveValue::NotSet,
            uid: ActiveValue::Set(random::id("_acc_")),
            name: ActiveValue::Set(name.to_owned()),
            name_folded: ActiveValue::Set(folded(name)),
            suspended: ActiveValue::Set(false),
            default_region: ActiveValue::Set(None),
            created_at: ActiveValue::Set(Timestamp::now().0),
            binding_token_hash: ActiveValue::Set(None),
            binding_token_sealed: ActiveValue::Set(None),
        };
        match row
            .insert(&self.store.write)
            .await
            .attempt("create account")
        {
            Ok(row) => Ok(row.into()),
            Err(error) if error.unique_violation().is_some() => Err(AccountError::NameTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Suspends an account or takes it into service again. False when there is none.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn suspend_account(
        &self,
        id: AccountId,
        suspended: bool,
    ) -> Result<bool, RegistryError> {
        let done = account::Entity::update_many()
            .col_expr(account::Column::Suspended, Expr::value(suspended))
            .filter(account::Column::Id.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("suspend account")?;
        Ok(done.rows_affected > 0)
    }

    /// Sets the region of devices that name none. False when there is no such account.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_default_region(
        &self,
        id: AccountId,
        region: Option<String>,
    ) -> Result<bool, RegistryError> {
        let done = account::Entity::update_many()
            .col_expr(account::Column::DefaultRegion, Expr::value(region))
            .filter(account::Column::Id.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("set default region")?;
        Ok(done.rows_affected > 0)
    }
}

impl From<account::Model> for Account {
    fn from(row: account::Model) -> Self {
        Self {
            id: AccountId(row.id),
            uid: row.uid,
            name: row.name,
            suspended: row.suspended,
            default_region: row.default_region,
        }
    }
}
