//! The clicks of an account on links that open a public port for one visitor (openport contract section 3,
//! `openforiplinkclicks/`). They outlive the device.

use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::Registry;
use super::entity::link_click;
use super::error::{Attempt as _, RegistryError};
use super::model::{AccountId, DeviceId, ForwardId, LinkClick, Slice, Timestamp};

impl Registry {
    /// The clicks of an account, or on links of these devices alone: how many they are, and the part of them that
    /// `slice` says, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn link_clicks(
        &self,
        account: AccountId,
        devices: Option<&[DeviceId]>,
        slice: Slice,
    ) -> Result<(u64, Vec<LinkClick>), RegistryError> {
        let mut which = Condition::all().add(link_click::Column::AccountId.eq(account.0));
        if let Some(devices) = devices {
            let ids = devices.iter().map(|device| device.0);
            which = which.add(link_click::Column::DeviceId.is_in(ids));
        }
        let clicks = link_click::Entity::find().filter(which);
        let total = clicks
            .clone()
            .count(&self.store.read)
            .await
            .attempt("count clicks on links")?;
        let rows = clicks
            .order_by_asc(link_click::Column::Id)
            .limit(slice.limit)
            .offset(slice.offset)
            .all(&self.store.read)
            .await
            .attempt("list clicks on links")?;
        let rows = rows.into_iter().map(LinkClick::try_from);
        Ok((total, rows.collect::<Result<_, _>>()?))
    }
}

impl TryFrom<link_click::Model> for LinkClick {
    type Error = RegistryError;

    fn try_from(row: link_click::Model) -> Result<Self, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        Ok(Self {
            at: Timestamp(row.at),
            account: AccountId(row.account_id),
            device: DeviceId(row.device_id),
            forward: ForwardId(row.forward_id),
            port: u16::try_from(row.port).map_err(|_| damaged("link_clicks.port"))?,
            source_ip: row
                .source_ip
                .parse()
                .map_err(|_| damaged("link_clicks.source_ip"))?,
            key_name: row.key_name,
        })
    }
}
