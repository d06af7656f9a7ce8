//! JSON of API clients and their keys (`contract/apiclients.md` sections 2 and 3). `/v3` and `/v1/admin/api-clients`
//! have the same objects.
//!
//! Times are RFC 3339 in UTC with milliseconds.

use serde::{Deserialize, Serialize};

/// A named holder of credentials; no secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiClientObject {
    /// `_api_` and 18 digits.
    pub id: String,
    /// `_acc_` and 18 digits.
    pub account_id: String,
    /// Unique in the account without regard to case.
    pub name: String,
    /// For people; the name if none was given.
    pub friendly_name: String,
    /// Up to 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Up to 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// A locked one cannot be changed or deleted.
    pub locked: bool,
    /// When made.
    pub date_created: String,
    /// When changed last.
    pub date_modified: String,
}

/// The key of an API client, secret included; it has no `Debug` for that.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyObject {
    /// `_key_` and 18 digits: user name of HTTP Basic.
    pub id: String,
    /// 32 lower-case hexadecimal digits: password of HTTP Basic, `api_key` and `token` of the other surfaces.
    pub secret: String,
    /// Its API client.
    pub owner_id: String,
    /// Its account.
    pub account_id: String,
    /// What it reaches.
    pub context: ContextObject,
    /// Scopes in the order given.
    pub scope: Vec<String>,
    /// Calls per minute, -1 without limit.
    pub rate_limit: i64,
    /// When made, or made anew.
    pub date_created: String,
    /// When changed last.
    pub date_modified: String,
    /// What narrows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsObject>,
}

/// What a key reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextObject {
    /// `account`, `device` or `app`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The account, UUIDs of devices, or what was given for apps.
    pub ids: Vec<String>,
}

/// Narrows a key that is put into images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsObject {
    /// Names of devices it makes begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Region of devices it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Devices that may still be made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<i64>,
    /// Refused everywhere from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A page of a collection: exactly these keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// How many there are after filtering.
    pub total: u64,
    /// How many are in `results`.
    pub item_count: u64,
    /// `total` by the size of a page, rounded up.
    pub num_of_pages: u64,
    /// Which page this is, from 1.
    pub page_no: u64,
    /// How many items at the start of the page were left out.
    pub skip: u64,
    /// The items.
    pub results: Vec<T>,
}

/// What a deletion answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// 1, or 0 when there was none.
    pub nr_of_items: u64,
}

/// One problem of a refused call; a refusal is a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorObject {
    /// `ResourceNotFound` ….
    pub code: String,
    /// For the developer.
    pub cause: String,
    /// For a person.
    pub message: String,
    /// The page that explains the code.
    pub more_info_url: String,
}
