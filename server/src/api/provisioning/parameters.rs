//! Parameters of the provisioning calls, checked: from a flat map to typed requests with the texts of the
//! provisioning contract section 3.
//!
//! *Invariant:* pure. No I/O, no clock; every text a client can send ends in a value or a [`WrongData`].

use std::borrow::Cow;
use std::fmt;

use moorline_protocol::Secret;
use uuid::Uuid;

use super::request::Fields;
use crate::registry::model::{DeviceId, Naming, PublicKey};

const MAX_PREFIX: usize = 32;
const MAX_NAME: usize = 64;
const MAX_USERNAME: usize = 64;
const MAX_HOSTNAME: usize = 253;
const MAX_HARDWARE_BYTES: usize = 4096;
const MAX_LIMIT: u64 = 10_000;
const DEFAULT_DEVICE_PORT: u16 = 22;

/// What follows `Wrong data: ` in the answer; it names the parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongData(Cow<'static, str>);

impl WrongData {
    /// With a text of the contract.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A required parameter that is absent or empty.
    #[must_use]
    pub fn required(parameter: &str) -> Self {
        Self(Cow::Owned(format!("{parameter} is required")))
    }
}

impl fmt::Display for WrongData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `client_id is unknown`: no device of that id that the credential may see.
pub const UNKNOWN_CLIENT: WrongData = WrongData::new("client_id is unknown");
/// A quadruple that belongs to no device.
pub const NO_SUCH_QUADRUPLE: WrongData =
    WrongData::new("dbid, host_uuid, ports_id and user_id do not match a client");
/// A name that another device of the account has.
pub const NAME_IN_USE: WrongData = WrongData::new("name is already in use");
/// A key that another device has.
pub const KEY_IN_USE: WrongData = WrongData::new("public_key is already in use");
/// A prefix other than the one the API key is bound to.
pub const PREFIX_NOT_ALLOWED: WrongData = WrongData::new("prefix is not allowed for this key");

/// `create_new_client`, section 4.1.
#[derive(Clone, Debug)]
pub struct CreateClient {
    /// `region`.
    pub region: Option<String>,
    /// `type`.
    pub kind: NameKind,
    /// `prefix`.
    pub prefix: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `fwport`.
    pub device_port: u16,
    /// `username`.
    pub username: Option<String>,
    /// `public_key`.
    pub public_key: Option<PublicKey>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `hardware`, a JSON object as text.
    pub hardware: Option<String>,
}

/// `type`: how a name is made when the caller gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// Prefix and a number.
    Serial,
    /// 20 random characters.
    Random,
}

impl CreateClient {
    /// Checks the parameters in the order of the contract's table.
    ///
    /// # Errors
    /// [`WrongData`] for the first that is bad.
    pub fn parse(fields: &Fields) -> Result<Self, WrongData> {
        Ok(Self {
            region: fields.get("region").map(str::to_owned),
            kind: kind(fields)?,
            prefix: prefix(fields)?,
            name: name(fields)?,
            device_port: device_port(fields)?,
            username: username(fields)?,
            public_key: public_key(fields)?,
            hostname: hostname(fields)?,
            hardware: hardware(fields)?,
        })
    }

    /// How the device is to be named when it is made; `bound` is the prefix of the API key.
    #[must_use]
    pub fn naming(&self, bound: Option<&str>) -> Naming {
        match (&self.name, self.kind) {
            (Some(name), _) => Naming::Given(name.clone()),
            (None, NameKind::Random) => Naming::Random,
            (None, NameKind::Serial) => Naming::Serial {
                prefix: self
                    .prefix
                    .as_deref()
                    .or(bound)
                    .unwrap_or_default()
                    .to_owned(),
            },
        }
    }
}

/// `device_list`, section 4.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListDevices {
    /// Only names that begin so.
    pub prefix: Option<String>,
    /// At most so many; all without it.
    pub limit: Option<u64>,
    /// How many to leave out at the start.
    pub offset: u64,
}

impl ListDevices {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`WrongData`] for the first that is bad.
    pub fn parse(fields: &Fields) -> Result<Self, WrongData> {
        let limit = match fields.get("limit") {
            None => None,
            Some(text) => Some(
                number(text)
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                    .ok_or(WrongData::new("limit must be a number from 1 to 10000"))?,
            ),
        };
        let offset = match fields.get("offset") {
            None => 0,
            // The registry counts in signed 64 bits.
            Some(text) => number(text)
                .filter(|offset| i64::try_from(*offset).is_ok())
                .ok_or(WrongData::new("offset must be a number from 0"))?,
        };
        Ok(Self {
            prefix: prefix(fields)?,
            limit,
            offset,
        })
    }
}

/// The quadruple, section 1.
#[derive(Clone, Debug)]
pub struct Quadruple {
    /// `dbid`.
    pub dbid: Secret<String>,
    /// `host_uuid`.
    pub device: DeviceId,
    /// `ports_id`; `None` where it may be absent and is.
    pub ports_id: Option<i64>,
    /// `user_id`.
    pub user_id: i64,
}

/// Whether a part of the quadruple is there, other than `host_uuid`, which may also stand for `client_id`.
#[must_use]
pub fn has_quadruple(fields: &Fields) -> bool {
    ["dbid", "db_server_key", "ports_id", "user_id"]
        .into_iter()
        .any(|name| fields.get(name).is_some())
}

/// Where the quadruple may be spelled more loosely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuadrupleForm {
    /// All four, by their names.
    Strict,
    /// `upload_public_key`: `db_server_key` may stand for `dbid`, and `ports_id` may be absent.
    Upload,
}

impl Quadruple {
    /// Reads the four.
    ///
    /// # Errors
    /// [`NO_SUCH_QUADRUPLE`] when one is absent or cannot be any device's.
    pub fn parse(fields: &Fields, form: QuadrupleForm) -> Result<Self, WrongData> {
        let loose = form == QuadrupleForm::Upload;
        let dbid = fields
            .get("dbid")
            .or_else(|| fields.get("db_server_key").filter(|_| loose));
        let device = fields
            .get("host_uuid")
            .or_else(|| fields.get("client_id"))
            .and_then(device_id);
        let ports_id = match fields.get("ports_id") {
            None if loose => Some(None),
            None => None,
            Some(text) => number_i64(text).map(Some),
        };
        let user_id = fields.get("user_id").and_then(number_i64);
        match (dbid, device, ports_id, user_id) {
            (Some(dbid), Some(device), Some(ports_id), Some(user_id)) => Ok(Self {
                dbid: Secret::new(dbid.to_owned()),
                device,
                ports_id,
                user_id,
            }),
            _ => Err(NO_SUCH_QUADRUPLE),
        }
    }
}

/// `client_id`, or `host_uuid` in its place.
///
/// # Errors
/// [`WrongData`] when it is absent or no UUID.
pub fn client_id(fields: &Fields) -> Result<DeviceId, WrongData> {
    let text = fields.get("client_id").or_else(|| fields.get("host_uuid"));
    device_id(text.ok_or_else(|| WrongData::required("client_id"))?).ok_or(UNKNOWN_CLIENT)
}

/// `allow`, which is required.
///
/// # Errors
/// [`WrongData`] when it is absent or no boolean.
pub fn allow(fields: &Fields) -> Result<bool, WrongData> {
    let text = fields
        .get("allow")
        .ok_or_else(|| WrongData::required("allow"))?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" => Ok(true),
        "false" | "0" | "off" => Ok(false),
        _ => Err(WrongData::new("allow must be true or false")),
    }
}

/// `public_key` where it is required.
///
/// # Errors
/// [`WrongData`] when it is absent or no supported key.
pub fn required_public_key(fields: &Fields) -> Result<PublicKey, WrongData> {
    public_key(fields)?.ok_or_else(|| WrongData::required("public_key"))
}

fn kind(fields: &Fields) -> Result<NameKind, WrongData> {
    match fields.get("type") {
        None | Some("serial") => Ok(NameKind::Serial),
        Some("random") => Ok(NameKind::Random),
        Some(_) => Err(WrongData::new("type must be serial or random")),
    }
}

fn prefix(fields: &Fields) -> Result<Option<String>, WrongData> {
    let bad = WrongData::new("prefix must be at most 32 characters of A-Z a-z 0-9 . _ -");
    checked(fields, "prefix", |text| is_name(text, MAX_PREFIX), bad)
}

fn name(fields: &Fields) -> Result<Option<String>, WrongData> {
    let bad = WrongData::new("name must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
    checked(fields, "name", |text| is_name(text, MAX_NAME), bad)
}

fn device_port(fields: &Fields) -> Result<u16, WrongData> {
    let Some(text) = fields.get("fwport") else {
        return Ok(DEFAULT_DEVICE_PORT);
    };
    number(text)
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
        .ok_or(WrongData::new("fwport must be a number from 1 to 65535"))
}

fn username(fields: &Fields) -> Result<Option<String>, WrongData> {
    let bad = WrongData::new("username must be at most 64 characters without blanks");
    let good = |text: &str| text.chars().count() <= MAX_USERNAME && text.chars().all(is_printable);
    checked(fields, "username", good, bad)
}

fn public_key(fields: &Fields) -> Result<Option<PublicKey>, WrongData> {
    let bad = |_| WrongData::new("public_key is not a supported OpenSSH public key");
    fields
        .get("public_key")
        .map(PublicKey::parse)
        .transpose()
        .map_err(bad)
}

fn hostname(fields: &Fields) -> Result<Option<String>, WrongData> {
    let bad = WrongData::new("hostname must be at most 253 characters");
    let good =
        |text: &str| text.chars().count() <= MAX_HOSTNAME && !text.chars().any(char::is_control);
    checked(fields, "hostname", good, bad)
}

fn hardware(fields: &Fields) -> Result<Option<String>, WrongData> {
    let bad = WrongData::new("hardware must be a JSON object of at most 4096 bytes");
    let good = |text: &str| {
        text.len() <= MAX_HARDWARE_BYTES
            && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
    };
    checked(fields, "hardware", good, bad)
}

fn checked(
    fields: &Fields,
    name: &str,
    good: impl Fn(&str) -> bool,
    bad: WrongData,
) -> Result<Option<String>, WrongData> {
    match fields.get(name) {
        None => Ok(None),
        Some(text) if good(text) => Ok(Some(text.to_owned())),
        Some(_) => Err(bad),
    }
}

/// Whether `text` is a device name or a prefix of one, of at most `longest` characters.
#[must_use]
pub fn is_name(text: &str, longest: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed)
}

/// Neither blank nor control, nor a character that changes how its neighbours are shown.
fn is_printable(c: char) -> bool {
    let unseen = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}');
    !c.is_control() && !c.is_whitespace() && !unseen
}

/// A whole number of digits only: no sign, no blank, no fraction.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn number_i64(text: &str) -> Option<i64> {
    number(text).and_then(|number| i64::try_from(number).ok())
}

fn device_id(text: &str) -> Option<DeviceId> {
    Uuid::try_parse(text).ok().map(DeviceId)
}

#[cfg(test)]
mod tests;
