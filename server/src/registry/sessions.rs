//! Forwards as sessions of the Openport surface (openport contract sections 5 to 8).
//!
//! *Invariant:* of a session token only its keyed hash is kept; the client brings the token itself.

use data_encoding::HEXLOWER;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _};
use subtle::ConstantTimeEq as _;

use super::Registry;
use super::entity::{device, forward};
use super::error::{Attempt as _, RegistryError};
use super::model::{Device, Forward};

impl Registry {
    /// The session on that public port of `node`, with its device, if `token` is its token. Whether the device may
    /// be served now is not judged here.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_with_token(
        &self,
        node: &str,
        port: u16,
        token: &str,
    ) -> Result<Option<(Device, Forward)>, RegistryError> {
        let found = self.session_at(node, port).await?;
        Ok(found.filter(|(_, forward)| self.is_session_token(forward, token)))
    }

    /// The session on that public port of `node`, with its device.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_at(
        &self,
        node: &str,
        port: u16,
    ) -> Result<Option<(Device, Forward)>, RegistryError> {
        let row = forward::Entity::find()
            .filter(forward::Column::Node.eq(node))
            .filter(forward::Column::PublicPort.eq(i32::from(port)))
            .one(&self.store.read)
            .await
            .attempt("read session")?;
        let Some(row) = row else { return Ok(None) };
        let of_device = Condition::all().add(device::Column::Number.eq(row.device_number));
        let device = self.one_device(of_device).await?;
        Ok(device.and_then(|device| {
            let forward = device.forwards.iter().find(|one| one.id.0 == row.id)?;
            let forward = forward.clone();
            Some((device, forward))
        }))
    }

    /// Whether `token` is the session token of `forward`; takes the same time whatever it is.
    #[must_use]
    pub fn is_session_token(&self, forward: &Forward, token: &str) -> bool {
        let given = self.session_token_hash(token);
        forward
            .session_token
            .as_ref()
            .is_some_and(|kept| bool::from(kept.expose().as_bytes().ct_eq(given.as_bytes())))
    }

    fn session_token_hash(&self, token: &str) -> String {
        let hash = self
            .store
            .keys
            .keyed_hash("session token", token.as_bytes());
        HEXLOWER.encode(&hash)
    }
}
