//! The columns with sealed values, and how each is taken to another key.
//!
//! *Invariant:* of a column of any length, [`BATCH`] rows are in memory.

use std::fmt;

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use super::{Resealed, RotationError};
use crate::master_key::MasterKey;
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::{api_clients, binding_tokens, devices, egress, user_keys};

/// Rows that are in memory at once. Each takes three parameters of a statement, of which SQLite takes 32766.
const BATCH: usize = 500;

pub(super) fn cannot_seal() -> RegistryError {
    RegistryError::Seal {
        attempt: "seal under the new master key",
    }
}

/// A column with sealed values.
pub(super) struct Sealed {
    table: &'static str,
    column: &'static str,
    /// Column by which its rows are told apart, and by which they are sealed into their place.
    key: KeyColumn,
    /// What stands before the key in the place that a value is sealed into.
    place: &'static str,
    /// Column with the keyed hash of the value, and its purpose.
    hash: Option<(&'static str, &'static str)>,
    /// Where its values are counted.
    pub(super) counted: fn(&mut Resealed) -> &mut u64,
}

/// What is in the column `id`.
#[derive(Clone, Copy)]
enum KeyColumn {
    Number,
    Uuid,
    Text,
}

/// Every one there is.
pub(super) const SEALED: &[Sealed] = &[
    Sealed {
        table: "api_keys",
        column: "secret_sealed",
        key: KeyColumn::Text,
        place: api_clients::SEALED_AT,
        hash: Some(("secret_hash", api_clients::SECRET_HASH)),
        counted: |resealed| &mut resealed.api_keys,
    },
    Sealed {
        table: "accounts",
        column: "binding_token_sealed",
        key: KeyColumn::Number,
        place: binding_tokens::SEALED_AT,
        hash: Some(("binding_token_hash", binding_tokens::HASH)),
        counted: |resealed| &mut resealed.binding_tokens,
    },
    Sealed {
        table: "user_keys",
        column: "private_key_sealed",
        key: KeyColumn::Uuid,
        place: user_keys::SEALED_AT,
        hash: None,
        counted: |resealed| &mut resealed.user_private_keys,
    },
    egress_secret("wg_private_key_sealed", egress::PRIVATE_KEY),
    egress_secret("wg_preshared_key_sealed", egress::PRESHARED_KEY),
    egress_secret("proxy_config_sealed", egress::PROXY_CONFIG),
    Sealed {
        table: "devices",
        column: "dbid",
        key: KeyColumn::Uuid,
        place: devices::DBID_SEALED_AT,
        hash: None,
        counted: |resealed| &mut resealed.devices,
    },
];

const fn egress_secret(column: &'static str, place: &'static str) -> Sealed {
    Sealed {
        table: "egress_ips",
        column,
        key: KeyColumn::Uuid,
        place,
        hash: None,
        counted: |resealed| &mut resealed.egress_secrets,
    }
}

impl Sealed {
    /// Takes its values from one key to another, and tells how many.
    pub(super) async fn reseal(
        &self,
        transaction: &DatabaseTransaction,
        from: &MasterKey,
        to: &MasterKey,
    ) -> Result<u64, RotationError> {
        let mut after = None;
        let mut count = 0;
        loop {
            let rows = self.read(transaction, after.as_ref()).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(count);
            };
            after = Some(last.clone());
            let mut values = Vec::with_capacity(rows.len() * 3);
            for (key, sealed) in &rows {
                let place = format!("{} {key}", self.place);
                let Ok(plain) = from.open(&place, sealed) else {
                    return Err(RotationError::Damaged { place });
                };
                let anew = to.seal(&place, plain.expose()).map_err(|_| cannot_seal())?;
                values.push(key.value());
                values.push(anew.into());
                if let Some((_, purpose)) = self.hash {
                    values.push(to.keyed_hash(purpose, plain.expose()).into());
                }
            }
            self.write(transaction, values).await?;
            count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        }
    }

    /// The next rows, in the order of their key.
    async fn read(
        &self,
        transaction: &DatabaseTransaction,
        after: Option<&Key>,
    ) -> Result<Vec<(Key, Vec<u8>)>, RegistryError> {
        const ATTEMPT: &str = "read sealed values";
        let Self { table, column, .. } = self;
        let further = after.map_or("", |_| "AND id > $1");
        let sql = format!(
            "SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL {further} ORDER BY id LIMIT {BATCH}"
        );
        let backend = transaction.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, after.map(Key::value));
        let rows = transaction
            .query_all_raw(statement)
            .await
            .attempt(ATTEMPT)?;
        rows.iter()
            .map(|row| Ok((self.key.read(row)?, row.try_get_by_index(1)?)))
            .collect::<Result<_, DbErr>>()
            .attempt(ATTEMPT)
    }

    /// Writes rows of key, sealed value and, where there is one, hash.
    async fn write(
        &self,
        transaction: &DatabaseTransaction,
        values: Vec<Value>,
    ) -> Result<(), RegistryError> {
        let Self { table, column, .. } = self;
        let (width, hash) = match self.hash {
            Some((hash, _)) => (3, format!(", {hash} = changed.column3")),
            None => (2, String::new()),
        };
        let rows: Vec<String> = (0..values.len() / width)
            .map(|row| {
                let numbers = (1..=width).map(|n| format!("${}", row * width + n));
                format!("({})", numbers.collect::<Vec<_>>().join(", "))
            })
            .collect();
        let sql = format!(
            "UPDATE {table} SET {column} = changed.column2{hash} FROM (VALUES {}) AS changed \
             WHERE {table}.id = changed.column1",
            rows.join(", ")
        );
        let backend = transaction.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, values);
        let done = transaction.execute_raw(statement).await;
        let written = done.attempt("write sealed values")?.rows_affected();
        match usize::try_from(written) == Ok(rows.len()) {
            true => Ok(()),
            false => Err(RegistryError::Damaged {
                column: self.column,
            }),
        }
    }
}

/// What tells a row apart. Prints as in the place that its value is sealed into.
#[derive(Clone, Debug)]
enum Key {
    Number(i64),
    Uuid(Uuid),
    Text(String),
}

impl KeyColumn {
    fn read(self, row: &QueryResult) -> Result<Key, DbErr> {
        Ok(match self {
            Self::Number => Key::Number(row.try_get_by_index(0)?),
            Self::Uuid => Key::Uuid(row.try_get_by_index(0)?),
            Self::Text => Key::Text(row.try_get_by_index(0)?),
        })
    }
}

impl Key {
    fn value(&self) -> Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Uuid(id) => (*id).into(),
            Self::Text(text) => text.clone().into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(id) => id.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sea_orm::DbBackend;

    use super::*;
    use crate::registry::store::Store;

    /// Columns of bytes that are seen to otherwise.
    const OTHERS: [&str; 3] = [
        "master_key_check.hash",
        "master_key_check.lasting_sealed",
        "one_time_passwords.hash",
    ];

    #[tokio::test]
    async fn no_column_is_forgotten() {
        let keys = MasterKey::random().unwrap();
        let store = Store::open("sqlite::memory:", &keys.into()).await.unwrap();
        let sql = "SELECT m.name || '.' || c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c \
            WHERE m.type = 'table' AND c.type = 'BLOB' AND c.name NOT IN ('id') AND c.name NOT LIKE '%\\_id' ESCAPE '\\'";
        let statement = Statement::from_string(DbBackend::Sqlite, sql);
        let rows = store.write.query_all_raw(statement).await.unwrap();
        let found: BTreeSet<String> = rows
            .iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect();
        let mut known: BTreeSet<String> = OTHERS.map(ToOwned::to_owned).into();
        for sealed in SEALED {
            known.insert(format!("{}.{}", sealed.table, sealed.column));
            if let Some((hash, _)) = sealed.hash {
                known.insert(format!("{}.{hash}", sealed.table));
            }
        }
        assert_eq!(found, known);
    }
}
