//! HTTP names: which forward of which device a name leads to (openport contract section 12).

use moorline_protocol::operator::DeviceState;
use sea_orm::RelationDef;
use sea_orm::{ColumnTrait as _, EntityTrait as _, JoinType, QueryFilter as _, QuerySelect as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{account, device, forward};
use super::error::{Attempt as _, RegistryError};
use super::model::{DeviceId, ForwardId, HttpName, Standing, Wanted};

/// Columns of the statement below.
type Row = (i64, Uuid, String, String, bool, bool);

impl Registry {
    /// What the HTTP name with that label leads to on `node`; `None` for a label that nobody has, or whose forward
    /// carries something else now. One statement, so that a device that is blocked or deleted is so at the very next
    /// request.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn forward_by_label(
        &self,
        node: &str,
        label: &str,
    ) -> Result<Option<HttpName>, RegistryError> {
        let of_device: RelationDef = forward::Entity::belongs_to(device::Entity)
            .from(forward::Column::DeviceNumber)
            .to(device::Column::Number)
            .into();
        let of_account: RelationDef = device::Entity::belongs_to(account::Entity)
            .from(device::Column::AccountId)
            .to(account::Column::Id)
            .into();
        let row: Option<Row> = forward::Entity::find()
            .select_only()
            .column(forward::Column::Id)
            .column(device::Column::Id)
            .column(device::Column::State)
            .column(device::Column::Wanted)
            .column(account::Column::Suspended)
            .column(forward::Column::Killed)
            .join(JoinType::InnerJoin, of_device)
            .join(JoinType::InnerJoin, of_account)
            .filter(forward::Column::HttpLabel.eq(label))
            .filter(forward::Column::Node.eq(node))
            .filter(forward::Column::IsHttp.eq(true))
            .into_tuple()
            .one(&self.store.read)
            .await
            .attempt("find HTTP name")?;
        row.map(named).transpose()
    }
}

fn named(
    (forward, device, state, wanted, suspended, killed): Row,
) -> Result<HttpName, RegistryError> {
    let damaged = |column| RegistryError::Damaged { column };
    let state = DeviceState::parse(&state).ok_or_else(|| damaged("devices.state"))?;
    let wanted = Wanted::parse(&wanted).ok_or_else(|| damaged("devices.wanted"))?;
    let standing = match (state, wanted) {
        (DeviceState::Blocked, _) => Standing::Blocked,
        (DeviceState::Inactive, _) => Standing::Inactive,
        (DeviceState::Active, _) if suspended => Standing::Inactive,
        (DeviceState::Active, Wanted::Closed) => Standing::Closed,
        (DeviceState::Active, Wanted::Open) if killed => Standing::Closed,
        (DeviceState::Active, Wanted::Open) => Standing::Open,
    };
    Ok(HttpName {
        device: DeviceId(device),
        forward: ForwardId(forward),
        standing,
    })
}
