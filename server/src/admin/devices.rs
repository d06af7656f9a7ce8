//! `admin device list|block|unblock|rm`.
//!
//! These change the registry alone. A running server looks every few seconds how the connected devices stand
//! ([`Registry::standings`]) and cuts their tunnels then.

use clap::{Args, Subcommand};
use moorline_protocol::operator::DeviceState;
use serde_json::json;
use uuid::Uuid;

use super::table::table;
use super::{AccountChoice, AdminError, note};
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::{Account, Device, DeviceFilter, DeviceId, Timestamp};

/// Verbs of `admin device`.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// List the devices, oldest first
    List(ListDevices),
    /// Refuse a device until it is unblocked
    Block(DeviceChoice),
    /// Serve a blocked device again
    Unblock(DeviceChoice),
    /// Remove a device; its name and ports are free again
    Rm(DeviceChoice),
}

/// Arguments of `admin device list`.
#[derive(Args, Debug)]
pub struct ListDevices {
    /// Names that begin so
    #[arg(long)]
    prefix: Option<String>,
    #[command(flatten)]
    account: AccountChoice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which device a command is about.
#[derive(Args, Debug)]
pub struct DeviceChoice {
    /// Name or UUID of the device
    #[arg(value_name = "NAME|UUID")]
    device: String,
    #[command(flatten)]
    account: AccountChoice,
}

pub(super) async fn run(command: DeviceCommand, registry: &Registry) -> Result<String, AdminError> {
    match command {
        DeviceCommand::List(args) => list(args, registry).await,
        DeviceCommand::Block(which) => set_state(which, DeviceState::Blocked, registry).await,
        DeviceCommand::Unblock(which) => set_state(which, DeviceState::Active, registry).await,
        DeviceCommand::Rm(which) => remove(which, registry).await,
    }
}

async fn list(args: ListDevices, registry: &Registry) -> Result<String, AdminError> {
    let account = args.account.find(registry).await?;
    let filter = DeviceFilter {
        prefix: args.prefix,
        ..DeviceFilter::default()
    };
    let devices = registry
        .devices(account.id, filter)
        .await
        .map_err(|error| AdminError::new("list devices", error))?;
    if args.json {
        let devices: Vec<_> = devices.iter().map(device_json).collect();
        return super::json(&json!({ "devices": devices }));
    }
    let rows: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let port = device.forwards.first().map(|first| first.public_port);
            [
                device.name,
                device.id.to_string(),
                device.state.as_str().to_owned(),
                device.region,
                port.map(|port| port.to_string()).unwrap_or_default(),
                device
                    .last_seen_at
                    .map(Timestamp::to_provisioning)
                    .unwrap_or_default(),
            ]
        })
        .collect();
    Ok(table(
        ["NAME", "UUID", "STATE", "REGION", "PORT", "LAST SEEN"],
        &rows,
    ))
}

fn device_json(device: &Device) -> serde_json::Value {
    let forwards: Vec<_> = device
        .forwards
        .iter()
        .map(|forward| {
            json!({
                "id": forward.id.0,
                "device_port": forward.device_port,
                "public_port": forward.public_port,
                "node": forward.node,
            })
        })
        .collect();
    json!({
        "id": device.id.to_string(),
        "number": device.number,
        "name": device.name,
        "state": device.state.as_str(),
        "node": device.region,
        "hostname": device.hostname,
        "fingerprint": device.public_key.as_ref().map(|key| &key.fingerprint),
        "forwards": forwards,
        "created_at": device.created_at.to_rfc3339(),
        "last_seen_at": device.last_seen_at.map(Timestamp::to_rfc3339),
    })
}

async fn set_state(
    which: DeviceChoice,
    state: DeviceState,
    registry: &Registry,
) -> Result<String, AdminError> {
    let (account, device) = which.find(registry).await?;
    registry
        .set_state(&device, state)
        .await
        .map_err(|error| AdminError::new(format!("change device `{}`", device.name), error))?;
    let (kind, done) = match state {
        DeviceState::Active => ("device.unblocked", "unblocked"),
        DeviceState::Blocked => ("device.blocked", "blocked"),
        DeviceState::Inactive => ("device.deactivated", "taken out of service"),
    };
    let message = format!("device {} {done}", device.name);
    note(registry, &account, Some(device.id), kind, message).await;
    Ok(String::new())
}

async fn remove(which: DeviceChoice, registry: &Registry) -> Result<String, AdminError> {
    let (account, device) = which.find(registry).await?;
    registry
        .delete_device(account.id, device.id)
        .await
        .map_err(|error| AdminError::new(format!("remove device `{}`", device.name), error))?;
    let message = format!("device {} removed", device.name);
    note(
        registry,
        &account,
        Some(device.id),
        "device.deleted",
        message,
    )
    .await;
    Ok(String::new())
}

impl DeviceChoice {
    async fn find(&self, registry: &Registry) -> Result<(Account, Device), AdminError> {
        let account = self.account.find(registry).await?;
        let attempt = format!("find device `{}`", self.device);
        let device = self
            .look_up(&account, registry)
            .await
            .map_err(|error| AdminError::new(&attempt, error))?
            .ok_or_else(|| {
                let cause = format!("account `{}` has none of this name or UUID", account.name);
                AdminError::new(&attempt, cause)
                    .hint("`moorline-server admin device list` shows what there is")
            })?;
        Ok((account, device))
    }

    /// By name first: a name may look like a UUID.
    async fn look_up(
        &self,
        account: &Account,
        registry: &Registry,
    ) -> Result<Option<Device>, RegistryError> {
        if let Some(device) = registry.device_by_name(account.id, &self.device).await? {
            return Ok(Some(device));
        }
        let Ok(id) = Uuid::parse_str(&self.device) else {
            return Ok(None);
        };
        let device = registry.device(DeviceId(id)).await?;
        Ok(device.filter(|device| device.account == account.id))
    }
}
