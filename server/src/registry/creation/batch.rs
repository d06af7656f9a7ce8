//! One batch: judged call by call against the facts, then written.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use moorline_protocol::operator::DeviceState;
use sea_orm::QueryFilter as _;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _};
use uuid::Uuid;

use super::Answer;
use super::facts::{Facts, Known, Series, serial_name};
use super::rows::{self, Fresh, Refresh};
use crate::random;
use crate::registry::accounts::ANONYMOUS;
use crate::registry::api_clients::{ACCOUNT_CONTEXT, has_scope};
use crate::registry::entity::{api_key, device};
use crate::registry::error::{Attempt as _, CreateDeviceError, RegistryError};
use crate::registry::folded;
use crate::registry::model::{
    CreatedDevice, DeviceId, Forward, Naming, NewDevice, Node, NodeStatus, Timestamp,
};
use crate::registry::store::Store;
use moorline_protocol::scope::Scope;

/// What a call comes to.
enum Outcome {
    /// The device that had the key already.
    Existing(CreatedDevice),
    /// A device of this batch, by its index; `made` by this very call or by one before it.
    Fresh { index: usize, made: bool },
}

pub(super) struct Batch<'a> {
    store: &'a Store,
    transaction: &'a DatabaseTransaction,
    now: Timestamp,
    facts: Facts,
    fresh: Vec<Fresh>,
    refreshes: Vec<Refresh>,
    /// Devices made, by key.
    spent: BTreeMap<String, i64>,
    /// Series of which numbers were taken.
    advanced: BTreeMap<Series, i64>,
    /// Ports taken, given back if the batch fails.
    ports: Vec<(String, u16)>,
}

impl<'a> Batch<'a> {
    /// Judges and writes all of `news`. The answers are in their order; an error means that nothing was written.
    pub(super) async fn write(
        store: &'a Store,
        news: &[NewDevice],
    ) -> Result<Vec<Answer>, RegistryError> {
        let transaction = store.begin().await?;
        let mut batch = Batch {
            store,
            transaction: &transaction,
            now: Timestamp::now(),
            facts: Facts::read(&transaction, news).await?,
            fresh: Vec::with_capacity(news.len()),
            refreshes: Vec::new(),
            spent: BTreeMap::new(),
            advanced: BTreeMap::new(),
            ports: Vec::with_capacity(news.len()),
        };
        let answers = batch.judge_and_write(news).await;
        let ports = batch.ports;
        let committed = match answers {
            Ok(answers) => match transaction.commit().await.attempt("commit devices") {
                Ok(()) => Ok(answers),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if committed.is_err() {
            store.with_ports(|all| {
                all.release(ports.iter().map(|(node, port)| (node.as_str(), *port)));
            });
        }
        committed
    }

    async fn judge_and_write(&mut self, news: &[NewDevice]) -> Result<Vec<Answer>, RegistryError> {
        let mut outcomes = Vec::with_capacity(news.len());
        for new in news {
            outcomes.push(match self.judge(new).await {
                Err(CreateDeviceError::Registry(error)) => return Err(error),
                judged => judged,
            });
        }
        let forwards = rows::insert(self.transaction, self.store, &self.fresh, self.now).await?;
        rows::refresh(self.transaction, &self.refreshes).await?;
        rows::spend(self.transaction, &self.spent).await?;
        rows::advance(self.transaction, &self.advanced).await?;
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Ok(Outcome::Existing(device)) => Ok(Ok(device)),
                Ok(Outcome::Fresh { index, made }) => self.answer(index, made, &forwards).map(Ok),
                Err(refusal) => Ok(Err(refusal)),
            })
            .collect()
    }

    /// Decides about one call. Every refusal comes before anything is taken, but for the port, which goes back.
    async fn judge(&mut self, new: &NewDevice) -> Result<Outcome, CreateDeviceError> {
        let key = self.usable_key(new)?;
        let (uses, key_region) = (key.limit_uses, key.limit_region.clone());
        let account = self.facts.accounts.get(&new.account.0);
        let account = account.ok_or(CreateDeviceError::KeyRefused)?;
        let (suspended, default_region) = (account.suspended, account.default_region.clone());
        let fingerprint = new.public_key.as_ref().map(|key| key.fingerprint.clone());
        let known = fingerprint
            .as_ref()
            .and_then(|key| self.facts.known.get(key));
        let elsewhere = match known {
            Some(Known::Fresh(index)) => self
                .fresh
                .get(*index)
                .is_some_and(|fresh| fresh.account != new.account.0),
            Some(Known::Stored(stored)) => stored.row.account_id != new.account.0,
            None => false,
        };
        if known.is_some() && !elsewhere {
            if suspended {
                return Err(CreateDeviceError::AccountSuspended);
            }
            return self
                .existing(fingerprint.as_deref().unwrap_or_default(), new)
                .await;
        }
        let spent = self.spent.get(&new.api_key_id).copied().unwrap_or(0);
        if uses.is_some_and(|uses| uses <= spent) {
            return Err(CreateDeviceError::KeyRefused);
        }
        if suspended {
            return Err(CreateDeviceError::AccountSuspended);
        }
        if elsewhere && !self.is_anonymous(fingerprint.as_deref()) {
            return Err(CreateDeviceError::PublicKeyElsewhere);
        }
        if let Naming::Given(name) = &new.naming
            && self.is_taken(new.account.0, name).await?
        {
            return Err(CreateDeviceError::NameTaken);
        }
        if elsewhere {
            return self
                .adopt(fingerprint.as_deref().unwrap_or_default(), new)
                .await;
        }
        let node = self.node(new.region.as_deref(), key_region, default_region)?;
        let port = self.take_port(&node).await?;
        let name = self.name(new).await?;
        Ok(self.add(new, node, port, name, fingerprint))
    }

    /// Whether the device of this key is one that nobody has registered.
    fn is_anonymous(&self, fingerprint: Option<&str>) -> bool {
        let known = fingerprint.and_then(|key| self.facts.known.get(key));
        matches!(known, Some(Known::Stored(stored)) if stored.row.account_id == ANONYMOUS)
    }

    /// Registers the device of an anonymous key to the account: it keeps its id, ports and links, and is named as a
    /// new one is. It uses up one of the key's uses.
    async fn adopt(
        &mut self,
        fingerprint: &str,
        new: &NewDevice,
    ) -> Result<Outcome, CreateDeviceError> {
        // What refuses comes first, so that a refused call changes nothing.
        let outcome = self.existing(fingerprint, new).await?;
        let name = self.name(new).await?;
        self.facts
            .names
            .insert((new.account.0, folded(&name)), true);
        if let Some(Known::Stored(stored)) = self.facts.known.get_mut(fingerprint) {
            let old_name = std::mem::replace(&mut stored.row.name, name.clone());
            stored.row.account_id = new.account.0;
            let adopted = (stored.row.number, DeviceId(stored.row.id));
            rows::adopt(self.transaction, adopted, &old_name, &name, new).await?;
            *self.spent.entry(new.api_key_id.clone()).or_insert(0) += 1;
        }
        Ok(match outcome {
            Outcome::Existing(device) => Outcome::Existing(CreatedDevice { name, ..device }),
            fresh @ Outcome::Fresh { .. } => fresh,
        })
    }

    /// The key of the call as it stands now: it may have been revoked since the call was let in.
    fn usable_key(&self, new: &NewDevice) -> Result<&api_key::Model, CreateDeviceError> {
        self.facts
            .keys
            .get(&new.api_key_id)
            .filter(|key| key.account_id == new.account.0)
            .filter(|key| key.limit_expires_at.is_none_or(|at| at > self.now.0))
            .filter(|key| key.context_kind == ACCOUNT_CONTEXT)
            .filter(|key| has_scope(key, Scope::DeviceCreate))
            .ok_or(CreateDeviceError::KeyRefused)
    }

    async fn existing(
        &mut self,
        fingerprint: &str,
        new: &NewDevice,
    ) -> Result<Outcome, CreateDeviceError> {
        let stored = match self.facts.known.get_mut(fingerprint) {
            Some(Known::Stored(stored)) => stored,
            Some(Known::Fresh(index)) => {
                let index = *index;
                if let Some(fresh) = self.fresh.get_mut(index) {
                    fresh.refresh(new);
                }
                return Ok(Outcome::Fresh { index, made: false });
            }
            None => return Err(CreateDeviceError::PublicKeyElsewhere),
        };
        match DeviceState::parse(&stored.row.state) {
            Some(DeviceState::Active) => {}
            Some(DeviceState::Blocked) => return Err(CreateDeviceError::Blocked),
            Some(DeviceState::Inactive) | None => return Err(CreateDeviceError::Inactive),
        }
        self.refreshes.extend(Refresh::of(&stored.row, new));
        let (number, region) = (stored.row.number, stored.row.region.clone());
        let (id, name) = (DeviceId(stored.row.id), stored.row.name.clone());
        let forward = match stored.forward.clone() {
            Some(forward) => forward,
            None => {
                let node = self.node(Some(&region), None, None)?;
                let port = self.take_port(&node).await?;
                let made = (number, node.name.as_str(), new.device_port, port);
                let forward = rows::first_forward(self.transaction, made, self.now).await?;
                if let Some(Known::Stored(stored)) = self.facts.known.get_mut(fingerprint) {
                    stored.forward = Some(forward.clone());
                }
                forward
            }
        };
        Ok(Outcome::Existing(CreatedDevice {
            id,
            name,
            public_host: self.public_host(&forward.node),
            forward,
            region,
            created: false,
        }))
    }

    /// Region: as asked for, else the key's, else the account's, else the only one there is.
    fn node(
        &self,
        asked: Option<&str>,
        of_key: Option<String>,
        of_account: Option<String>,
    ) -> Result<Node, CreateDeviceError> {
        if let (Some(asked), Some(of_key)) = (asked, &of_key)
            && asked != of_key
        {
            return Err(CreateDeviceError::UnknownRegion);
        }
        let only = match self.facts.nodes.len() {
            1 => self.facts.nodes.keys().next().cloned(),
            _ => None,
        };
        let name = asked
            .map(str::to_owned)
            .or(of_key)
            .or(of_account)
            .or(only)
            .ok_or(CreateDeviceError::UnknownRegion)?;
        let node = self
            .facts
            .nodes
            .get(&name)
            .ok_or(CreateDeviceError::UnknownRegion)?;
        match node.status {
            NodeStatus::Active => Ok(node.clone()),
            NodeStatus::Draining | NodeStatus::Down => Err(CreateDeviceError::NodeUnavailable),
        }
    }

    async fn take_port(&mut self, node: &Node) -> Result<u16, CreateDeviceError> {
        let port = self
            .store
            .take_port(self.transaction, node, Instant::now())
            .await?
            .ok_or(CreateDeviceError::NodeUnavailable)?;
        self.ports.push((node.name.clone(), port));
        Ok(port)
    }

    async fn name(&mut self, new: &NewDevice) -> Result<String, RegistryError> {
        let account = new.account.0;
        match &new.naming {
            Naming::Given(name) => Ok(name.clone()),
            Naming::Random => loop {
                let name = random::device_name();
                if !self.is_taken(account, &name).await? {
                    return Ok(name);
                }
            },
            Naming::Serial { prefix } => loop {
                let series = (account, prefix.clone());
                let Some(next) = self.facts.counters.get_mut(&series) else {
                    return Err(RegistryError::Damaged {
                        column: "serial_counters.prefix",
                    });
                };
                let name = serial_name(prefix, *next);
                *next += 1;
                self.advanced.insert(series, *next);
                if !self.is_taken(account, &name).await? {
                    return Ok(name);
                }
            },
        }
    }

    async fn is_taken(&mut self, account: i64, name: &str) -> Result<bool, RegistryError> {
        let wanted = (account, folded(name));
        if let Some(taken) = self.facts.names.get(&wanted) {
            return Ok(*taken);
        }
        let count = device::Entity::find()
            .filter(device::Column::AccountId.eq(account))
            .filter(device::Column::NameFolded.eq(wanted.1.as_str()))
            .count(self.transaction)
            .await
            .attempt("look up name")?;
        self.facts.names.insert(wanted, count > 0);
        Ok(count > 0)
    }

    fn add(
        &mut self,
        new: &NewDevice,
        node: Node,
        port: u16,
        name: String,
        fingerprint: Option<String>,
    ) -> Outcome {
        let index = self.fresh.len();
        self.facts
            .names
            .insert((new.account.0, folded(&name)), true);
        if let Some(fingerprint) = fingerprint {
            self.facts.known.insert(fingerprint, Known::Fresh(index));
        }
        *self.spent.entry(new.api_key_id.clone()).or_insert(0) += 1;
        self.fresh.push(Fresh {
            id: Uuid::new_v4(),
            account: new.account.0,
            name,
            node: node.name,
            public_port: port,
            device_port: new.device_port,
            public_key: new.public_key.clone(),
            username: new.username.clone(),
            hostname: new.hostname.clone(),
            hardware: new.hardware.clone(),
            api_key_id: new.api_key_id.clone(),
        });
        Outcome::Fresh { index, made: true }
    }

    fn answer(
        &self,
        index: usize,
        made: bool,
        forwards: &HashMap<Uuid, Forward>,
    ) -> Result<CreatedDevice, RegistryError> {
        let fresh = self.fresh.get(index);
        let (fresh, forward) = fresh
            .and_then(|fresh| Some((fresh, forwards.get(&fresh.id)?)))
            .ok_or(RegistryError::Damaged {
                column: "forwards.device_number",
            })?;
        Ok(CreatedDevice {
            id: DeviceId(fresh.id),
            name: fresh.name.clone(),
            forward: forward.clone(),
            region: fresh.node.clone(),
            public_host: self.public_host(&fresh.node),
            created: made,
        })
    }

    fn public_host(&self, node: &str) -> String {
        self.facts
            .nodes
            .get(node)
            .map(|node| node.public_host.clone())
            .unwrap_or_default()
    }
}
