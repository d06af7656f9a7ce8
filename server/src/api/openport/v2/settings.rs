//! `/api/v2/keys/{id}/settings/` (openport contract section 3).

use axum::response::Response;
use moorline_protocol::operator::DeviceState;
use serde::Serialize;
use utoipa::ToSchema;

use super::Call;
use super::access::Caller;
use super::answer::{self, Failure};
use super::fields::{FieldErrors, Fields, Presence};
use crate::api::Api;
use crate::api::device_changes::Actor;
use crate::registry::model::Device;

/// Most new connections a minute and visitor.
const MAX_CONNECTIONS: u32 = 10_000;

/// Settings of a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openport::Settings)]
pub(in crate::api) struct Settings {
    /// Visitors have to click a link first.
    ip_link_protection: bool,
    /// New connections a minute that a visitor may open to one public port; 0 is no limit.
    #[schema(maximum = 10_000)]
    max_connections_per_minute: u32,
    /// `active`, `blocked` (refused for safety) or `inactive` (out of service).
    state: &'static str,
}

impl From<&Device> for Settings {
    fn from(device: &Device) -> Self {
        Self {
            ip_link_protection: device.ip_link_protection,
            max_connections_per_minute: device.max_connections_per_minute,
            state: device.state.as_str(),
        }
    }
}

/// What shall be changed; `None` stays.
struct Change {
    ip_link_protection: Option<bool>,
    max_connections_per_minute: Option<u32>,
    state: Option<DeviceState>,
}

impl Change {
    fn parse(fields: &Fields, presence: Presence) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        let (protection, limit) = ("ip_link_protection", "max_connections_per_minute");
        let number = fields.number(limit, MAX_CONNECTIONS, presence);
        let state = fields.choice("state", presence, DeviceState::parse);
        let change = Self {
            ip_link_protection: errors.note(protection, fields.boolean(protection, presence)),
            max_connections_per_minute: errors.note(limit, number),
            state: errors.note("state", state),
        };
        errors.or(change)
    }
}

/// The settings.
pub(super) async fn show(api: &Api, caller: &Caller, id: i64) -> Result<Response, Failure> {
    let device = api.device_of_caller(caller, id).await?;
    Ok(answer::ok(&Settings::from(&device)))
}

/// `PUT` needs all of them, `PATCH` any.
pub(super) async fn change(
    api: &Api,
    caller: &Caller,
    call: Call,
    id: i64,
) -> Result<Response, Failure> {
    let device = api.device_of_caller(caller, id).await?;
    let presence = call.presence();
    let change = Change::parse(&call.body?.fields()?, presence)?;
    let actor = Actor::Key(&caller.0);
    let protect = change.ip_link_protection;
    if let Some(protect) = protect.filter(|protect| *protect != device.ip_link_protection) {
        there(api.set_device_protection(&device, protect, actor).await?)?;
    }
    let limit = change.max_connections_per_minute;
    if let Some(limit) = limit.filter(|limit| *limit != device.max_connections_per_minute) {
        there(api.set_device_limit(&device, limit, actor).await?)?;
    }
    if let Some(state) = change.state.filter(|state| *state != device.state) {
        there(api.set_device_state(&device, state, actor).await?)?;
    }
    show(api, caller, id).await
}

/// The device may be deleted between two statements.
fn there(there: bool) -> Result<(), Failure> {
    if there {
        Ok(())
    } else {
        Err(Failure::NotFound)
    }
}
