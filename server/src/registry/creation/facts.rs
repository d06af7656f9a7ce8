//! What the judgement of a batch needs to know, read in as few statements as there are tables.

use std::collections::{HashMap, HashSet};

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ColumnTrait as _, Condition, DatabaseTransaction, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _};

use crate::registry::entity::{account, api_key, device, forward, node, serial_counter};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::folded;
use crate::registry::model::{Forward, Naming, NewDevice, Node};

/// Account number and prefix: what a series of serial numbers belongs to.
pub(super) type Series = (i64, String);

/// A device that exists already.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: device::Model,
    /// The first forward, if it has any.
    pub(super) forward: Option<Forward>,
}

/// Where a public key stands.
#[derive(Debug)]
pub(super) enum Known {
    /// In the database.
    Stored(Box<Stored>),
    /// In this batch, by its index among the fresh devices.
    Fresh(usize),
}

/// What a batch is judged by.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) keys: HashMap<String, api_key::Model>,
    pub(super) accounts: HashMap<i64, account::Model>,
    pub(super) nodes: HashMap<String, Node>,
    /// By fingerprint.
    pub(super) known: HashMap<String, Known>,
    /// The next number of each series.
    pub(super) counters: HashMap<Series, i64>,
    /// Folded names by account that were looked for, and whether they are taken.
    pub(super) names: HashMap<(i64, String), bool>,
}

impl Facts {
    /// Reads everything. The rows of keys and counters are locked where the database locks rows.
    pub(super) async fn read(
        transaction: &DatabaseTransaction,
        news: &[NewDevice],
    ) -> Result<Self, RegistryError> {
        let counters = counters(transaction, news).await?;
        Ok(Self {
            keys: keys(transaction, news).await?,
            accounts: accounts(transaction, news).await?,
            nodes: nodes(transaction).await?,
            known: known(transaction, news).await?,
            names: names(transaction, news, &counters).await?,
            counters,
        })
    }
}

/// Fills a list up to the next power of two with its last value. The text of a statement depends on the length of its
/// lists, and there are few such lengths: so statements are found prepared.
fn padded<T: Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

async fn keys(
    transaction: &DatabaseTransaction,
    news: &[NewDevice],
) -> Result<HashMap<String, api_key::Model>, RegistryError> {
    let ids: HashSet<&str> = news.iter().map(|new| new.api_key_id.as_str()).collect();
    let rows = api_key::Entity::find()
        .filter(api_key::Column::Id.is_in(padded(ids)))
        .order_by_asc(api_key::Column::Id)
        .lock_exclusive()
        .all(transaction)
        .await
        .attempt("read API keys")?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

async fn accounts(
    transaction: &DatabaseTransaction,
    news: &[NewDevice],
) -> Result<HashMap<i64, account::Model>, RegistryError> {
    let ids: HashSet<i64> = news.iter().map(|new| new.account.0).collect();
    let rows = account::Entity::find()
        .filter(account::Column::Id.is_in(padded(ids)))
        .all(transaction)
        .await
        .attempt("read accounts")?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

async fn nodes(transaction: &DatabaseTransaction) -> Result<HashMap<String, Node>, RegistryError> {
    let rows = node::Entity::find()
        .all(transaction)
        .await
        .attempt("read nodes")?;
    rows.into_iter()
        .map(|row| Ok((row.name.clone(), Node::try_from(row)?)))
        .collect()
}

async fn known(
    transaction: &DatabaseTransaction,
    news: &[NewDevice],
) -> Result<HashMap<String, Known>, RegistryError> {
    let fingerprints: HashSet<&str> = news
        .iter()
        .filter_map(|new| Some(new.public_key.as_ref()?.fingerprint.as_str()))
        .collect();
    if fingerprints.is_empty() {
        return Ok(HashMap::new());
    }
    let devices = device::Entity::find()
        .filter(device::Column::PublicKeyFingerprint.is_in(padded(fingerprints)))
        .all(transaction)
        .await
        .attempt("find devices by key")?;
    if devices.is_empty() {
        return Ok(HashMap::new());
    }
    let forwards = forward::Entity::find()
        .filter(forward::Column::DeviceNumber.is_in(padded(devices.iter().map(|row| row.number))))
        // The first forward comes last, and so it is the one that stays in the map.
        .order_by_asc(forward::Column::IsFirst)
        .order_by_desc(forward::Column::Id)
        .all(transaction)
        .await
        .attempt("read forwards")?;
    let mut first: HashMap<i64, Forward> = HashMap::new();
    for row in forwards {
        first.insert(row.device_number, Forward::try_from(row)?);
    }
    Ok(devices
        .into_iter()
        .filter_map(|row| {
            let fingerprint = row.public_key_fingerprint.clone()?;
            let forward = first.remove(&row.number);
            let stored = Box::new(Stored { row, forward });
            Some((fingerprint, Known::Stored(stored)))
        })
        .collect())
}

fn series_of(new: &NewDevice) -> Option<Series> {
    match &new.naming {
        Naming::Serial { prefix } => Some((new.account.0, prefix.clone())),
        Naming::Random | Naming::Given(_) => None,
    }
}

async fn counters(
    transaction: &DatabaseTransaction,
    news: &[NewDevice],
) -> Result<HashMap<Series, i64>, RegistryError> {
    let series: HashSet<Series> = news.iter().filter_map(series_of).collect();
    if series.is_empty() {
        return Ok(HashMap::new());
    }
    let found = read_counters(transaction, &series).await?;
    let missing: Vec<_> = series
        .iter()
        .filter(|series| !found.contains_key(*series))
        .map(|(account, prefix)| counter_row(*account, prefix.clone(), 1))
        .collect();
    if missing.is_empty() {
        return Ok(found);
    }
    // The row has to be there before it can be locked: two processes must not both begin a series.
    let leave = OnConflict::columns([
        serial_counter::Column::AccountId,
        serial_counter::Column::Prefix,
    ])
    .do_nothing()
    .to_owned();
    serial_counter::Entity::insert_many(missing)
        .on_conflict(leave)
        .exec_without_returning(transaction)
        .await
        .attempt("begin series of numbers")?;
    read_counters(transaction, &series).await
}

pub(super) fn counter_row(account: i64, prefix: String, next: i64) -> serial_counter::ActiveModel {
    serial_counter::ActiveModel {
        account_id: ActiveValue::Set(account),
        prefix: ActiveValue::Set(prefix),
        next_number: ActiveValue::Set(next),
    }
}

async fn read_counters(
    transaction: &DatabaseTransaction,
    series: &HashSet<Series>,
) -> Result<HashMap<Series, i64>, RegistryError> {
    let mut any = Condition::any();
    for (account, prefix) in padded(series.iter()) {
        any = any.add(
            Condition::all()
                .add(serial_counter::Column::AccountId.eq(*account))
                .add(serial_counter::Column::Prefix.eq(prefix.as_str())),
        );
    }
    let rows = serial_counter::Entity::find()
        .filter(any)
        .order_by_asc(serial_counter::Column::AccountId)
        .order_by_asc(serial_counter::Column::Prefix)
        .lock_exclusive()
        .all(transaction)
        .await
        .attempt("read serial numbers")?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.account_id, row.prefix), row.next_number))
        .collect())
}

/// Looks up the names that the batch will most likely use.
async fn names(
    transaction: &DatabaseTransaction,
    news: &[NewDevice],
    counters: &HashMap<Series, i64>,
) -> Result<HashMap<(i64, String), bool>, RegistryError> {
    let mut next = counters.clone();
    let mut names: HashMap<(i64, String), bool> = HashMap::new();
    for new in news {
        let name = match &new.naming {
            Naming::Given(name) => folded(name),
            Naming::Serial { prefix } => {
                let Some(number) = next.get_mut(&(new.account.0, prefix.clone())) else {
                    continue;
                };
                let name = serial_name(prefix, *number);
                *number += 1;
                folded(&name)
            }
            Naming::Random => continue,
        };
        names.insert((new.account.0, name), false);
    }
    let accounts: HashSet<i64> = names.keys().map(|(account, _)| *account).collect();
    let folded: HashSet<&str> = names.keys().map(|(_, name)| name.as_str()).collect();
    if folded.is_empty() {
        return Ok(names);
    }
    let taken: Vec<(i64, String)> = device::Entity::find()
        .select_only()
        .column(device::Column::AccountId)
        .column(device::Column::NameFolded)
        .filter(device::Column::AccountId.is_in(padded(accounts)))
        .filter(device::Column::NameFolded.is_in(padded(folded)))
        .into_tuple()
        .all(transaction)
        .await
        .attempt("look up names")?;
    for name in taken {
        // A pair of one call's account and another call's name was not asked for, but is true as well.
        names.insert(name, true);
    }
    Ok(names)
}

/// `cam` and 7 make `cam000007`; from a million on the number grows.
pub(super) fn serial_name(prefix: &str, number: i64) -> String {
    format!("{prefix}{number:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_names_have_six_digits_and_then_more() {
        assert_eq!(serial_name("cam", 1), "cam000001");
        assert_eq!(serial_name("", 999_999), "999999");
        assert_eq!(serial_name("cam", 1_000_000), "cam1000000");
    }

    #[test]
    fn lists_are_filled_up_with_what_they_hold() {
        assert_eq!(padded([1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded([1]), [1]);
        assert_eq!(padded(Vec::<u8>::new()), Vec::<u8>::new());
    }
}
