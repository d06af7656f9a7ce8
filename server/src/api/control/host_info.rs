//! A host as answers show it (control contract section 8).

use serde::Serialize;

use super::answer::Refusal;
use crate::api::Api;
use crate::registry::model::{Host, HostKind};

/// What is known of the image of every container.
const IMAGE: &str = "managed-user";

/// A host on the wire.
#[derive(Serialize)]
pub(super) struct HostInfo {
    id: String,
    user_id: String,
    status: &'static str,
    short_id: String,
    template_image_ref: &'static str,
    home_volume_name: String,
    slot_key: String,
    timezone: String,
    hostname: String,
    memory_limit_mb: i64,
    cpu_limit: f64,
    disk_limit_gb: i64,
    created_at: String,
    updated_at: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
}

impl HostInfo {
    /// `name` is what the device of a device host is called.
    pub(super) fn new(host: Host, name: Option<String>) -> Self {
        Self {
            id: host.id.to_string(),
            user_id: host.user.to_string(),
            status: host.status.as_str(),
            short_id: host.short_id,
            template_image_ref: match host.kind {
                HostKind::Container => IMAGE,
                HostKind::Device => "",
            },
            home_volume_name: host.home_volume_name,
            slot_key: host.slot_key,
            timezone: host.timezone,
            hostname: name.unwrap_or(host.hostname),
            memory_limit_mb: host.limits.memory_mb,
            cpu_limit: host.limits.cpus,
            disk_limit_gb: host.limits.disk_gb,
            created_at: host.created_at.to_rfc3339(),
            updated_at: host.updated_at.to_rfc3339(),
            kind: host.kind.as_str(),
            device_id: host.device.map(|device| device.to_string()),
        }
    }
}

/// `hosts` as answers show them, in the same order.
pub(super) async fn of(api: &Api, hosts: Vec<Host>) -> Result<Vec<HostInfo>, Refusal> {
    let mut shown = Vec::with_capacity(hosts.len());
    for host in hosts {
        let found = match host.device {
            Some(device) => api.registry().device(device).await?,
            None => None,
        };
        let own = found.filter(|device| device.account == host.account);
        let name = own.map(|device| device.name);
        shown.push(HostInfo::new(host, name));
    }
    Ok(shown)
}
