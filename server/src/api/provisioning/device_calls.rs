//! The calls about one device (provisioning contract sections 4.2 and 4.4 to 4.9).

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use moorline_protocol::provisioning::Code;
use moorline_protocol::scope::Scope;

use super::access::{Arrival, Credentials, Target};
use super::answer::{self, Failure};
use super::parameters::{KEY_IN_USE, QuadrupleForm, UNKNOWN_CLIENT, allow, required_public_key};
use super::script::{self, Facts};
use crate::api::Api;
use crate::api::device_changes::Actor;
use crate::registry::error::{ForwardError, SetKeyError};
use crate::registry::model::{Device, Wanted};
use crate::tunnels::Cut;

/// How long `connect` waits for the tunnel.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

const MODIFY: Credentials = Credentials::KeyOrQuadruple(Scope::DeviceModify, QuadrupleForm::Strict);

/// 4.2.
pub(super) async fn get_client_script(
    api: &Api,
    arrival: Arrival,
) -> Result<Response<Body>, Failure> {
    let target = api
        .target(&arrival, Credentials::Key(Scope::DeviceRead))
        .await?;
    client_script(api, target.in_service()?).await
}

/// 4.9.
pub(super) async fn upgrade_client_script(
    api: &Api,
    arrival: Arrival,
) -> Result<Response<Body>, Failure> {
    let target = api.target(&arrival, Credentials::Quadruple).await?;
    arrival.fields()?;
    client_script(api, target.in_service()?).await
}

async fn client_script(api: &Api, target: Target) -> Result<Response<Body>, Failure> {
    let registry = api.registry();
    let forward = match target.device.forwards.first() {
        Some(forward) => forward.clone(),
        None => registry.ensure_first_forward(target.device.id).await?,
    };
    let node = registry
        .node(&forward.node)
        .await?
        .ok_or(Code::NoForwardingServer)?;
    let text = script::render(&Facts {
        device: &target.device,
        node: &node,
        forward: &forward,
        shows_dbid: target.shows_dbid,
        server: api.identity(),
    });
    Ok(answer::script(text))
}

/// 4.4. Works in every state.
pub(super) async fn delete_client(api: &Api, arrival: Arrival) -> Result<Response<Body>, Failure> {
    let target = api
        .target(&arrival, Credentials::Key(Scope::DeviceDelete))
        .await?;
    let device = target.device;
    known(api.delete_device(&device, Actor::Provisioning).await?)?;
    Ok(answer::ok())
}

/// 4.5.
pub(super) async fn connect(api: &Api, arrival: Arrival) -> Result<Response<Body>, Failure> {
    let target = api.target(&arrival, MODIFY).await?;
    arrival.fields()?;
    let device = target.in_service()?.device;
    known(api.registry().set_wanted(&device, Wanted::Open).await?)?;
    api.tunnels().wanted_open(device.id);
    if device.wanted == Wanted::Closed {
        record(api, &device, "device.opened").await;
    }
    if api.tunnels().wait_open(device.id, CONNECT_PATIENCE).await {
        Ok(answer::ok())
    } else {
        Err(Code::NotConnected.into())
    }
}

/// 4.5. Works in every state.
pub(super) async fn disconnect(api: &Api, arrival: Arrival) -> Result<Response<Body>, Failure> {
    let target = api.target(&arrival, MODIFY).await?;
    arrival.fields()?;
    let device = target.device;
    known(api.registry().set_wanted(&device, Wanted::Closed).await?)?;
    if device.wanted == Wanted::Open {
        record(api, &device, "device.closed").await;
    }
    if api.tunnels().cut(device.id, Cut::Closed).await {
        Ok(answer::ok())
    } else {
        Err(Code::NotDisconnected.into())
    }
}

/// 4.6.
pub(super) async fn client_status(api: &Api, arrival: Arrival) -> Result<Response<Body>, Failure> {
    let credentials = Credentials::KeyOrQuadruple(Scope::DeviceRead, QuadrupleForm::Strict);
    let target = api.target(&arrival, credentials).await?;
    arrival.fields()?;
    let device = target.in_service()?.device;
    let tunnel = api.tunnels().status(device.id);
    Ok(answer::status(tunnel.is_some_and(|tunnel| tunnel.active)))
}

/// 4.7.
pub(super) async fn set_allow_clientless(
    api: &Api,
    arrival: Arrival,
) -> Result<Response<Body>, Failure> {
    let target = api.target(&arrival, MODIFY).await?;
    let allow = allow(arrival.fields()?)?;
    let device = target.in_service()?.device;
    known(api.registry().set_allow_clientless(&device, allow).await?)?;
    // A tunnel that is up follows at once.
    api.tunnels().set_allow_clientless(device.id, allow);
    Ok(answer::ok())
}

/// 4.8.
pub(super) async fn upload_public_key(
    api: &Api,
    arrival: Arrival,
) -> Result<Response<Body>, Failure> {
    let credentials = Credentials::KeyOrQuadruple(Scope::DeviceModify, QuadrupleForm::Upload);
    let target = api.target(&arrival, credentials).await?;
    let public_key = required_public_key(arrival.fields()?)?;
    let device = key_free_for(api, target, &public_key)
        .await?
        .in_service()?
        .device;
    if device.public_key.as_ref() == Some(&public_key) {
        return Ok(answer::ok());
    }
    api.rekey_device(&device, public_key, Actor::Provisioning)
        .await?;
    Ok(answer::ok())
}

/// Bad parameters come before the state of the device; the registry checks again when it writes.
async fn key_free_for(
    api: &Api,
    target: Target,
    public_key: &crate::registry::model::PublicKey,
) -> Result<Target, Failure> {
    let holder = api.registry().device_by_key(public_key).await?;
    match holder {
        Some(holder) if holder.id != target.device.id => Err(KEY_IN_USE.into()),
        _ => Ok(target),
    }
}

/// Notes for the audit what a holder of an API key did, or the device itself with its quadruple.
async fn record(api: &Api, device: &Device, kind: &'static str) {
    let metadata = serde_json::json!({ "name": device.name });
    api.record_change(device, kind, Actor::Provisioning, metadata)
        .await;
}

/// The device may be deleted between two statements.
fn known(there: bool) -> Result<(), Failure> {
    if there {
        Ok(())
    } else {
        Err(UNKNOWN_CLIENT.into())
    }
}

impl From<ForwardError> for Failure {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::UnknownDevice => UNKNOWN_CLIENT.into(),
            ForwardError::UnknownRegion => Code::InvalidRegion.into(),
            ForwardError::NodeUnavailable => Code::NoForwardingServer.into(),
            ForwardError::Registry(error) => Self::Registry(error),
        }
    }
}

impl From<SetKeyError> for Failure {
    fn from(error: SetKeyError) -> Self {
        match error {
            SetKeyError::InUse => KEY_IN_USE.into(),
            SetKeyError::UnknownDevice => UNKNOWN_CLIENT.into(),
            SetKeyError::Registry(error) => Self::Registry(error),
        }
    }
}
