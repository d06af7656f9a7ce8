//! Clicked links: which visitor addresses a session lets in (openport contract section 8).

use std::net::IpAddr;
use std::time::Duration;

use sea_orm::QueryFilter as _;
use sea_orm::{ActiveValue, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _};

use super::Registry;
use super::entity::link_click;
use super::error::{Attempt as _, RegistryError};
use super::model::{Device, Forward, ForwardId, Timestamp};

/// How long a click lets an address in.
const CLICK_HOLDS: Duration = Duration::from_secs(24 * 3600);

impl Registry {
    /// Notes that `visitor` clicked the link of a session.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn record_click(
        &self,
        device: &Device,
        forward: &Forward,
        visitor: IpAddr,
        at: Timestamp,
    ) -> Result<(), RegistryError> {
        let row = link_click::ActiveModel {
            id: ActiveValue::NotSet,
            at: ActiveValue::Set(at.0),
            account_id: ActiveValue::Set(device.account.0),
            device_id: ActiveValue::Set(device.id.0),
            forward_id: ActiveValue::Set(forward.id.0),
            port: ActiveValue::Set(forward.public_port.into()),
            source_ip: ActiveValue::Set(visitor.to_canonical().to_string()),
            key_name: ActiveValue::Set(device.name.clone()),
        };
        link_click::Entity::insert(row)
            .exec_without_returning(&self.store.write)
            .await
            .attempt("record click")?;
        Ok(())
    }

    /// Whether `visitor` clicked the link of that session within the last 24 hours.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn has_clicked(
        &self,
        forward: ForwardId,
        visitor: IpAddr,
        now: Timestamp,
    ) -> Result<bool, RegistryError> {
        let holds = i64::try_from(CLICK_HOLDS.as_micros()).unwrap_or(i64::MAX);
        let clicks = link_click::Entity::find()
            .filter(link_click::Column::ForwardId.eq(forward.0))
            .filter(link_click::Column::SourceIp.eq(visitor.to_canonical().to_string()))
            .filter(link_click::Column::At.gt(now.0.saturating_sub(holds)))
            .count(&self.store.read)
            .await
            .attempt("look for click")?;
        Ok(clicks > 0)
    }
}
