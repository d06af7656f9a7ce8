//! Key binding tokens: whoever has one registers keys to its account (openport contract section 7).

use moorline_protocol::Secret;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::Registry;
use super::entity::account;
use super::error::{Attempt as _, RegistryError};
use super::model::{Account, AccountId};
use crate::random;

impl Registry {
    /// The key binding token of an account, made when it is first asked for; `None` for an unknown account and for
    /// the anonymous one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn binding_token(
        &self,
        id: AccountId,
    ) -> Result<Option<Secret<String>>, RegistryError> {
        // Another process may make one at the same time; then the second look finds it.
        for _ in 0..2 {
            let Some(row) = self.bindable(id).await? else {
                return Ok(None);
            };
            if let Some(sealed) = &row.binding_token_sealed {
                return self.open_binding_token(id, sealed).map(Some);
            }
            let made = Secret::new(random::binding_token());
            if self.put_binding_token(id, &made, Put::IfNone).await? {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    /// Gives an account a new key binding token; the old one is refused from then on. `None` as above.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn renew_binding_token(
        &self,
        id: AccountId,
    ) -> Result<Option<Secret<String>>, RegistryError> {
        if self.bindable(id).await?.is_none() {
            return Ok(None);
        }
        let made = Secret::new(random::binding_token());
        let put = self.put_binding_token(id, &made, Put::Always).await?;
        Ok(put.then_some(made))
    }

    /// The account that `token` registers keys to.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn account_by_binding_token(
        &self,
        token: &str,
    ) -> Result<Option<Account>, RegistryError> {
        let row = account::Entity::find()
            .filter(account::Column::BindingTokenHash.eq(self.binding_token_hash(token)))
            .one(&self.store.read)
            .await
            .attempt("look up key binding token")?;
        Ok(row.map(Account::from))
    }

    async fn bindable(&self, id: AccountId) -> Result<Option<account::Model>, RegistryError> {
        let row = account::Entity::find_by_id(id.0)
            .one(&self.store.read)
            .await
            .attempt("read account")?;
        Ok(row.filter(|row| row.id != super::accounts::ANONYMOUS))
    }

    async fn put_binding_token(
        &self,
        id: AccountId,
        token: &Secret<String>,
        put: Put,
    ) -> Result<bool, RegistryError> {
        let sealed = self
            .store
            .keys
            .seal(&place(id), token.expose().as_bytes())
            .map_err(|_| RegistryError::Seal {
                attempt: "seal key binding token",
            })?;
        let hash = self.binding_token_hash(token.expose());
        let mut update = account::Entity::update_many()
            .col_expr(account::Column::BindingTokenHash, Expr::value(hash))
            .col_expr(account::Column::BindingTokenSealed, Expr::value(sealed))
            .filter(account::Column::Id.eq(id.0));
        if put == Put::IfNone {
            update = update.filter(account::Column::BindingTokenHash.is_null());
        }
        let done = update
            .exec(&self.store.write)
            .await
            .attempt("set key binding token")?;
        Ok(done.rows_affected > 0)
    }

    fn open_binding_token(
        &self,
        id: AccountId,
        sealed: &[u8],
    ) -> Result<Secret<String>, RegistryError> {
        let opened = self.store.keys.open(&place(id), sealed);
        let opened = opened.map_err(|_| RegistryError::Seal {
            attempt: "open key binding token",
        })?;
        String::from_utf8(opened.into_exposed())
            .map(Secret::new)
            .map_err(|_| RegistryError::Damaged {
                column: "accounts.binding_token_sealed",
            })
    }

    fn binding_token_hash(&self, token: &str) -> Vec<u8> {
        self.store.keys.keyed_hash(HASH, token.as_bytes())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    Always,
    IfNone,
}

/// Where tokens are sealed into, before the number of the account.
pub(super) const SEALED_AT: &str = "accounts.binding_token";
/// Purpose of the hash by which a token is found.
pub(super) const HASH: &str = "key binding token";

/// Where a token is sealed into: it opens for its own account alone.
fn place(id: AccountId) -> String {
    format!("{SEALED_AT} {id}")
}
