//! `create_new_client` (provisioning contract section 4.1).

use axum::body::Body;
use axum::http::Response;
use moorline_protocol::provisioning::{Code, NewClient};

use super::access::Arrival;
use super::answer::{self, Failure};
use super::parameters::{CreateClient, KEY_IN_USE, NAME_IN_USE, PREFIX_NOT_ALLOWED};
use crate::api::Api;
use crate::registry::error::CreateDeviceError;
use crate::registry::model::{ApiKey, CreatedDevice, KeyContext, NewDevice};

/// Makes a device, or gives the one that has the public key already.
pub(super) async fn create_new_client(
    api: &Api,
    arrival: Arrival,
) -> Result<Response<Body>, Failure> {
    let key = api.creation_key(&arrival).await?;
    match create(api, &arrival, &key).await {
        Ok(created) => Ok(answer::created(new_client(created))),
        Err(refusal) => Err(api.refuse_creation(&arrival, refusal).await),
    }
}

async fn create(api: &Api, arrival: &Arrival, key: &ApiKey) -> Result<CreatedDevice, Failure> {
    if key.context != KeyContext::Account {
        return Err(Code::InvalidKey.into());
    }
    let parsed = arrival
        .fields()
        .and_then(|fields| Ok(CreateClient::parse(fields)?));
    let wanted = match parsed {
        Ok(wanted) => wanted,
        Err(failure) => {
            // A suspended account comes before bad parameters; good ones meet that check in the registry.
            api.account_in_service(key.account).await?;
            return Err(failure);
        }
    };
    if let Some(refusal) = bound_elsewhere(key, &wanted) {
        refuse_unless_known(api, key, &wanted, refusal).await?;
    }
    let created = api
        .registry()
        .create_device(new_device(key, wanted))
        .await?;
    let new = if created.created { "true" } else { "false" };
    metrics::counter!("moorline_clients_created_total", "new" => new).increment(1);
    Ok(created)
}

/// A prefix or region other than the one the key is bound to.
fn bound_elsewhere(key: &ApiKey, wanted: &CreateClient) -> Option<Failure> {
    let differs = |bound: &Option<String>, given: &Option<String>| match (bound, given) {
        (Some(bound), Some(given)) => bound != given,
        _ => false,
    };
    if differs(&key.limits.prefix, &wanted.prefix) {
        Some(PREFIX_NOT_ALLOWED.into())
    } else if differs(&key.limits.region, &wanted.region) {
        Some(Code::InvalidRegion.into())
    } else {
        None
    }
}

/// The limits of a key do not apply to a device that exists: only its form is checked. For a new one, the refusals
/// that come earlier in the order of checks are looked for first.
async fn refuse_unless_known(
    api: &Api,
    key: &ApiKey,
    wanted: &CreateClient,
    refusal: Failure,
) -> Result<(), Failure> {
    let registry = api.registry();
    let holder = match &wanted.public_key {
        Some(public_key) => registry.device_by_key(public_key).await?,
        None => None,
    };
    if holder
        .as_ref()
        .is_some_and(|device| device.account == key.account)
    {
        return Ok(());
    }
    if key.limits.uses.is_some_and(|uses| uses <= 0) {
        return Err(Code::InvalidKey.into());
    }
    api.account_in_service(key.account).await?;
    if matches!(refusal, Failure::Code(Code::InvalidRegion)) {
        if let Some(name) = &wanted.name
            && registry.device_by_name(key.account, name).await?.is_some()
        {
            return Err(NAME_IN_USE.into());
        }
        if holder.is_some() {
            return Err(KEY_IN_USE.into());
        }
    }
    Err(refusal)
}

fn new_device(key: &ApiKey, wanted: CreateClient) -> NewDevice {
    NewDevice {
        api_key_id: key.id.clone(),
        account: key.account,
        naming: wanted.naming(key.limits.prefix.as_deref()),
        region: wanted.region.or_else(|| key.limits.region.clone()),
        device_port: wanted.device_port,
        username: wanted.username,
        public_key: wanted.public_key,
        hostname: wanted.hostname,
        hardware: wanted.hardware,
    }
}

fn new_client(created: CreatedDevice) -> NewClient {
    NewClient {
        client_name: created.name,
        client_id: created.id.to_string(),
        region: created.region,
        forwarding_server: created.public_host,
        port: created.forward.public_port,
        ports_id: created.forward.id.0,
        created: created.created,
    }
}

impl From<CreateDeviceError> for Failure {
    fn from(error: CreateDeviceError) -> Self {
        match error {
            CreateDeviceError::KeyRefused => Code::InvalidKey.into(),
            CreateDeviceError::AccountSuspended | CreateDeviceError::Inactive => {
                Code::Inactive.into()
            }
            CreateDeviceError::NameTaken => NAME_IN_USE.into(),
            CreateDeviceError::PublicKeyElsewhere => KEY_IN_USE.into(),
            CreateDeviceError::Blocked => Code::Blocked.into(),
            CreateDeviceError::UnknownRegion => Code::InvalidRegion.into(),
            CreateDeviceError::NodeUnavailable => Code::NoForwardingServer.into(),
            CreateDeviceError::Registry(error) => Self::Registry(error),
        }
    }
}
