//! API clients and keys on the wire (API client contract section 3).

use moorline_protocol::Secret;
use moorline_protocol::apiclients::{
    ApiClientObject, ApiKeyObject, ContextObject, LimitsObject, Page,
};

use super::filters::PageWish;
use crate::registry::model::{Account, ApiClient, ApiKey, KeyContext, KeyLimits, Timestamp};

/// An API client of `account`.
pub(super) fn client(account: &Account, client: ApiClient) -> ApiClientObject {
    ApiClientObject {
        id: client.id,
        account_id: account.uid.clone(),
        name: client.name,
        friendly_name: client.friendly_name,
        description: client.description,
        tags: client.tags,
        locked: client.locked,
        date_created: client.created_at.to_millis(),
        date_modified: client.modified_at.to_millis(),
    }
}

/// A key of `account` with its secret.
pub(super) fn key(account: &Account, key: ApiKey, secret: Secret<String>) -> ApiKeyObject {
    ApiKeyObject {
        id: key.id,
        secret: secret.into_exposed(),
        owner_id: key.owner_id,
        account_id: account.uid.clone(),
        context: context(account, key.context),
        scope: key.scope,
        rate_limit: key.rate_limit,
        date_created: key.created_at.to_millis(),
        date_modified: key.modified_at.to_millis(),
        limits: limits(key.limits),
    }
}

fn context(account: &Account, context: KeyContext) -> ContextObject {
    let (kind, ids) = match context {
        KeyContext::Account => ("account", vec![account.uid.clone()]),
        KeyContext::Devices(ids) => ("device", ids.iter().map(ToString::to_string).collect()),
        KeyContext::Apps(ids) => ("app", ids),
    };
    let kind = kind.to_owned();
    ContextObject { kind, ids }
}

/// Left out when there are none.
fn limits(limits: KeyLimits) -> Option<LimitsObject> {
    (limits != KeyLimits::default()).then(|| LimitsObject {
        prefix: limits.prefix,
        region: limits.region,
        uses: limits.uses,
        expires_at: limits.expires_at.map(Timestamp::to_millis),
    })
}

/// A page of a list that has `total` items.
pub(super) fn page<T>(wish: PageWish, total: u64, results: Vec<T>) -> Page<T> {
    Page {
        total,
        item_count: results.len() as u64,
        num_of_pages: total.div_ceil(wish.size),
        page_no: wish.number,
        skip: wish.skip,
        results,
    }
}
