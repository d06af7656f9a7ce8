//! The devices that the context of a key names (API client contract section 3).

use std::collections::HashMap;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use uuid::Uuid;

use crate::registry::entity::device;
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::model::{AccountId, DeviceId};
use crate::registry::{Registry, folded};

/// References looked up in one statement.
const AT_ONCE: usize = 500;

impl Registry {
    /// The devices of `account` with these UUIDs or names, each where its reference stands; `None` for one that the
    /// account has not.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn devices_referred_to(
        &self,
        account: AccountId,
        references: &[String],
    ) -> Result<Vec<Option<DeviceId>>, RegistryError> {
        let mut found = Vec::with_capacity(references.len());
        for part in references.chunks(AT_ONCE) {
            let names = part.iter().map(|reference| folded(reference));
            let ids = part.iter().filter_map(|text| Uuid::try_parse(text).ok());
            let rows: Vec<(Uuid, String)> = device::Entity::find()
                .select_only()
                .column(device::Column::Id)
                .column(device::Column::NameFolded)
                .filter(device::Column::AccountId.eq(account.0))
                .filter(
                    sea_orm::Condition::any()
                        .add(device::Column::NameFolded.is_in(names))
                        .add(device::Column::Id.is_in(ids)),
                )
                .into_tuple()
                .all(&self.store.read)
                .await
                .attempt("find devices of a context")?;
            let by_name: HashMap<&str, Uuid> =
                rows.iter().map(|(id, name)| (name.as_str(), *id)).collect();
            found.extend(part.iter().map(|reference| {
                let by_id = Uuid::try_parse(reference).ok();
                by_id
                    .filter(|wanted| rows.iter().any(|(id, _)| id == wanted))
                    .or_else(|| by_name.get(folded(reference).as_str()).copied())
                    .map(DeviceId)
            }));
        }
        Ok(found)
    }
}
