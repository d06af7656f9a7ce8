//! Changing and removing devices.

use moorline_protocol::operator::DeviceState;
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, Condition, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
};

use super::entity::{device, forward};
use super::error::{Attempt as _, RegistryError, RenameError, SetKeyError};
use super::model::{AccountId, Device, DeviceId, PolicyChange, PublicKey, Wanted};
use super::{Registry, folded};
use crate::random;

/// The device that a change is meant for. One that was found in an account is meant as long as it is there: what was
/// allowed in an account does nothing in the next one.
#[derive(Clone, Copy, Debug)]
pub struct Meant {
    id: DeviceId,
    account: Option<AccountId>,
}

impl From<DeviceId> for Meant {
    /// Wherever it is.
    fn from(id: DeviceId) -> Self {
        Self { id, account: None }
    }
}

impl From<&Device> for Meant {
    /// In the account that it was found in.
    fn from(device: &Device) -> Self {
        Self {
            id: device.id,
            account: Some(device.account),
        }
    }
}

impl Meant {
    /// Picks its row.
    pub(super) fn condition(self) -> Condition {
        let account = self.account.map(|account| account.0);
        Condition::all()
            .add(device::Column::Id.eq(self.id.0))
            .add_option(account.map(|account| device::Column::AccountId.eq(account)))
    }
}

impl Registry {
    /// Removes a device; its key, ports and name are free again, its serial number is not. False when the account has
    /// no such device.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn delete_device(
        &self,
        account: AccountId,
        id: DeviceId,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let found = device::Entity::find()
            .filter(device::Column::Id.eq(id.0))
            .filter(device::Column::AccountId.eq(account.0))
            .one(&transaction)
            .await
            .attempt("delete device")?;
        let Some(found) = found else {
            return Ok(false);
        };
        let forwards = forward::Entity::find()
            .filter(forward::Column::DeviceNumber.eq(found.number))
            .all(&transaction)
            .await
            .attempt("read forwards")?;
        device::Entity::delete_many()
            .filter(device::Column::Number.eq(found.number))
            .exec(&transaction)
            .await
            .attempt("delete device")?;
        transaction.commit().await.attempt("delete device")?;
        self.store.with_ports(|ports| {
            ports.release(forwards.iter().filter_map(|forward| {
                let port = u16::try_from(forward.public_port).ok()?;
                Some((forward.node.as_str(), port))
            }));
        });
        Ok(true)
    }

    /// Sets whether an operator wants its tunnel open. False when there is no such device, here and below.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_wanted(
        &self,
        device: impl Into<Meant>,
        wanted: Wanted,
    ) -> Result<bool, RegistryError> {
        let value = Expr::value(wanted.as_str());
        self.change(device, [(device::Column::Wanted, value)]).await
    }

    /// Sets whether the tunnel is kept while the device does not answer.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_allow_clientless(
        &self,
        device: impl Into<Meant>,
        allow: bool,
    ) -> Result<bool, RegistryError> {
        let value = Expr::value(allow);
        self.change(device, [(device::Column::AllowClientless, value)])
            .await
    }

    /// Sets how many new connections per minute a visitor may make to its public ports; 0 is no limit.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_max_connections(
        &self,
        device: impl Into<Meant>,
        per_minute: u32,
    ) -> Result<bool, RegistryError> {
        let value = Expr::value(i32::try_from(per_minute).unwrap_or(i32::MAX));
        self.change(device, [(device::Column::MaxConnectionsPerMinute, value)])
            .await
    }

    /// Sets whether visitors have to click a link before its public ports let them in, where the forward says nothing
    /// of its own. Forwards that have no link get one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_ip_link_protection(
        &self,
        device: impl Into<Meant>,
        protect: bool,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let found = device::Entity::find()
            .filter(device.into().condition())
            .one(&transaction)
            .await
            .attempt("read device")?;
        let Some(found) = found else {
            return Ok(false);
        };
        device::Entity::update_many()
            .col_expr(device::Column::IpLinkProtection, Expr::value(protect))
            .filter(device::Column::Number.eq(found.number))
            .exec(&transaction)
            .await
            .attempt("change device")?;
        if protect {
            make_links(&transaction, found.number).await?;
        }
        transaction.commit().await.attempt("change device")?;
        Ok(true)
    }

    /// Sets whether it may be used at all.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_state(
        &self,
        device: impl Into<Meant>,
        state: DeviceState,
    ) -> Result<bool, RegistryError> {
        let value = Expr::value(state.as_str());
        self.change(device, [(device::Column::State, value)]).await
    }

    /// Changes what may be done with its sessions.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_device_policy(
        &self,
        device: impl Into<Meant>,
        change: PolicyChange,
    ) -> Result<bool, RegistryError> {
        let columns = [
            (device::Column::RecordingRequired, change.recording_required),
            (
                device::Column::DirectTcpipAllowed,
                change.direct_tcpip_allowed,
            ),
        ];
        let named = columns
            .into_iter()
            .filter_map(|(column, value)| Some((column, Expr::value(value?))));
        self.change(device, named).await
    }

    /// Renames a device.
    ///
    /// # Errors
    /// [`RenameError`].
    pub async fn rename_device(
        &self,
        device: impl Into<Meant>,
        name: &str,
    ) -> Result<(), RenameError> {
        let columns = [
            (device::Column::Name, Expr::value(name)),
            (device::Column::NameFolded, Expr::value(folded(name))),
        ];
        match self.change(device, columns).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RenameError::UnknownDevice),
            Err(error) if error.unique_violation().is_some() => Err(RenameError::NameTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets or replaces its key. The key it has already is fine.
    ///
    /// # Errors
    /// [`SetKeyError`].
    pub async fn set_device_key(
        &self,
        device: impl Into<Meant>,
        key: PublicKey,
    ) -> Result<(), SetKeyError> {
        let columns = [
            (device::Column::PublicKey, Expr::value(key.canonical)),
            (device::Column::PublicKeyComment, Expr::value(key.comment)),
            (
                device::Column::PublicKeyFingerprint,
                Expr::value(key.fingerprint),
            ),
        ];
        match self.change(device, columns).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SetKeyError::UnknownDevice),
            Err(error) if error.unique_violation().is_some() => Err(SetKeyError::InUse),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes what the device says of itself; what is `None` stays.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn refresh_device(
        &self,
        id: DeviceId,
        hostname: Option<String>,
        hardware: Option<String>,
    ) -> Result<bool, RegistryError> {
        let columns: Vec<_> = [
            (device::Column::Hostname, hostname),
            (device::Column::Hardware, hardware),
        ]
        .into_iter()
        .filter_map(|(column, value)| Some((column, Expr::value(value?))))
        .collect();
        if columns.is_empty() {
            return Ok(self.device(id).await?.is_some());
        }
        self.change(id, columns).await
    }

    /// Notes the host keys of its sshd, `type base64` each.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_sshd_host_keys(
        &self,
        id: DeviceId,
        keys: Vec<String>,
    ) -> Result<bool, RegistryError> {
        let value = Expr::value(serde_json::Value::from(keys).to_string());
        self.change(id, [(device::Column::SshdHostKeys, value)])
            .await
    }

    async fn change(
        &self,
        device: impl Into<Meant>,
        columns: impl IntoIterator<Item = (device::Column, SimpleExpr)>,
    ) -> Result<bool, RegistryError> {
        let mut update = device::Entity::update_many();
        for (column, value) in columns {
            update = update.col_expr(column, value);
        }
        let done = update
            .filter(device.into().condition())
            .exec(&self.store.write)
            .await
            .attempt("change device")?;
        Ok(done.rows_affected > 0)
    }
}

/// Gives a link to every forward of a device that has none.
async fn make_links(transaction: &DatabaseTransaction, number: i64) -> Result<(), RegistryError> {
    let without = forward::Entity::find()
        .filter(forward::Column::DeviceNumber.eq(number))
        .filter(forward::Column::LinkToken.is_null())
        .all(transaction)
        .await
        .attempt("read forwards")?;
    for row in without {
        forward::Entity::update_many()
            .col_expr(
                forward::Column::LinkToken,
                Expr::value(random::link_token()),
            )
            .filter(forward::Column::Id.eq(row.id))
            .exec(transaction)
            .await
            .attempt("make link of forward")?;
    }
    Ok(())
}
