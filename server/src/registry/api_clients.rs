//! API clients and their keys (API client contract). A secret is kept sealed, and found by a keyed hash.
//!
//! | module | holds |
//! |---|---|
//! | `rows` | rows from and into the domain |
//! | `naming` | names made up here |
//! | `list` | finding, filters, pages |
//! | `change` | updates, locks, new secrets, removal |
//! | `contexts` | devices that a context names |

use std::collections::HashMap;

use moorline_protocol::Secret;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _};

use super::entity::{api_client, api_key};
use super::error::{ApiClientError, Attempt as _, RegistryError};
use super::model::{AccountId, ApiClient, ApiKey, ClientDetails, NewApiClient, Timestamp};
use super::{Registry, folded};
use crate::random;

mod change;
mod contexts;
mod list;
mod naming;
mod rows;

pub(super) use rows::{ACCOUNT_CONTEXT, SEALED_AT, has_scope};

/// What the keyed hash of a secret is for.
pub(super) const SECRET_HASH: &str = "api key secret";
/// How often a name is made up when others take those that were free a moment before.
const NAME_ATTEMPTS: usize = 5;

impl Registry {
    /// Makes an API client and its key; the secret is in the answer alone.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub async fn create_api_client(
        &self,
        account: AccountId,
        new: NewApiClient,
    ) -> Result<(ApiKey, Secret<String>), ApiClientError> {
        let made = self.create_detailed_api_client(account, new, ClientDetails::default());
        let (_, key, secret) = made.await?;
        Ok((key, secret))
    }

    /// As [`Self::create_api_client`], with what it is beside its name and its key. Without a name it gets one made
    /// of its friendly name, or by chance.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub async fn create_detailed_api_client(
        &self,
        account: AccountId,
        new: NewApiClient,
        details: ClientDetails,
    ) -> Result<(ApiClient, ApiKey, Secret<String>), ApiClientError> {
        let given = new.name.is_some();
        for _ in 0..NAME_ATTEMPTS {
            let made = self.insert_api_client(account, &new, &details).await;
            // Of a name made here another process may have been faster.
            if given || !matches!(made, Err(ApiClientError::NameTaken)) {
                return made;
            }
        }
        Err(ApiClientError::NameTaken)
    }

    async fn insert_api_client(
        &self,
        account: AccountId,
        new: &NewApiClient,
        details: &ClientDetails,
    ) -> Result<(ApiClient, ApiKey, Secret<String>), ApiClientError> {
        let now = Timestamp::now();
        let secret = random::api_key_secret();
        let transaction = self.store.begin().await?;
        let name = match &new.name {
            Some(name) => name.clone(),
            None => {
                naming::made_up(&transaction, account, details.friendly_name.as_deref()).await?
            }
        };
        let client = rows::client_row(account, name, details.clone(), now);
        let key = self.key_row(account, &client, new, &secret, now)?;
        let inserted = client.insert(&transaction).await;
        let client = match inserted.attempt("create API client") {
            Ok(client) => client,
            Err(error) if error.unique_violation().is_some() => {
                return Err(ApiClientError::NameTaken);
            }
            Err(error) => return Err(error.into()),
        };
        let key = key.insert(&transaction).await.attempt("create API key")?;
        transaction.commit().await.attempt("create API client")?;
        let key = rows::api_key(key, client.name.clone())?;
        Ok((rows::client(client)?, key, Secret::new(secret)))
    }

    fn key_row(
        &self,
        account: AccountId,
        client: &api_client::ActiveModel,
        new: &NewApiClient,
        secret: &str,
        now: Timestamp,
    ) -> Result<api_key::ActiveModel, RegistryError> {
        let id = random::id("_key_");
        let limits = new.limits.clone();
        let (context_kind, context_ids) = rows::context_columns(&new.context);
        Ok(api_key::ActiveModel {
            secret_sealed: ActiveValue::Set(self.seal_secret(&id, secret)?),
            id: ActiveValue::Set(id),
            api_client_id: client.id.clone(),
            account_id: ActiveValue::Set(account.0),
            secret_hash: ActiveValue::Set(self.secret_hash(secret)),
            context_kind: ActiveValue::Set(context_kind.to_owned()),
            context_ids: ActiveValue::Set(rows::json_list(&context_ids)),
            scope: ActiveValue::Set(rows::json_list(&new.scope)),
            rate_limit: ActiveValue::Set(new.rate_limit),
            limit_prefix: ActiveValue::Set(limits.prefix),
            limit_region: ActiveValue::Set(limits.region),
            limit_uses: ActiveValue::Set(limits.uses),
            limit_expires_at: ActiveValue::Set(limits.expires_at.map(|at| at.0)),
            created_at: ActiveValue::Set(now.0),
            modified_at: ActiveValue::Set(now.0),
        })
    }

    /// The keys of an account, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn api_keys(&self, account: AccountId) -> Result<Vec<ApiKey>, RegistryError> {
        let mut names: HashMap<String, String> = api_client::Entity::find()
            .filter(api_client::Column::AccountId.eq(account.0))
            .all(&self.store.read)
            .await
            .attempt("list API clients")?
            .into_iter()
            .map(|client| (client.id, client.name))
            .collect();
        api_key::Entity::find()
            .filter(api_key::Column::AccountId.eq(account.0))
            .order_by_asc(api_key::Column::CreatedAt)
            .order_by_asc(api_key::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list API keys")?
            .into_iter()
            // A key whose client was made or removed between the two looks is left out.
            .filter_map(|row| {
                names
                    .remove(&row.api_client_id)
                    .map(|name| rows::api_key(row, name))
            })
            .collect()
    }

    /// Removes an API client with its key, named by the id of either or by its name. False when there is none.
    /// Devices made with it stay.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn revoke_api_key(
        &self,
        account: AccountId,
        id_or_name: &str,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let owner = api_key::Entity::find_by_id(id_or_name)
            .filter(api_key::Column::AccountId.eq(account.0))
            .one(&transaction)
            .await
            .attempt("revoke API key")?
            .map(|key| key.api_client_id);
        let chosen = match owner {
            Some(client) => api_client::Column::Id.eq(client),
            None => api_client::Column::Id
                .eq(id_or_name)
                .or(api_client::Column::NameFolded.eq(folded(id_or_name))),
        };
        let done = api_client::Entity::delete_many()
            .filter(api_client::Column::AccountId.eq(account.0))
            .filter(chosen)
            .exec(&transaction)
            .await
            .attempt("revoke API key")?;
        transaction.commit().await.attempt("revoke API key")?;
        Ok(done.rows_affected > 0)
    }

    /// The key with this secret. Expired ones too: the caller judges that.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn api_key_by_secret(&self, secret: &str) -> Result<Option<ApiKey>, RegistryError> {
        let found = api_key::Entity::find()
            .filter(api_key::Column::SecretHash.eq(self.secret_hash(secret)))
            .one(&self.store.read)
            .await
            .attempt("find API key")?;
        let Some(row) = found else { return Ok(None) };
        let client = api_client::Entity::find_by_id(row.api_client_id.as_str())
            .one(&self.store.read)
            .await
            .attempt("find API client")?;
        client
            .map(|client| rows::api_key(row, client.name))
            .transpose()
    }

    fn seal_secret(&self, key: &str, secret: &str) -> Result<Vec<u8>, RegistryError> {
        let sealed = self
            .store
            .keys
            .seal(&rows::seal_place(key), secret.as_bytes());
        sealed.map_err(|_| RegistryError::Seal {
            attempt: "seal secret of API key",
        })
    }

    fn secret_hash(&self, secret: &str) -> Vec<u8> {
        self.store.keys.keyed_hash(SECRET_HASH, secret.as_bytes())
    }
}
