//! The client script: a constants block and a POSIX shell program (provisioning contract section 5).

use moorline_protocol::script::{Constants, SHEBANG, script_name};

use crate::api::Identity;
use crate::registry::model::{Device, Forward, Node};

/// Raised when the program changes.
pub const VERSION: u32 = 1;
/// The program below the constants block.
const PROGRAM: &str = include_str!("client_script.sh");

/// What stands in the constants block.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose script it is.
    pub device: &'a Device,
    /// Where its tunnel goes.
    pub node: &'a Node,
    /// Its first forward.
    pub forward: &'a Forward,
    /// Whether the caller may read `dbid`.
    pub shows_dbid: bool,
    /// What the server says of itself.
    pub server: &'a Identity,
}

/// The script of a device.
#[must_use]
pub fn render(facts: &Facts<'_>) -> String {
    let block = constants(facts).render();
    let mut script = String::with_capacity(SHEBANG.len() + 1 + block.len() + PROGRAM.len());
    script.push_str(SHEBANG);
    script.push('\n');
    script.push_str(&block);
    script.push_str(PROGRAM);
    script
}

fn constants(facts: &Facts<'_>) -> Constants {
    let Facts {
        device,
        node,
        forward,
        server,
        ..
    } = facts;
    let id = device.id.to_string();
    let dbid = match facts.shows_dbid {
        true => device.dbid.expose().as_str(),
        false => "",
    };
    let mut constants = Constants::default();
    let mut set = |name, value: &str| constants.set(name, value);
    set("SCRIPT_VERSION", &VERSION.to_string());
    set("HOST_UUID", &id);
    set("CLIENT_NAME", &script_name(&device.name));
    set("REGION", &node.name);
    set("SERVER_HOST", &node.public_host);
    set("SERVER_PORT", &node.ssh_port.to_string());
    set("SERVER_HOST_KEY", &node.host_key);
    set("SSH_USER", &id);
    set("REMOTE_PORT", &forward.public_port.to_string());
    set("FORWARD_PORT", &forward.device_port.to_string());
    set("API_URL", &server.api_url);
    set("USER_ID", &device.account.to_string());
    set("PORTS_ID", &forward.id.to_string());
    set("DB_SERVER_KEY", dbid);
    if let Some(pin) = &server.api_pin {
        set("API_PIN", pin);
    }
    if let Some(key) = &server.gateway_key {
        set("GATEWAY_KEY", key);
    }
    constants
}

#[cfg(test)]
mod tests;
