//! API clients and keys as rows.

use moorline_protocol::scope::Scope;
use sea_orm::ActiveValue;
use uuid::Uuid;

use crate::random;
use crate::registry::entity::{api_client, api_key};
use crate::registry::error::RegistryError;
use crate::registry::folded;
use crate::registry::model::{
    AccountId, ApiClient, ApiKey, ClientDetails, DeviceId, KeyContext, KeyLimits, Timestamp,
};

/// How [`KeyContext::Account`] is kept.
pub(in crate::registry) const ACCOUNT_CONTEXT: &str = "account";

/// The row of a new API client.
pub(super) fn client_row(
    account: AccountId,
    name: String,
    details: ClientDetails,
    now: Timestamp,
) -> api_client::ActiveModel {
    api_client::ActiveModel {
        id: ActiveValue::Set(random::id("_api_")),
        account_id: ActiveValue::Set(account.0),
        name_folded: ActiveValue::Set(folded(&name)),
        friendly_name: ActiveValue::Set(details.friendly_name.unwrap_or_else(|| name.clone())),
        name: ActiveValue::Set(name),
        description: ActiveValue::Set(details.description),
        tags: ActiveValue::Set(details.tags.as_deref().map(json_list)),
        locked: ActiveValue::Set(details.locked),
        created_at: ActiveValue::Set(now.0),
        modified_at: ActiveValue::Set(now.0),
    }
}

/// Where secrets are sealed into, before the id of the key.
pub(in crate::registry) const SEALED_AT: &str = "api_keys.secret";

/// Where a secret is sealed into: it opens for its own key alone.
pub(super) fn seal_place(key: &str) -> String {
    format!("{SEALED_AT} {key}")
}

/// A list as it is kept.
pub(super) fn json_list(items: &[String]) -> String {
    serde_json::Value::from(items.to_vec()).to_string()
}

/// Kind and ids of a context as they are kept.
pub(super) fn context_columns(context: &KeyContext) -> (&'static str, Vec<String>) {
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
pub(in crate::registry) fn has_scope(row: &api_key::Model, scope: Scope) -> bool {
    serde_json::from_str::<Vec<String>>(&row.scope)
        .is_ok_and(|scopes| scopes.iter().any(|text| text == scope.as_str()))
}

/// The scope texts of a key, in the order given.
pub(super) fn scopes(row: &api_key::Model) -> Result<Vec<String>, RegistryError> {
    serde_json::from_str(&row.scope).map_err(|_| RegistryError::Damaged {
        column: "api_keys.scope",
    })
}

/// A key as it is handed out.
pub(super) fn api_key(row: api_key::Model, owner_name: String) -> Result<ApiKey, RegistryError> {
    let damaged = |column| RegistryError::Damaged { column };
    Ok(ApiKey {
        context: context(&row).ok_or_else(|| damaged("api_keys.context"))?,
        scope: scopes(&row)?,
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
        modified_at: Timestamp(row.modified_at),
    })
}

/// An API client as it is handed out.
pub(super) fn client(row: api_client::Model) -> Result<ApiClient, RegistryError> {
    let tags = row.tags.as_deref().map(serde_json::from_str).transpose();
    Ok(ApiClient {
        tags: tags.map_err(|_| RegistryError::Damaged {
            column: "api_clients.tags",
        })?,
        id: row.id,
        account: AccountId(row.account_id),
        name: row.name,
        friendly_name: row.friendly_name,
        description: row.description,
        locked: row.locked,
        created_at: Timestamp(row.created_at),
        modified_at: Timestamp(row.modified_at),
    })
}
