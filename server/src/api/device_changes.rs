//! What every surface does alike when a device is changed or removed: it is written down, tunnels that may no longer
//! be are cut, open ports follow, and an event is recorded (`contract/README.md`, rules that hold on every surface).
//!
//! Nothing here knows what an answer looks like, or which names a surface allows.

use moorline_protocol::operator::DeviceState;
use serde_json::{Value, json};

use super::Api;
use crate::presence;
use crate::registry::error::{RegistryError, RenameError, SetKeyError};
use crate::registry::model::{ApiKey, Device, DeviceId, NewEvent, PublicKey, User};
use crate::tunnels::Cut;

/// Who changes a device, for the audit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Actor<'a> {
    /// A person.
    Operator(&'a User),
    /// The holder of an API key.
    Key(&'a ApiKey),
    /// The holder of an API key, or the device itself with its quadruple.
    Provisioning,
}

impl Api {
    /// Removes a device. False when it is gone already, here and below.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn delete_device(
        &self,
        device: &Device,
        actor: Actor<'_>,
    ) -> Result<bool, RegistryError> {
        let registry = self.registry();
        if !registry.delete_device(device.account, device.id).await? {
            return Ok(false);
        }
        self.cut_device(device, Cut::Deleted).await;
        let metadata = json!({"name": device.name});
        self.record_change(device, "device.deleted", actor, metadata)
            .await;
        Ok(true)
    }

    /// Sets whether the device may be used at all. Leaving `active` cuts its tunnels; its ports stay reserved.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn set_device_state(
        &self,
        device: &Device,
        state: DeviceState,
        actor: Actor<'_>,
    ) -> Result<bool, RegistryError> {
        if !self.registry().set_state(device, state).await? {
            return Ok(false);
        }
        match state {
            DeviceState::Active => {}
            DeviceState::Blocked => self.cut_device(device, Cut::Blocked).await,
            DeviceState::Inactive => self.cut_device(device, Cut::Inactive).await,
        }
        let metadata = json!({"name": device.name, "state": state.as_str()});
        self.record_change(device, "device.state", actor, metadata)
            .await;
        Ok(true)
    }

    /// Gives the device another name, which the caller has checked.
    ///
    /// # Errors
    /// [`RenameError`].
    pub(super) async fn rename_device(
        &self,
        device: &Device,
        name: &str,
        actor: Actor<'_>,
    ) -> Result<(), RenameError> {
        self.registry().rename_device(device, name).await?;
        let metadata = json!({"old_name": device.name, "new_name": name});
        self.record_change(device, "device.renamed", actor, metadata)
            .await;
        Ok(())
    }

    /// Replaces the key of the device and cuts the tunnels that came with the old one. Of the key that it has already,
    /// only the comment is noted.
    ///
    /// # Errors
    /// [`SetKeyError`].
    pub(super) async fn rekey_device(
        &self,
        device: &Device,
        key: PublicKey,
        actor: Actor<'_>,
    ) -> Result<(), SetKeyError> {
        let same_key = device.public_key.as_ref() == Some(&key);
        self.registry().set_device_key(device, key).await?;
        if !same_key {
            self.cut_device(device, Cut::Rekeyed).await;
            let metadata = json!({"name": device.name});
            self.record_change(device, "device.rekeyed", actor, metadata)
                .await;
        }
        Ok(())
    }

    /// Sets how many new connections a minute one visitor may make to a public port; open ports follow at once.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn set_device_limit(
        &self,
        device: &Device,
        per_minute: u32,
        actor: Actor<'_>,
    ) -> Result<bool, RegistryError> {
        let registry = self.registry();
        if !registry.set_max_connections(device, per_minute).await? {
            return Ok(false);
        }
        self.ports().change(device.id, |rules| {
            rules.max_connections_per_minute = per_minute;
        });
        let metadata = json!({"name": device.name, "max_connections_per_minute": per_minute});
        self.record_change(device, "device.settings", actor, metadata)
            .await;
        Ok(true)
    }

    /// Sets whether visitors have to click a link first, where a forward says nothing of its own; open ports follow at
    /// once.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub(super) async fn set_device_protection(
        &self,
        device: &Device,
        protect: bool,
        actor: Actor<'_>,
    ) -> Result<bool, RegistryError> {
        let registry = self.registry();
        if !registry.set_ip_link_protection(device, protect).await? {
            return Ok(false);
        }
        self.ports()
            .change(device.id, |rules| rules.ip_link_protection = protect);
        let metadata = json!({"name": device.name, "ip_link_protection": protect});
        self.record_change(device, "device.settings", actor, metadata)
            .await;
        Ok(true)
    }

    /// What may be done with sessions on a device has changed: its ways are closed or opened at once.
    pub(super) async fn ways_changed(&self, device: DeviceId) {
        presence::learn_recording(self.registry(), self.tunnels(), device).await;
    }

    /// Ends the tunnels of a device.
    pub(super) async fn cut_device(&self, device: &Device, cut: Cut) {
        if !self.tunnels().cut(device.id, cut).await {
            let reason = cut.reason();
            tracing::warn!(device = %device.id, reason, "tunnel still there after cut");
        }
    }

    /// Notes a change for the audit. `metadata` is an object without secrets; who did it is added.
    pub(super) async fn record_change(
        &self,
        device: &Device,
        kind: &'static str,
        actor: Actor<'_>,
        metadata: Value,
    ) {
        let mut metadata = metadata;
        let (message, by) = match actor {
            Actor::Operator(user) => {
                let name = &user.username;
                (format!("{kind} by {name}"), Some(("operator", name)))
            }
            Actor::Key(key) => {
                let message = format!("{kind} with API key {}: {}", key.owner_name, device.name);
                (message, Some(("api_key", &key.id)))
            }
            Actor::Provisioning => {
                let message = format!("{kind} through the provisioning calls: {}", device.name);
                (message, None)
            }
        };
        if let (Some(object), Some((name, value))) = (metadata.as_object_mut(), by) {
            object.insert(name.into(), value.clone().into());
        }
        let user = match actor {
            Actor::Operator(user) => Some(user.id),
            Actor::Key(_) | Actor::Provisioning => None,
        };
        let event = NewEvent {
            account: Some(device.account),
            device: Some(device.id),
            user,
            host: None,
            task: None,
            level: "info",
            kind,
            message,
            metadata,
        };
        if let Err(error) = self.registry().record_event(event).await {
            tracing::warn!(%error, kind, "record event");
        }
    }
}
