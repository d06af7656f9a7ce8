//! Changing API clients and their keys: all or nothing, and nothing of what is locked (API client contract section 4).

use moorline_protocol::Secret;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QuerySelect as _};

use super::list::referred;
use super::rows;
use crate::random;
use crate::registry::entity::{api_client, api_key};
use crate::registry::error::{Attempt as _, ChangeClientError, RegistryError};
use crate::registry::model::{
    AccountId, ApiClient, ApiKey, ClientChange, Grant, KeyChange, KeyLimits, Setting, Timestamp,
};
use crate::registry::{Registry, folded};

/// Microseconds of a millisecond: what is finer is not on the wire and so comes back without.
const MILLISECOND: i64 = 1000;

impl Registry {
    /// Changes an API client and its key. A change of scopes has to be within `grant`. Unlocking a locked one is the
    /// only change it takes.
    ///
    /// # Errors
    /// [`ChangeClientError`]; then nothing was changed.
    pub async fn change_api_client(
        &self,
        account: AccountId,
        reference: &str,
        change: ClientChange,
        grant: &Grant,
    ) -> Result<(ApiClient, ApiKey), ChangeClientError> {
        let transaction = self.store.begin().await?;
        let found = locked_rows(&transaction, account, reference).await;
        let (client, key) = or_beyond(found, &change.key, grant)?;
        let changed_client = changed_client(&client, &change);
        let changed_key = changed_key(&key, &change.key);
        check_scopes(&changed_key, &change.key, grant)?;
        let unlocks = !changed_key.is_changed() && only_unlocks(&changed_client);
        if client.locked && !unlocks {
            return Err(ChangeClientError::Locked);
        }
        let client = update_client(&transaction, client, changed_client).await?;
        let key = update_key(&transaction, key, changed_key).await?;
        let attempt = "change API client";
        transaction.commit().await.attempt(attempt)?;
        let key = rows::api_key(key, client.name.clone())?;
        Ok((rows::client(client)?, key))
    }

    /// Changes the key of an API client and gives its secret, so that every scope of the key has to be within `grant`,
    /// before the change and after it.
    ///
    /// # Errors
    /// [`ChangeClientError`]; then nothing was changed.
    pub async fn change_api_key(
        &self,
        account: AccountId,
        reference: &str,
        change: KeyChange,
        grant: &Grant,
    ) -> Result<(ApiKey, Secret<String>), ChangeClientError> {
        let transaction = self.store.begin().await?;
        let found = locked_rows(&transaction, account, reference).await;
        let (client, key) = or_beyond(found, &change, grant)?;
        within(&key, grant)?;
        let changed = changed_key(&key, &change);
        check_scopes(&changed, &change, grant)?;
        if client.locked {
            return Err(ChangeClientError::Locked);
        }
        let key = update_key(&transaction, key, changed).await?;
        transaction.commit().await.attempt("change API key")?;
        let secret = self.open_secret(&key)?;
        Ok((rows::api_key(key, client.name)?, secret))
    }

    /// Gives the key of an API client a new id and a new secret, also while it is locked; the old pair is refused from
    /// then on. Every scope of the key has to be within `grant`.
    ///
    /// # Errors
    /// [`ChangeClientError`].
    pub async fn regenerate_api_key(
        &self,
        account: AccountId,
        reference: &str,
        grant: &Grant,
    ) -> Result<(ApiKey, Secret<String>), ChangeClientError> {
        const ATTEMPT: &str = "regenerate API key";
        let transaction = self.store.begin().await?;
        let (client, old) = locked_rows(&transaction, account, reference).await?;
        within(&old, grant)?;
        let now = Timestamp::now();
        let secret = random::api_key_secret();
        let id = random::id("_key_");
        let new = api_key::Model {
            secret_hash: self.secret_hash(&secret),
            secret_sealed: self.seal_secret(&id, &secret)?,
            id,
            created_at: now.0,
            modified_at: now.0,
            ..old.clone()
        };
        // The id is the primary key, which an update does not touch.
        let removed = api_key::Entity::delete_by_id(old.id.as_str());
        removed.exec(&transaction).await.attempt(ATTEMPT)?;
        api_key::Entity::insert(new.clone().into_active_model().reset_all())
            .exec_without_returning(&transaction)
            .await
            .attempt(ATTEMPT)?;
        transaction.commit().await.attempt(ATTEMPT)?;
        Ok((rows::api_key(new, client.name)?, Secret::new(secret)))
    }

    /// Removes an API client with its key and tells which it was; devices made with it stay.
    ///
    /// # Errors
    /// [`ChangeClientError`], [`ChangeClientError::Unknown`] when there is none.
    pub async fn delete_api_client(
        &self,
        account: AccountId,
        reference: &str,
    ) -> Result<ApiClient, ChangeClientError> {
        const ATTEMPT: &str = "delete API client";
        let transaction = self.store.begin().await?;
        let client = client_row(&transaction, account, reference).await?;
        let client = client.ok_or(ChangeClientError::Unknown)?;
        if client.locked {
            return Err(ChangeClientError::Locked);
        }
        let removed = api_client::Entity::delete_by_id(client.id.as_str());
        removed.exec(&transaction).await.attempt(ATTEMPT)?;
        transaction.commit().await.attempt(ATTEMPT)?;
        Ok(rows::client(client)?)
    }
}

async fn client_row(
    transaction: &DatabaseTransaction,
    account: AccountId,
    reference: &str,
) -> Result<Option<api_client::Model>, RegistryError> {
    api_client::Entity::find()
        .filter(referred(account, reference))
        .lock_exclusive()
        .one(transaction)
        .await
        .attempt("read API client")
}

/// An API client and its key, locked where the database locks rows.
async fn locked_rows(
    transaction: &DatabaseTransaction,
    account: AccountId,
    reference: &str,
) -> Result<(api_client::Model, api_key::Model), ChangeClientError> {
    let client = client_row(transaction, account, reference).await?;
    let client = client.ok_or(ChangeClientError::Unknown)?;
    let key = api_key::Entity::find()
        .filter(api_key::Column::ApiClientId.eq(client.id.as_str()))
        .lock_exclusive()
        .one(transaction)
        .await
        .attempt("read API key")?;
    Ok((client, key.ok_or(ChangeClientError::Unknown)?))
}

/// Scopes come before existence in the order of checks.
fn or_beyond<T>(
    found: Result<T, ChangeClientError>,
    change: &KeyChange,
    grant: &Grant,
) -> Result<T, ChangeClientError> {
    if matches!(found, Err(ChangeClientError::Unknown)) {
        beyond(change.scope.as_deref().unwrap_or_default(), grant)?;
    }
    found
}

fn beyond(scopes: &[String], grant: &Grant) -> Result<(), ChangeClientError> {
    match grant.first_beyond(scopes) {
        None => Ok(()),
        Some(scope) => Err(ChangeClientError::Beyond(scope.to_owned())),
    }
}

/// Every scope of the key has to be within `grant`.
fn within(key: &api_key::Model, grant: &Grant) -> Result<(), ChangeClientError> {
    beyond(&rows::scopes(key)?, grant)
}

/// Scopes that are sent back as they are give nothing.
fn check_scopes(
    changed: &api_key::ActiveModel,
    change: &KeyChange,
    grant: &Grant,
) -> Result<(), ChangeClientError> {
    match &change.scope {
        Some(scope) if changed.scope.is_set() => beyond(scope, grant),
        _ => Ok(()),
    }
}

/// The row with what differs set.
fn changed_client(row: &api_client::Model, change: &ClientChange) -> api_client::ActiveModel {
    let mut new = row.clone().into_active_model();
    let name = change.name.as_ref().unwrap_or(&row.name);
    new.name.set_if_not_equals(name.clone());
    new.name_folded.set_if_not_equals(folded(name));
    match &change.friendly_name {
        Setting::Keep => {}
        Setting::Unset => new.friendly_name.set_if_not_equals(name.clone()),
        Setting::To(text) => new.friendly_name.set_if_not_equals(text.clone()),
    }
    match &change.description {
        Setting::Keep => {}
        Setting::Unset => new.description.set_if_not_equals(None),
        Setting::To(text) => new.description.set_if_not_equals(Some(text.clone())),
    }
    match &change.tags {
        Setting::Keep => {}
        Setting::Unset => new.tags.set_if_not_equals(None),
        Setting::To(tags) => new.tags.set_if_not_equals(Some(rows::json_list(tags))),
    }
    if let Some(locked) = change.locked {
        new.locked.set_if_not_equals(locked);
    }
    new
}

/// The row with what differs set.
fn changed_key(row: &api_key::Model, change: &KeyChange) -> api_key::ActiveModel {
    let mut new = row.clone().into_active_model();
    if let Some(context) = &change.context {
        let (kind, ids) = rows::context_columns(context);
        new.context_kind.set_if_not_equals(kind.to_owned());
        new.context_ids.set_if_not_equals(rows::json_list(&ids));
    }
    if let Some(scope) = &change.scope {
        new.scope.set_if_not_equals(rows::json_list(scope));
    }
    if let Some(rate_limit) = change.rate_limit {
        new.rate_limit.set_if_not_equals(rate_limit);
    }
    if let Some(limits) = &change.limits {
        set_limits(&mut new, row, limits);
    }
    new
}

fn set_limits(new: &mut api_key::ActiveModel, row: &api_key::Model, limits: &KeyLimits) {
    new.limit_prefix.set_if_not_equals(limits.prefix.clone());
    new.limit_region.set_if_not_equals(limits.region.clone());
    new.limit_uses.set_if_not_equals(limits.uses);
    let shown = |at: i64| at.div_euclid(MILLISECOND);
    let expires_at = limits.expires_at.map(|at| at.0);
    if expires_at.map(shown) != row.limit_expires_at.map(shown) {
        new.limit_expires_at = ActiveValue::Set(expires_at);
    }
}

/// Whether unlocking is all that changes.
fn only_unlocks(changed: &api_client::ActiveModel) -> bool {
    let mut rest = changed.clone();
    rest.locked = ActiveValue::NotSet;
    changed.locked == ActiveValue::Set(false) && !rest.is_changed()
}

async fn update_client(
    transaction: &DatabaseTransaction,
    row: api_client::Model,
    mut changed: api_client::ActiveModel,
) -> Result<api_client::Model, ChangeClientError> {
    if !changed.is_changed() {
        return Ok(row);
    }
    changed.modified_at = ActiveValue::Set(Timestamp::now().0);
    match changed
        .update(transaction)
        .await
        .attempt("change API client")
    {
        Ok(row) => Ok(row),
        Err(error) if error.unique_violation().is_some() => Err(ChangeClientError::NameTaken),
        Err(error) => Err(error.into()),
    }
}

async fn update_key(
    transaction: &DatabaseTransaction,
    row: api_key::Model,
    mut changed: api_key::ActiveModel,
) -> Result<api_key::Model, RegistryError> {
    if !changed.is_changed() {
        return Ok(row);
    }
    changed.modified_at = ActiveValue::Set(Timestamp::now().0);
    changed.update(transaction).await.attempt("change API key")
}
