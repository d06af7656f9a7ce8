//! What can be done with API clients, whoever asks: the holder of a key under `/v3`, or an administrator under
//! `/v1/admin/api-clients` (API client contract section 4).

use moorline_protocol::apiclients::{ApiClientObject, ApiKeyObject, Page};
use serde_json::{Map, Value, json};

use super::attributes::{Part, Problem, REGION, WishedContext, Wishes};
use super::filters::ListWish;
use super::{objects, rules};
use crate::api::Api;
use crate::registry::error::{ApiClientError, ChangeClientError, RegistryError};
use crate::registry::model::{
    Account, ApiClient, ApiKey, ClientChange, ClientDetails, DeviceId, Grant, KeyContext,
    NewApiClient, NewEvent, UserId,
};

/// Most devices in the context of a key.
const MAX_DEVICES: usize = 1000;
/// The account of the caller, in a context.
const THIS_ACCOUNT: &str = "_this_";

/// Who asks.
pub(in crate::api) struct Caller {
    /// Whose API clients it is about.
    pub(in crate::api) account: Account,
    /// What they may give and see.
    pub(in crate::api) grant: Grant,
    /// For the audit.
    pub(in crate::api) actor: Actor,
}

/// Who is named in the audit.
pub(in crate::api) enum Actor {
    /// The holder of the key with this id.
    Key(String),
    /// A person.
    User(UserId),
}

/// Why an operation was not done; each surface has its own words for it.
#[derive(Debug)]
pub(in crate::api) enum Trouble {
    /// What is wrong with body or query, at least one thing.
    Problems(Vec<Problem>),
    /// The caller would give or see this scope and has it not.
    Beyond(String),
    /// There is no such API client.
    Unknown,
    /// It is locked.
    Locked,
    /// Another one has this name.
    NameTaken(String),
    /// See [`RegistryError`].
    Registry(RegistryError),
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl Trouble {
    fn of_change(error: ChangeClientError, name: Option<String>) -> Self {
        match error {
            ChangeClientError::Unknown => Self::Unknown,
            ChangeClientError::Locked => Self::Locked,
            ChangeClientError::NameTaken => Self::NameTaken(name.unwrap_or_default()),
            ChangeClientError::Beyond(scope) => Self::Beyond(scope),
            ChangeClientError::Registry(error) => Self::Registry(error),
        }
    }
}

impl Api {
    /// Makes an API client with its key.
    pub(in crate::api) async fn create_client(
        &self,
        caller: &Caller,
        body: &Map<String, Value>,
    ) -> Result<ApiClientObject, Trouble> {
        let wishes = Wishes::parse(body, Part::Client);
        let scope = wishes.change.key.scope.clone();
        let scope = scope.unwrap_or_else(rules::default_scopes);
        if let Some(scope) = caller.grant.first_beyond(&scope) {
            return Err(Trouble::Beyond(scope.to_owned()));
        }
        let change = self.resolve(caller, wishes).await?;
        let default_rate_limit = self.identity().default_rate_limit;
        let new = NewApiClient {
            name: change.name.clone(),
            context: change.key.context.unwrap_or(KeyContext::Account),
            scope,
            rate_limit: change.key.rate_limit.unwrap_or(default_rate_limit),
            limits: change.key.limits.unwrap_or_default(),
        };
        let details = ClientDetails {
            friendly_name: change.friendly_name.into_value(),
            description: change.description.into_value(),
            tags: change.tags.into_value(),
            locked: change.locked.unwrap_or(false),
        };
        let account = caller.account.id;
        let made = self
            .registry()
            .create_detailed_api_client(account, new, details);
        let (client, _, _) = made.await.map_err(|error| match error {
            ApiClientError::NameTaken => Trouble::NameTaken(change.name.unwrap_or_default()),
            ApiClientError::Registry(error) => Trouble::Registry(error),
        })?;
        self.note(caller, "api_client.created", &client.id, &client.name)
            .await;
        Ok(objects::client(&caller.account, client))
    }

    /// A page of the API clients of the account.
    pub(in crate::api) async fn list_clients(
        &self,
        caller: &Caller,
        query: Option<&str>,
    ) -> Result<Page<ApiClientObject>, Trouble> {
        let wish = ListWish::parse(query).map_err(Trouble::Problems)?;
        let (page, filter) = (wish.page, &wish.filter);
        if wish.is_for_nothing() {
            return Ok(objects::page(page, 0, Vec::new()));
        }
        let account = caller.account.id;
        let total = self.registry().count_api_clients(account, filter).await?;
        let (offset, limit) = page.slice();
        // Past the end nothing is asked for, and so no number is too large for the database.
        let clients = if offset < total && limit > 0 {
            let registry = self.registry();
            registry.api_clients(account, filter, offset, limit).await?
        } else {
            Vec::new()
        };
        let results = clients
            .into_iter()
            .map(|client| objects::client(&caller.account, client))
            .collect();
        Ok(objects::page(page, total, results))
    }

    /// One API client, by id or name.
    pub(in crate::api) async fn client(
        &self,
        caller: &Caller,
        reference: &str,
    ) -> Result<ApiClientObject, Trouble> {
        let account = caller.account.id;
        let client = self.registry().api_client(account, reference).await?;
        let client = client.ok_or(Trouble::Unknown)?;
        Ok(objects::client(&caller.account, client))
    }

    /// Changes an API client, its key included.
    pub(in crate::api) async fn change_client(
        &self,
        caller: &Caller,
        reference: &str,
        body: &Map<String, Value>,
    ) -> Result<ApiClientObject, Trouble> {
        let wishes = Wishes::parse(body, Part::Client);
        let change = self.resolve(caller, wishes).await?;
        let name = change.name.clone();
        let (account, grant) = (caller.account.id, &caller.grant);
        let changed = self
            .registry()
            .change_api_client(account, reference, change, grant);
        let changed = changed.await;
        let (client, key) = changed.map_err(|error| Trouble::of_change(error, name))?;
        self.key_changed(caller, "api_client.changed", &key).await;
        Ok(objects::client(&caller.account, client))
    }

    /// Removes an API client with its key.
    pub(in crate::api) async fn delete_client(
        &self,
        caller: &Caller,
        reference: &str,
    ) -> Result<(), Trouble> {
        let account = caller.account.id;
        let deleted = self.registry().delete_api_client(account, reference).await;
        let ApiClient { id, name, .. } =
            deleted.map_err(|error| Trouble::of_change(error, None))?;
        self.forget_key_of(&id);
        self.note(caller, "api_client.deleted", &id, &name).await;
        Ok(())
    }

    /// The key of an API client with its secret.
    pub(in crate::api) async fn client_key(
        &self,
        caller: &Caller,
        reference: &str,
    ) -> Result<ApiKeyObject, Trouble> {
        let account = caller.account.id;
        let found = self.registry().api_key_of(account, reference).await?;
        let (key, secret) = found.ok_or(Trouble::Unknown)?;
        if let Some(scope) = caller.grant.first_beyond(&key.scope) {
            return Err(Trouble::Beyond(scope.to_owned()));
        }
        self.note(caller, "api_key.shown", &key.owner_id, &key.owner_name)
            .await;
        Ok(objects::key(&caller.account, key, secret))
    }

    /// Changes the key of an API client.
    pub(in crate::api) async fn change_client_key(
        &self,
        caller: &Caller,
        reference: &str,
        body: &Map<String, Value>,
    ) -> Result<ApiKeyObject, Trouble> {
        let wishes = Wishes::parse(body, Part::Key);
        let change = self.resolve(caller, wishes).await?.key;
        let (account, grant) = (caller.account.id, &caller.grant);
        let changed = self
            .registry()
            .change_api_key(account, reference, change, grant);
        let changed = changed.await;
        let (key, secret) = changed.map_err(|error| Trouble::of_change(error, None))?;
        self.key_changed(caller, "api_key.changed", &key).await;
        Ok(objects::key(&caller.account, key, secret))
    }

    /// Gives an API client a new key; the old one is refused from then on.
    pub(in crate::api) async fn regenerate_client_key(
        &self,
        caller: &Caller,
        reference: &str,
    ) -> Result<ApiKeyObject, Trouble> {
        let (account, grant) = (caller.account.id, &caller.grant);
        let registry = self.registry();
        let made = registry.regenerate_api_key(account, reference, grant).await;
        let (key, secret) = made.map_err(|error| Trouble::of_change(error, None))?;
        self.key_changed(caller, "api_key.regenerated", &key).await;
        Ok(objects::key(&caller.account, key, secret))
    }

    /// Looks up what `wishes` name, and gives the change when nothing is wrong with them.
    async fn resolve(&self, caller: &Caller, mut wishes: Wishes) -> Result<ClientChange, Trouble> {
        let limits = wishes.change.key.limits.as_ref();
        if let Some(region) = limits.and_then(|limits| limits.region.as_deref())
            && self.registry().node(region).await?.is_none()
        {
            wishes.wrong("limits.region", REGION);
        }
        if let Some(context) = wishes.context.take() {
            match self.context(&caller.account, context).await? {
                Ok(context) => wishes.change.key.context = Some(context),
                Err(allowed) => wishes.wrong("context.ids", allowed),
            }
        }
        if wishes.problems.is_empty() {
            Ok(wishes.change)
        } else {
            Err(Trouble::Problems(wishes.problems))
        }
    }

    /// The context, or what is allowed in its place.
    async fn context(
        &self,
        account: &Account,
        wished: WishedContext,
    ) -> Result<Result<KeyContext, &'static str>, RegistryError> {
        Ok(match wished {
            WishedContext::Account(ids) => {
                let own = |id: &String| is_own(account, id);
                if !ids.is_empty() && ids.iter().all(own) {
                    Ok(KeyContext::Account)
                } else {
                    Err("must hold the id of the caller's own account")
                }
            }
            WishedContext::Devices(references) => {
                if !(1..=MAX_DEVICES).contains(&references.len()) {
                    return Ok(Err("must be 1 to 1000 devices"));
                }
                let registry = self.registry();
                let found = registry
                    .devices_referred_to(account.id, &references)
                    .await?;
                let devices: Option<Vec<DeviceId>> = found.into_iter().collect();
                let devices = devices.map(without_repetition);
                devices
                    .map(KeyContext::Devices)
                    .ok_or("must be UUIDs or names of devices of the account")
            }
            WishedContext::Apps(ids) => Ok(KeyContext::Apps(ids)),
        })
    }

    async fn key_changed(&self, caller: &Caller, kind: &'static str, key: &ApiKey) {
        self.forget_key_of(&key.owner_id);
        self.note(caller, kind, &key.owner_id, &key.owner_name)
            .await;
    }

    /// Notes in the audit what was done. What was done stays done when that fails.
    async fn note(&self, caller: &Caller, kind: &'static str, id: &str, name: &str) {
        let (user, by) = match &caller.actor {
            Actor::Key(key) => (None, Some(key)),
            Actor::User(user) => (Some(*user), None),
        };
        let event = NewEvent {
            account: Some(caller.account.id),
            device: None,
            user,
            host: None,
            task: None,
            level: "info",
            kind,
            message: format!("{kind}: {name}"),
            metadata: json!({"api_client": id, "name": name, "by_key": by}),
        };
        if let Err(error) = self.registry().record_event(event).await {
            tracing::warn!(%error, kind, "record event");
        }
    }
}

fn is_own(account: &Account, named: &str) -> bool {
    named == account.uid
        || named == THIS_ACCOUNT
        || named.to_lowercase() == account.name.to_lowercase()
}

fn without_repetition(devices: Vec<DeviceId>) -> Vec<DeviceId> {
    let mut seen = std::collections::HashSet::new();
    devices
        .into_iter()
        .filter(|device| seen.insert(*device))
        .collect()
}
