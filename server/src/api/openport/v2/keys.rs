//! `/api/v2/keys/`: devices, by their number (openport contract section 3).

use std::collections::HashMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::access::Caller;
use super::answer::{self, Failure};
use super::fields::{FieldErrors, Fields, Presence, REQUIRED};
use super::{Call, page};
use crate::api::Api;
use crate::api::device_changes::Actor;
use crate::api::openport::names::{self, WrongName};
use crate::api::openport::urls;
use crate::registry::error::{RegisterKeyError, RegistryError, RenameError, SetKeyError};
use crate::registry::model::{
    Device, DeviceFilter, DeviceId, KeyNaming, NewKeyedDevice, PublicKey, Timestamp,
};

const PUBLIC_KEY: &str = "public_key";
const NAME: &str = "name";
const KEY_EXISTS: &str = "key with this public key already exists.";
const NAME_EXISTS: &str = "key with this name already exists.";

/// A key: a device by its number.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openport::Key)]
pub(in crate::api) struct KeyItem {
    /// URL of this key.
    #[schema(read_only)]
    url: String,
    /// One authorized_keys line, `type base64 comment`; empty for a device that has no key yet.
    public_key: String,
    /// Unique in the account without case.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(read_only)]
    id: i64,
    /// When its tunnel last came up.
    #[schema(read_only, required)]
    last_connection_time: Option<String>,
    #[schema(read_only)]
    creation_time: String,
    /// 8 letters and digits, fixed for the life of the device.
    #[schema(read_only)]
    redirect_token: String,
    /// Payload bytes since `counter_reset_time`, both directions.
    #[schema(read_only)]
    bytes_this_month: u64,
    /// When that counter last started at 0, with microseconds.
    #[schema(read_only)]
    counter_reset_time: String,
}

/// What answers tell beside what is written down.
struct Live {
    now: Timestamp,
    untold: HashMap<DeviceId, u64>,
}

impl Live {
    /// Taken after the devices were read: what is written down in between is missing for a moment, not counted twice.
    fn of(api: &Api) -> Self {
        Self {
            now: Timestamp::now(),
            untold: api.ports().traffic().all_untold(),
        }
    }

    fn item(&self, api: &Api, base: &str, device: &Device) -> KeyItem {
        let month = self.now.month_start();
        let untold = self.untold.get(&device.id).copied().unwrap_or(0);
        let last_up = api.tunnels().last_up(device.id).max(device.last_up_at);
        KeyItem {
            url: urls::key(base, device.number),
            public_key: device
                .public_key
                .as_ref()
                .map(|key| {
                    format!("{} {}", key.canonical, key.comment)
                        .trim_end()
                        .to_owned()
                })
                .unwrap_or_default(),
            name: device.name.clone(),
            id: device.number,
            last_connection_time: last_up.map(Timestamp::to_openport),
            creation_time: device.created_at.to_openport(),
            redirect_token: device.redirect_token.clone(),
            bytes_this_month: device.bytes_in(month).saturating_add(untold),
            counter_reset_time: month.max(device.created_at).to_openport_micros(),
        }
    }
}

/// Keys, oldest first.
pub(super) async fn list(api: &Api, caller: &Caller, call: &Call) -> Result<Response, Failure> {
    let slice = page::slice(&call.query);
    let filter = DeviceFilter {
        prefix: None,
        ids: caller.devices().map(<[DeviceId]>::to_vec),
        limit: Some(slice.limit),
        offset: slice.offset,
    };
    let (registry, account) = (api.registry(), caller.account());
    let count = registry.count_filtered_devices(account, &filter).await?;
    let devices = registry.devices(account, filter).await?;
    let live = Live::of(api);
    let items = devices
        .iter()
        .map(|device| live.item(api, &call.base, device));
    Ok(page::page(call, slice, count, items.collect()))
}

/// One key.
pub(super) async fn show(
    api: &Api,
    caller: &Caller,
    call: &Call,
    id: i64,
) -> Result<Response, Failure> {
    let device = api.device_of_caller(caller, id).await?;
    Ok(answer::ok(&Live::of(api).item(api, &call.base, &device)))
}

/// Registers a key to the account: a device without a forward until it asks for one.
pub(super) async fn create(api: &Api, caller: &Caller, call: Call) -> Result<Response, Failure> {
    caller.may_make_devices()?;
    let fields = call.body?.fields()?;
    let mut errors = FieldErrors::default();
    let key = fields.text(PUBLIC_KEY, Presence::Required);
    let key = errors.note(PUBLIC_KEY, key.and_then(parsed));
    let name = errors.note(NAME, named(&fields, Presence::Optional));
    if let Some(key) = &key
        && api.registry().device_by_key(key).await?.is_some()
    {
        errors.add(PUBLIC_KEY, KEY_EXISTS);
    }
    if let Some(name) = &name
        && is_taken(api, caller, name, None).await?
    {
        errors.add(NAME, NAME_EXISTS);
    }
    let Some(public_key) = errors.or(key)? else {
        return Err(FieldErrors::one(PUBLIC_KEY, REQUIRED).into());
    };
    let naming = match name {
        Some(name) => KeyNaming::Given(name),
        None if names::check(&public_key.comment).is_ok() => {
            KeyNaming::Preferred(public_key.comment.clone())
        }
        None => KeyNaming::Number,
    };
    let new = NewKeyedDevice {
        account: caller.account(),
        public_key,
        naming,
        // Section 8: on, but for devices made by the provisioning calls.
        ip_link_protection: true,
        metadata: json!({"api_key": caller.0.id}),
    };
    let device = api.registry().create_keyed_device(new).await?;
    let item = Live::of(api).item(api, &call.base, &device);
    Ok(answer::json(StatusCode::CREATED, &item))
}

/// Renames a key or replaces its public key. `PUT` needs the name, `PATCH` nothing.
pub(super) async fn change(
    api: &Api,
    caller: &Caller,
    call: Call,
    id: i64,
) -> Result<Response, Failure> {
    let device = api.device_of_caller(caller, id).await?;
    let presence = call.presence();
    let fields = call.body?.fields()?;
    let mut errors = FieldErrors::default();
    let name = errors.note(NAME, named(&fields, presence));
    let key = errors.note(PUBLIC_KEY, new_key(&fields, &device));
    if let Some(key) = &key {
        let holder = api.registry().device_by_key(key).await?;
        if holder.is_some_and(|holder| holder.id != device.id) {
            errors.add(PUBLIC_KEY, KEY_EXISTS);
        }
    }
    if let Some(name) = &name
        && is_taken(api, caller, name, Some(device.id)).await?
    {
        errors.add(NAME, NAME_EXISTS);
    }
    let (name, key) = errors.or((name, key))?;
    let actor = Actor::Key(&caller.0);
    if let Some(name) = name.filter(|name| *name != device.name) {
        api.rename_device(&device, &name, actor).await?;
    }
    if let Some(key) = key.filter(|key| differs(key, &device)) {
        api.rekey_device(&device, key, actor).await?;
    }
    let device = api.device_of_caller(caller, id).await?;
    Ok(answer::ok(&Live::of(api).item(api, &call.base, &device)))
}

/// Removes a key, whatever its state.
pub(super) async fn remove(api: &Api, caller: &Caller, id: i64) -> Result<Response, Failure> {
    let device = api.device_of_caller(caller, id).await?;
    if api.delete_device(&device, Actor::Key(&caller.0)).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Failure::NotFound)
    }
}

fn parsed(text: Option<String>) -> Result<Option<PublicKey>, String> {
    let key = text.map(|text| PublicKey::parse(&text)).transpose();
    key.map_err(|_| "Enter a valid SSH public key.".into())
}

/// The key to be set. The empty text that a device without a key shows may be sent back.
fn new_key(fields: &Fields, device: &Device) -> Result<Option<PublicKey>, String> {
    let empty = fields.blank_text(PUBLIC_KEY, Presence::Optional);
    if device.public_key.is_none()
        && empty.is_ok_and(|text| text.is_some_and(|text| text.is_empty()))
    {
        return Ok(None);
    }
    fields.text(PUBLIC_KEY, Presence::Optional).and_then(parsed)
}

/// In its data, or in its comment.
fn differs(key: &PublicKey, device: &Device) -> bool {
    let old = device.public_key.as_ref();
    old.is_none_or(|old| old != key || old.comment != key.comment)
}

fn named(fields: &Fields, presence: Presence) -> Result<Option<String>, String> {
    let Some(name) = fields.text(NAME, presence)? else {
        return Ok(None);
    };
    match names::check(&name) {
        Ok(()) => Ok(Some(name)),
        Err(WrongName::TooLong) => Err(format!(
            "Ensure this field has no more than {} characters.",
            names::MAX_CHARS
        )),
        Err(WrongName::NotPrintable) => Err("Enter a valid value.".into()),
    }
}

/// Whether another device of the account has the name.
async fn is_taken(
    api: &Api,
    caller: &Caller,
    name: &str,
    but: Option<DeviceId>,
) -> Result<bool, RegistryError> {
    let holder = api
        .registry()
        .device_by_name(caller.account(), name)
        .await?;
    Ok(holder.is_some_and(|holder| Some(holder.id) != but))
}

impl From<RegisterKeyError> for Failure {
    fn from(error: RegisterKeyError) -> Self {
        match error {
            RegisterKeyError::KeyTaken => FieldErrors::one(PUBLIC_KEY, KEY_EXISTS).into(),
            RegisterKeyError::NameTaken => FieldErrors::one(NAME, NAME_EXISTS).into(),
            RegisterKeyError::Registry(error) => error.into(),
        }
    }
}

impl From<RenameError> for Failure {
    fn from(error: RenameError) -> Self {
        match error {
            RenameError::NameTaken => FieldErrors::one(NAME, NAME_EXISTS).into(),
            RenameError::UnknownDevice => Self::NotFound,
            RenameError::Registry(error) => error.into(),
        }
    }
}

impl From<SetKeyError> for Failure {
    fn from(error: SetKeyError) -> Self {
        match error {
            SetKeyError::InUse => FieldErrors::one(PUBLIC_KEY, KEY_EXISTS).into(),
            SetKeyError::UnknownDevice => Self::NotFound,
            SetKeyError::Registry(error) => error.into(),
        }
    }
}
