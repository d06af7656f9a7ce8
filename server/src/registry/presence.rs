//! When devices were last there, and why they went.

use std::collections::{HashMap, HashSet};

use moorline_protocol::operator::DeviceState;
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};
use sea_orm::{QuerySelect as _, Statement, TryGetableMany, Value};
use uuid::Uuid;

use super::Registry;
use super::entity::device;
use super::error::{Attempt as _, RegistryError};
use super::model::{AccountId, DeviceId, Standing, Timestamp};

/// Devices noted in one statement.
const DEVICES_AT_ONCE: usize = 500;

impl Registry {
    /// Notes the last sign of life of many devices at once. Devices that are gone are skipped, and a time never goes
    /// back.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn record_seen(&self, seen: Vec<(DeviceId, Timestamp)>) -> Result<(), RegistryError> {
        let mut latest: HashMap<DeviceId, Timestamp> = HashMap::with_capacity(seen.len());
        for (device, at) in seen {
            let last = latest.entry(device).or_insert(at);
            *last = at.max(*last);
        }
        self.note_latest("last_seen_at", &latest, "record last sign of life")
            .await
    }

    /// Notes when tunnels of many devices came up. Devices that are gone are skipped, and a time never goes back.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn record_up(&self, ups: &HashMap<DeviceId, Timestamp>) -> Result<(), RegistryError> {
        self.note_latest("last_up_at", ups, "record when tunnels came up")
            .await
    }

    /// Notes times in a column that never go back.
    async fn note_latest(
        &self,
        column: &'static str,
        times: &HashMap<DeviceId, Timestamp>,
        attempt: &'static str,
    ) -> Result<(), RegistryError> {
        let times: Vec<_> = times.iter().collect();
        for part in times.chunks(DEVICES_AT_ONCE) {
            let sql = format!(
                "INSERT INTO device_presence (device_number, {column}) \
                 SELECT d.number, v.column2 FROM (VALUES {}) AS v JOIN devices AS d ON d.id = v.column1 WHERE TRUE \
                 ON CONFLICT (device_number) DO UPDATE SET {column} = excluded.{column} \
                 WHERE device_presence.{column} IS NULL OR device_presence.{column} < excluded.{column}",
                pairs(part.len())
            );
            let values = part
                .iter()
                .flat_map(|(device, at)| [Value::from(device.0), Value::from(at.0)]);
            self.write_raw(&sql, values, attempt).await?;
        }
        Ok(())
    }

    /// Adds payload bytes to what devices carried in the month that began at `month`; a count of an earlier month
    /// begins anew. Devices that are gone are skipped. All of it is written, or nothing.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn record_traffic(
        &self,
        bytes: &HashMap<DeviceId, u64>,
        month: Timestamp,
    ) -> Result<(), RegistryError> {
        const ATTEMPT: &str = "record traffic of devices";
        let bytes: Vec<_> = bytes.iter().collect();
        let transaction = self.store.begin().await?;
        let backend = transaction.get_database_backend();
        for part in bytes.chunks(DEVICES_AT_ONCE) {
            let month_place = 2 * part.len() + 1;
            let sql = format!(
                "INSERT INTO device_presence (device_number, bytes, bytes_since) \
                 SELECT d.number, v.column2, ${month_place} FROM (VALUES {}) AS v JOIN devices AS d ON d.id = v.column1 \
                 WHERE TRUE ON CONFLICT (device_number) DO UPDATE SET bytes = excluded.bytes + \
                 CASE WHEN device_presence.bytes_since >= excluded.bytes_since THEN device_presence.bytes ELSE 0 END, \
                 bytes_since = excluded.bytes_since",
                pairs(part.len())
            );
            let values = part.iter().flat_map(|(device, bytes)| {
                let bytes = i64::try_from(**bytes).unwrap_or(i64::MAX);
                [Value::from(device.0), Value::from(bytes)]
            });
            let values = values.chain([Value::from(month.0)]);
            transaction
                .execute_raw(Statement::from_sql_and_values(backend, sql, values))
                .await
                .attempt(ATTEMPT)?;
        }
        transaction.commit().await.attempt(ATTEMPT)
    }

    /// How these devices stand now; those that are missing in the answer are deleted.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn standings(
        &self,
        devices: &[DeviceId],
    ) -> Result<HashMap<DeviceId, Standing>, RegistryError> {
        let ask = |places: &str| {
            format!(
                "SELECT d.id, d.state, d.wanted, a.suspended FROM devices AS d \
                 JOIN accounts AS a ON a.id = d.account_id WHERE d.id IN ({places})"
            )
        };
        let rows: Vec<(Uuid, String, String, bool)> = self
            .of_devices(devices, ask, "look up how devices stand")
            .await?;
        let standings = rows.into_iter().map(|(id, state, wanted, suspended)| {
            let standing = match DeviceState::parse(&state) {
                Some(DeviceState::Blocked) => Standing::Blocked,
                Some(DeviceState::Active) if suspended => Standing::Inactive,
                Some(DeviceState::Active) if wanted == "closed" => Standing::Closed,
                Some(DeviceState::Active) => Standing::Open,
                Some(DeviceState::Inactive) | None => Standing::Inactive,
            };
            (DeviceId(id), standing)
        });
        Ok(standings.collect())
    }

    /// In which account these devices are, and whether they may be used; those that are missing in the answer are
    /// deleted.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn places_of(
        &self,
        devices: &[DeviceId],
    ) -> Result<HashMap<DeviceId, (AccountId, DeviceState)>, RegistryError> {
        const ATTEMPT: &str = "look up where devices are";
        let mut places = HashMap::with_capacity(devices.len());
        for part in devices.chunks(DEVICES_AT_ONCE) {
            let rows: Vec<(Uuid, i64, String)> = device::Entity::find()
                .select_only()
                .columns([
                    device::Column::Id,
                    device::Column::AccountId,
                    device::Column::State,
                ])
                .filter(device::Column::Id.is_in(part.iter().map(|device| device.0)))
                .into_tuple()
                .all(&self.store.read)
                .await
                .attempt(ATTEMPT)?;
            for (id, account, state) in rows {
                let state = DeviceState::parse(&state).ok_or(RegistryError::Damaged {
                    column: "devices.state",
                })?;
                places.insert(DeviceId(id), (AccountId(account), state));
            }
        }
        Ok(places)
    }

    /// Those of these devices whose sessions have to be recorded: they or the hosts that they are say so.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn recordings_demanded(
        &self,
        devices: &[DeviceId],
    ) -> Result<HashSet<DeviceId>, RegistryError> {
        let ask = |places: &str| {
            format!(
                "SELECT d.id FROM devices AS d LEFT JOIN hosts AS h ON h.device_id = d.id \
                 WHERE d.id IN ({places}) AND (d.recording_required OR h.recording_required)"
            )
        };
        let rows: Vec<(Uuid,)> = self
            .of_devices(devices, ask, "look up where recordings are demanded")
            .await?;
        Ok(rows.into_iter().map(|(id,)| DeviceId(id)).collect())
    }

    /// The rows about `devices`: `ask` makes the statement that has the places of their ids in its `IN (…)`.
    async fn of_devices<T: TryGetableMany>(
        &self,
        devices: &[DeviceId],
        ask: impl Fn(&str) -> String + Sync,
        attempt: &'static str,
    ) -> Result<Vec<T>, RegistryError> {
        let backend = self.store.read.get_database_backend();
        let mut found = Vec::new();
        for part in devices.chunks(DEVICES_AT_ONCE) {
            let places: Vec<_> = (1..=part.len()).map(|place| format!("${place}")).collect();
            let values = part.iter().map(|device| Value::from(device.0));
            let statement =
                Statement::from_sql_and_values(backend, ask(&places.join(", ")), values);
            let rows = self.store.read.query_all_raw(statement).await;
            for row in rows.attempt(attempt)? {
                found.push(row.try_get_many_by_index().attempt(attempt)?);
            }
        }
        Ok(found)
    }

    /// Notes why the last tunnel of a device ended.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn record_end(
        &self,
        id: DeviceId,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), RegistryError> {
        let sql = "INSERT INTO device_presence (device_number, last_end, last_end_at) \
             SELECT number, $2, $3 FROM devices WHERE id = $1 \
             ON CONFLICT (device_number) DO UPDATE SET last_end = excluded.last_end, last_end_at = excluded.last_end_at";
        let values = [id.0.into(), reason.into(), at.0.into()];
        self.write_raw(sql, values, "record end of tunnel").await
    }

    async fn write_raw(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
        attempt: &'static str,
    ) -> Result<(), RegistryError> {
        let backend = self.store.write.get_database_backend();
        self.store
            .write
            .execute_raw(Statement::from_sql_and_values(backend, sql, values))
            .await
            .map(|_| ())
            .attempt(attempt)
    }
}

/// Places for so many rows of two values.
fn pairs(rows: usize) -> String {
    let rows: Vec<String> = (0..rows)
        .map(|row| format!("(${}, ${})", 2 * row + 1, 2 * row + 2))
        .collect();
    rows.join(", ")
}
