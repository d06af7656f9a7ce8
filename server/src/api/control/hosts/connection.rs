//! How a host is reached, in lines to copy (control contract section 8, `connection_info`).

use serde::Serialize;

use super::is_device;
use crate::api::Api;
use crate::api::control::origin::Origin;
use crate::registry::model::Host;

/// Lines to copy.
#[derive(Serialize)]
pub(super) struct ConnectionInfo {
    curl_command: String,
    ssh_command: String,
    ssh_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    vnc_url: Option<String>,
}

impl ConnectionInfo {
    /// `role` is the part of the path that the caller may use: `admin` or `user`.
    pub(super) fn new(api: &Api, origin: &Origin, host: &Host, role: &str) -> Self {
        let Origin { base, host: name } = origin;
        let short_id = &host.short_id;
        let ssh_port = api.identity().ssh_port;
        let vnc_url =
            (!is_device(host)).then(|| format!("{base}/v1/{role}/hosts/{}/vnc/vnc.html", host.id));
        Self {
            curl_command: format!("curl -sSL {base}/entry/{short_id} | bash"),
            ssh_command: format!("ssh {short_id}@{name} -p {ssh_port}"),
            ssh_port,
            vnc_url,
        }
    }
}
