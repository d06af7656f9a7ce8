//! Finding API clients, and listing them by filters and pages (API client contract sections 2 and 4).

use moorline_protocol::Secret;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func};
use sea_orm::{ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _};
use sea_orm::{PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::rows;
use crate::registry::entity::{api_client, api_key};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::model::{AccountId, ApiClient, ApiClientFilter, ApiKey, TagFilter};
use crate::registry::{Registry, folded};

impl Registry {
    /// The API client that `reference` names: an id when it begins with `_`, else a name, whose case does not count.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn api_client(
        &self,
        account: AccountId,
        reference: &str,
    ) -> Result<Option<ApiClient>, RegistryError> {
        let row = api_client::Entity::find()
            .filter(referred(account, reference))
            .one(&self.store.read)
            .await
            .attempt("read API client")?;
        row.map(rows::client).transpose()
    }

    /// The key of the API client that `reference` names, with its secret.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn api_key_of(
        &self,
        account: AccountId,
        reference: &str,
    ) -> Result<Option<(ApiKey, Secret<String>)>, RegistryError> {
        let Some(client) = self.api_client(account, reference).await? else {
            return Ok(None);
        };
        let Some(row) = key_row(&self.store.read, &client.id).await? else {
            return Ok(None);
        };
        let secret = self.open_secret(&row)?;
        Ok(Some((rows::api_key(row, client.name)?, secret)))
    }

    /// At most `limit` of the API clients that pass `filter`, without the first `offset`: oldest first, ties by id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn api_clients(
        &self,
        account: AccountId,
        filter: &ApiClientFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<ApiClient>, RegistryError> {
        api_client::Entity::find()
            .filter(self.passing(account, filter))
            .order_by_asc(api_client::Column::CreatedAt)
            .order_by_asc(api_client::Column::Id)
            .limit(limit)
            .offset(offset)
            .all(&self.store.read)
            .await
            .attempt("list API clients")?
            .into_iter()
            .map(rows::client)
            .collect()
    }

    /// How many API clients pass `filter`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_api_clients(
        &self,
        account: AccountId,
        filter: &ApiClientFilter,
    ) -> Result<u64, RegistryError> {
        api_client::Entity::find()
            .filter(self.passing(account, filter))
            .count(&self.store.read)
            .await
            .attempt("count API clients")
    }

    pub(super) fn open_secret(
        &self,
        row: &api_key::Model,
    ) -> Result<Secret<String>, RegistryError> {
        let opened = self
            .store
            .keys
            .open(&rows::seal_place(&row.id), &row.secret_sealed);
        let bytes = opened.map_err(|_| RegistryError::Seal {
            attempt: "open secret of API key",
        })?;
        let text = String::from_utf8(bytes.into_exposed());
        text.map(Secret::new).map_err(|_| RegistryError::Damaged {
            column: "api_keys.secret_sealed",
        })
    }

    fn passing(&self, account: AccountId, filter: &ApiClientFilter) -> Condition {
        let mut condition = Condition::all().add(api_client::Column::AccountId.eq(account.0));
        if let Some(name) = &filter.name {
            condition = condition.add(api_client::Column::NameFolded.eq(folded(name)));
        }
        if let Some(friendly) = &filter.friendly_name {
            condition = condition.add(api_client::Column::FriendlyName.eq(friendly.as_str()));
        }
        condition.add(self.with_tags(&filter.tags))
    }

    fn with_tags(&self, filter: &TagFilter) -> Condition {
        let has = |tag: &String| self.has_tag(tag);
        let mut condition = Condition::all();
        for tag in &filter.all {
            condition = condition.add(has(tag));
        }
        for tag in &filter.none {
            condition = condition.add(has(tag).not());
        }
        if !filter.any.is_empty() {
            let any = Condition::any();
            condition = condition.add(filter.any.iter().map(has).fold(any, Condition::add));
        }
        condition
    }

    /// Tags are kept as a JSON list. A tag has no comma, so a comma and a quote begin an element and nothing else;
    /// the first element has the bracket before it.
    fn has_tag(&self, tag: &str) -> Condition {
        let element = serde_json::Value::from(tag).to_string();
        let first = self.position(format!("[{element}")).eq(1);
        let further = self.position(format!(",{element}")).gt(0);
        Condition::any().add(first).add(further)
    }

    /// Where `part` begins in the list of tags, from 1; 0 when it is not in there.
    fn position(&self, part: String) -> Expr {
        let name = if self.store.is_sqlite() {
            "instr"
        } else {
            "strpos"
        };
        let tags = Func::coalesce([
            Expr::col((api_client::Entity, api_client::Column::Tags)),
            Expr::val(""),
        ]);
        Func::cust(name).arg(tags).arg(Expr::val(part)).into()
    }
}

/// What a reference names in `account`.
pub(super) fn referred(account: AccountId, reference: &str) -> Condition {
    let chosen = if reference.starts_with('_') {
        api_client::Column::Id.eq(reference)
    } else {
        api_client::Column::NameFolded.eq(folded(reference))
    };
    Condition::all()
        .add(api_client::Column::AccountId.eq(account.0))
        .add(chosen)
}

/// The key of an API client.
pub(super) async fn key_row(
    connection: &impl ConnectionTrait,
    client: &str,
) -> Result<Option<api_key::Model>, RegistryError> {
    api_key::Entity::find()
        .filter(api_key::Column::ApiClientId.eq(client))
        .one(connection)
        .await
        .attempt("read API key")
}
