//! The forwards of an account that are open now (openport contract section 3, `sessions/`). Which are open is asked
//! of the live tunnels; here it is told whose they are.

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::Registry;
use super::entity::{device, forward};
use super::error::{Attempt as _, RegistryError};
use super::model::{AccountId, ForwardId, Session, Slice};

/// Numbers named in one statement; databases limit them.
const NUMBERS_AT_ONCE: usize = 1000;

impl Registry {
    /// Those of the forwards `open` that belong to devices of the account: how many they are, and the part of them
    /// that `slice` says, in the order they were made.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn open_sessions(
        &self,
        account: AccountId,
        open: &[ForwardId],
        slice: Slice,
    ) -> Result<(u64, Vec<Session>), RegistryError> {
        let mut own = self.forwards_among(account, open).await?;
        own.sort_unstable();
        let total = own.len() as u64;
        let from = usize::try_from(slice.offset).unwrap_or(usize::MAX);
        let most = usize::try_from(slice.limit).unwrap_or(usize::MAX);
        let page: Vec<(i64, i64)> = own.into_iter().skip(from).take(most).collect();
        let mut numbers: Vec<i64> = page.iter().map(|(_, device)| *device).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let devices = self.devices_by_number(&numbers).await?;
        let sessions = page.into_iter().filter_map(|(forward, number)| {
            let device = devices.iter().find(|device| device.number == number)?;
            let forward = device.forwards.iter().find(|one| one.id.0 == forward)?;
            Some(Session {
                device: device.clone(),
                forward: forward.clone(),
            })
        });
        Ok((total, sessions.collect()))
    }

    /// Number of the forward and of its device.
    async fn forwards_among(
        &self,
        account: AccountId,
        open: &[ForwardId],
    ) -> Result<Vec<(i64, i64)>, RegistryError> {
        // Asked of each device that is named: an account may have many more.
        let of_account = Query::select()
            .expr(Expr::value(1))
            .from(device::Entity)
            .and_where(
                Expr::col((device::Entity, device::Column::Number))
                    .equals((forward::Entity, forward::Column::DeviceNumber)),
            )
            .and_where(device::Column::AccountId.eq(account.0))
            .to_owned();
        let mut own = Vec::new();
        for part in open.chunks(NUMBERS_AT_ONCE) {
            let found: Vec<(i64, i64)> = forward::Entity::find()
                .select_only()
                .column(forward::Column::Id)
                .column(forward::Column::DeviceNumber)
                .filter(forward::Column::Id.is_in(part.iter().map(|id| id.0)))
                .filter(Expr::exists(of_account.clone()))
                .into_tuple()
                .all(&self.store.read)
                .await
                .attempt("find open forwards of account")?;
            own.extend(found);
        }
        Ok(own)
    }
}
