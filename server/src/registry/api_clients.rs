//! API clients and their keys (API client contract). A secret is kept sealed, and found by a keyed hash.

use std::collections::HashMap;

use moorline_protocol::Secret;
use moorline_protocol::scope::Scope;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _};
use uuid::Uuid;

use super::entity::{api_client, api_key};
use super::error::{ApiClientError, Attempt as _, RegistryError};
use super::model::{AccountId, ApiKey, DeviceId, KeyContext, KeyLimits, NewApiClient, Timestamp};
use super::{Registry, folded};
use crate::random;

/// What the keyed hash of a secret is for.
const SECRET_HASH: &str = "api key secret";
/// How [`KeyContext::Account`] is kept.
pub(super) const ACCOUNT_CONTEXT: &str = "account";

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
        let now = Timestamp::now();
        let secret = random::api_key_secret();
        let client = client_row(account, new.name.clone(), now);
        let key = self.key_row(account, &client, new, &secret, now)?;
        let transaction = self.store.begin().await?;
        let client = match client
            .insert(&transaction)
            .await
            .attempt("create API client")
        {
            Ok(client) => client,
            Err(error) if error.unique_violation().is_some() => {
                return Err(ApiClientError::NameTaken);
            }
            Err(error) => return Err(error.into()),
        };
        let key = key.insert(&transaction).await.attempt("create API key")?;
        transaction.commit().await.attempt("create API client")?;
        Ok((api_key(key, client.name)?, Secret::new(secret)))
    }

    fn key_row(
        &self,
        account: AccountId,
        client: &api_client::ActiveModel,
        new: NewApiClient,
        secret: &str,
        now: Timestamp,
    ) -> Result<api_key::ActiveModel, RegistryError> {
        let id = random::id("_key_");
        let sealed = self.store.keys.seal(&seal_place(&id), secret.as_bytes());
        let (context_kind, context_ids) = context_columns(&new.context);
        Ok(api_key::ActiveModel {
            id: ActiveValue::Set(id),
            api_client_id: client.id.clone(),
            account_id: ActiveValue::Set(account.0),
            secret_hash: ActiveValue::Set(self.secret_hash(secret)),
            secret_sealed: ActiveValue::Set(sealed.map_err(|_| RegistryError::Seal {
                attempt: "seal secret of API key",
            })?),
            context_kind: ActiveValue::Set(context_kind.to_owned()),
            context_ids: ActiveValue::Set(json_list(&context_ids)),
            scope: ActiveValue::Set(json_list(&new.scope)),
            rate_limit: ActiveValue::Set(new.rate_limit),
            limit_prefix: ActiveValue::Set(new.limits.prefix),
            limit_region: ActiveValue::Set(new.limits.region),
            limit_uses: ActiveValue::Set(new.limits.uses),
            limit_expires_at: ActiveValue::Set(new.limits.expires_at.map(|at| at.0)),
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
                    .map(|name| api_key(row, name))
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
        client.map(|client| api_key(row, client.name)).transpose()
    }

    fn secret_hash(&self, secret: &str) -> Vec<u8> {
        self.store.keys.keyed_hash(SECRET_HASH, secret.as_bytes())
    }
}

fn client_row(account: AccountId, name: Option<String>, now: Timestamp) -> api_client::ActiveModel {
    let name = name.unwrap_or_else(random::api_client_name);
    api_client::ActiveModel {
        id: ActiveValue::Set(random::id("_api_")),
        account_id: ActiveValue::Set(account.0),
        name_folded: ActiveValue::Set(folded(&name)),
        friendly_name: ActiveValue::Set(name.clone()),
        name: ActiveValue::Set(name),
        description: ActiveValue::Set(None),
        tags: ActiveValue::Set(None),
        locked: ActiveValue::Set(false),
        created_at: ActiveValue::Set(now.0),
        modified_at: ActiveValue::Set(now.0),
    }
}

fn seal_place(key: &str) -> String {
    format!("api_keys.secret {key}")
}

fn json_list(items: &[String]) -> String {
    serde_json::Value::from(items.to_vec()).to_string()
}

fn context_columns(context: &KeyContext) -> (&'static str, Vec<String>) {
    match context {
        KeyContext::Account => (ACCOUNT_CONTEXT, Vec::new()),
        KeyContext::Devices(ids) => ("device", ids.iter().map(ToString::to_string).collect()),
        KeyContext::Apps(ids) => ("app", ids.clone()),
    }
}

fn context(row: &api_key::Model) -> Option<KeyContext> {
    let ids: Vec<String> = serde_json::from_str(&row.context_ids).ok()?;
    match row.context_kind.as_str() {
        ACCOUNT_CONTEXT => Some(KeyContext::Account),
        "device" => ids
            .iter()
            .map(|id| Uuid::parse_str(id).ok().map(DeviceId))
            .collect::<Option<_>>()
            .map(KeyContext::Devices),
        "app" => Some(KeyContext::Apps(ids)),
        _ => None,
    }
}

/// Whether the list of scopes of a key holds `scope`.
pub(super) fn has_scope(row: &api_key::Model, scope: Scope) -> bool {
    serde_json::from_str::<Vec<String>>(&row.scope)
        .is_ok_and(|scopes| scopes.iter().any(|text| text == scope.as_str()))
}

fn api_key(row: api_key::Model, owner_name: String) -> Result<ApiKey, RegistryError> {
    let damaged = |column| RegistryError::Damaged { column };
    Ok(ApiKey {
        context: context(&row).ok_or_else(|| damaged("api_keys.context"))?,
        scope: serde_json::from_str(&row.scope).map_err(|_| damaged("api_keys.scope"))?,
        id: row.id,
        owner_id: row.api_client_id,
        owner_name,
        account: AccountId(row.account_id),
        rate_limit: row.rate_limit,
        limits: KeyLimits {
            prefix: row.limit_prefix,
            region: row.limit_region,
            uses: row.limit_uses,
            expires_at: row.limit_expires_at.map(Timestamp),
        },
        created_at: Timestamp(row.created_at),
    })
}
