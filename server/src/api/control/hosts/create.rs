//! `POST /v1/admin/hosts`: what a new host shall be, checked (control contract section 8).

use std::ops::RangeInclusive;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ACCEPTED, deed};
use crate::api::Api;
use crate::api::control::access::Operator;
use crate::api::control::answer::{Json, Refusal, json};
use crate::api::control::audit;
use crate::api::control::host_info::HostInfo;
use crate::random;
use crate::registry::error::HostError;
use crate::registry::model::{
    AccountId, Device, DeviceId, EgressIpId, HostKind, HostLimits, HostOrder, NewHost, User, UserId,
};

/// The names of the tz database, one a line.
const TIME_ZONES: &str = include_str!("time_zones.txt");
const DEFAULT_TIME_ZONE: &str = "America/Los_Angeles";
const DEFAULT_SLOT: &str = "primary";
const SLOT_CHARS: RangeInclusive<usize> = 1..=32;
const MEMORY_MB: RangeInclusive<i64> = 256..=1_048_576;
const DEFAULT_MEMORY_MB: i64 = 4096;
const CPUS: RangeInclusive<f64> = 0.1..=256.0;
const DEFAULT_CPUS: f64 = 2.0;
const DISK_GB: RangeInclusive<i64> = 1..=65_536;
const DEFAULT_DISK_GB: i64 = 20;

/// The body.
#[derive(Deserialize)]
pub(in crate::api::control) struct Wanted {
    user_id: Option<String>,
    kind: Option<String>,
    device_id: Option<String>,
    egress_ip_id: Option<String>,
    slot_key: Option<String>,
    region: Option<String>,
    timezone: Option<String>,
    memory_limit_mb: Option<i64>,
    cpu_limit: Option<f64>,
    disk_limit_gb: Option<i64>,
}

#[derive(Serialize)]
struct Created<'a> {
    host: HostInfo,
    task_id: String,
    short_id: String,
    entry_password: &'a str,
    status: &'static str,
}

/// Makes a host and queues what makes it run.
pub(in crate::api::control) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Refusal> {
    let account = operator.0.account;
    let form = Form::check(wanted)?;
    let user = user(&api, account, &form.user_id).await?;
    let egress_ip = match &form.egress_ip_id {
        Some(id) => Some(egress_ip(&api, account, id).await?),
        None => None,
    };
    let device = match &form.device_id {
        Some(id) => Some(device(&api, account, id).await?),
        None => None,
    };
    let region = match &device {
        Some(_) => None,
        None => Some(region(&api, account, form.region.as_deref()).await?),
    };
    let password = Secret::new(random::entry_password());
    let new = NewHost {
        account,
        user: user.id,
        device: device.as_ref().map(|device| device.id),
        slot_key: form.slot_key,
        region,
        timezone: form.timezone,
        hostname: match form.kind {
            HostKind::Container => random::container_name(),
            HostKind::Device => String::new(),
        },
        limits: form.limits,
        entry_password_hash: api.0.parts.passwords.hash(password.clone()).await?,
    };
    let order = HostOrder {
        new,
        egress_ip,
        requested_by: "admin".to_owned(),
    };
    let made = api.registry().order_host(order).await;
    let (host, task) = made.map_err(refused)?;
    api.0.parts.hosts.task_queued();
    let deed =
        deed("admin.host.create", &host, "made".to_owned()).with("task_id", task.id.to_string());
    audit::note(&api, &operator, deed).await;
    let created = Created {
        task_id: task.id.to_string(),
        short_id: host.short_id.clone(),
        host: HostInfo::new(host, device.map(|device| device.name)),
        entry_password: password.expose(),
        status: ACCEPTED,
    };
    Ok(json(StatusCode::ACCEPTED, &created))
}

fn refused(error: HostError) -> Refusal {
    match error {
        HostError::UnknownUser => Refusal::not_found("user not found"),
        HostError::UnknownDevice => Refusal::not_found("device not found"),
        HostError::TooMany => Refusal::conflict("too many hosts"),
        HostError::SlotTaken => Refusal::conflict("user already has an active host"),
        HostError::DeviceAssigned => Refusal::conflict("device is already assigned to a host"),
        HostError::UnknownEgressIp => Refusal::not_found("egress ip not found"),
        HostError::EgressIpDisabled => Refusal::conflict("egress IP is disabled"),
        HostError::ShortIdTaken => Refusal::internal(&error),
        HostError::Registry(error) => error.into(),
    }
}

/// What was asked for, as far as it can be checked by itself.
#[derive(Debug)]
struct Form {
    user_id: String,
    kind: HostKind,
    device_id: Option<String>,
    egress_ip_id: Option<String>,
    slot_key: Option<String>,
    region: Option<String>,
    timezone: String,
    limits: HostLimits,
}

impl Form {
    fn check(wanted: Wanted) -> Result<Self, Refusal> {
        let given = |text: Option<String>| {
            let text = text?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let user_id = given(wanted.user_id).ok_or(Refusal::bad("user_id is required"))?;
        let device_id = given(wanted.device_id);
        let kind = match given(wanted.kind).as_deref() {
            Some("container") => HostKind::Container,
            Some("device") => HostKind::Device,
            None if device_id.is_some() => HostKind::Device,
            None => HostKind::Container,
            Some(_) => return Err(Refusal::bad("kind must be container or device")),
        };
        let egress_ip_id = given(wanted.egress_ip_id);
        if kind == HostKind::Device {
            if device_id.is_none() {
                return Err(Refusal::bad("device_id is required for kind device"));
            }
            if egress_ip_id.is_some() {
                return Err(Refusal::bad("egress IPs apply to container hosts only"));
            }
        }
        let limits = limits(
            wanted.memory_limit_mb,
            wanted.cpu_limit,
            wanted.disk_limit_gb,
        )?;
        let slot_key = given(wanted.slot_key).unwrap_or_else(|| DEFAULT_SLOT.to_owned());
        if !is_slot(&slot_key) {
            return Err(Refusal::bad("slot_key is not valid"));
        }
        let timezone = given(wanted.timezone).unwrap_or_else(|| DEFAULT_TIME_ZONE.to_owned());
        if !TIME_ZONES.lines().any(|known| known == timezone) {
            return Err(Refusal::bad("timezone is not valid"));
        }
        let form = Self {
            user_id,
            kind,
            device_id,
            egress_ip_id,
            slot_key: Some(slot_key),
            region: given(wanted.region),
            timezone,
            limits,
        };
        Ok(match kind {
            HostKind::Container => Self {
                device_id: None,
                ..form
            },
            // These make no sense for a device.
            HostKind::Device => Self {
                slot_key: None,
                region: None,
                timezone: String::new(),
                limits: HostLimits {
                    memory_mb: 0,
                    cpus: 0.0,
                    disk_gb: 0,
                },
                ..form
            },
        })
    }
}

/// Absent and 0 are the default.
fn limits(
    memory_mb: Option<i64>,
    cpus: Option<f64>,
    disk_gb: Option<i64>,
) -> Result<HostLimits, Refusal> {
    let memory_mb = memory_mb.filter(|mb| *mb != 0).unwrap_or(DEFAULT_MEMORY_MB);
    if !MEMORY_MB.contains(&memory_mb) {
        return Err(Refusal::bad("memory_limit_mb is out of range"));
    }
    let cpus = cpus.filter(|cpus| *cpus != 0.0).unwrap_or(DEFAULT_CPUS);
    if !CPUS.contains(&cpus) {
        return Err(Refusal::bad("cpu_limit is out of range"));
    }
    let disk_gb = disk_gb.filter(|gb| *gb != 0).unwrap_or(DEFAULT_DISK_GB);
    if !DISK_GB.contains(&disk_gb) {
        return Err(Refusal::bad("disk_limit_gb is out of range"));
    }
    Ok(HostLimits {
        memory_mb,
        cpus,
        disk_gb,
    })
}

fn is_slot(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    SLOT_CHARS.contains(&text.len()) && text.bytes().all(plain)
}

async fn user(api: &Api, account: AccountId, id: &str) -> Result<User, Refusal> {
    let unknown = || Refusal::not_found("user not found");
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    let user = api.registry().user(UserId(id)).await?;
    user.filter(|user| user.account == account)
        .ok_or_else(unknown)
}

async fn egress_ip(api: &Api, account: AccountId, id: &str) -> Result<EgressIpId, Refusal> {
    let unknown = || Refusal::not_found("egress ip not found");
    let id = EgressIpId(Uuid::try_parse(id).map_err(|_| unknown())?);
    let found = api.registry().egress_ip(account, id).await?;
    found.map(|found| found.id).ok_or_else(unknown)
}

async fn device(api: &Api, account: AccountId, id: &str) -> Result<Device, Refusal> {
    let unknown = || Refusal::not_found("device not found");
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    let device = api.registry().device(DeviceId(id)).await?;
    device
        .filter(|device| device.account == account)
        .ok_or_else(unknown)
}

/// The node a container runs on: as asked for, else the account's default, else the only one there is.
async fn region(api: &Api, account: AccountId, asked: Option<&str>) -> Result<String, Refusal> {
    let unknown = || Refusal::not_found("region not found");
    let nodes = api.registry().nodes().await?;
    let asked = match asked {
        Some(asked) => Some(asked.to_owned()),
        None => {
            let account = api.registry().account(account).await?;
            account.and_then(|account| account.default_region)
        }
    };
    match (asked, nodes.as_slice()) {
        (Some(asked), nodes) => nodes
            .iter()
            .any(|node| node.name == asked)
            .then_some(asked)
            .ok_or_else(unknown),
        (None, [only]) => Ok(only.name.clone()),
        (None, _) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_defaults_and_ranges() {
        let usual = limits(None, Some(0.0), Some(0)).unwrap();
        assert_eq!(
            (usual.memory_mb, usual.cpus, usual.disk_gb),
            (4096, 2.0, 20)
        );
        for edge in [(256, 0.1, 1), (1_048_576, 256.0, 65_536)] {
            let (memory, cpus, disk) = edge;
            assert!(limits(Some(memory), Some(cpus), Some(disk)).is_ok());
        }
        for beyond in [
            (Some(255), None, None),
            (Some(1_048_577), None, None),
            (Some(-1), None, None),
            (None, Some(0.05), None),
            (None, Some(256.5), None),
            (None, Some(f64::NAN), None),
            (None, None, Some(65_537)),
        ] {
            assert!(limits(beyond.0, beyond.1, beyond.2).is_err(), "{beyond:?}");
        }
    }

    #[test]
    fn slots_and_time_zones_are_known_by_their_form() {
        for slot in ["primary", "a", "desk-2", &"x".repeat(32)] {
            assert!(is_slot(slot), "{slot}");
        }
        for slot in ["Primary", "a b", "a_b", "\u{e4}", &"x".repeat(33)] {
            assert!(!is_slot(slot), "{slot}");
        }
        for zone in [DEFAULT_TIME_ZONE, "Europe/Berlin", "UTC", "Asia/Kolkata"] {
            assert!(TIME_ZONES.lines().any(|known| known == zone), "{zone}");
        }
        assert!(TIME_ZONES.lines().count() > 500);
    }
}
