//! What the client script tells the agent: where its node is and what to forward (provisioning contract section 5).

use moorline_protocol::Secret;
use moorline_protocol::script::{Constants, ScriptError};
use ssh_key::PublicKey;

/// The constants of a client script, checked.
#[derive(Clone, Debug)]
pub struct Provision {
    /// UUID of the device; also the user name of the tunnel's login.
    pub client_id: String,
    /// Name of the device.
    pub client_name: String,
    /// Node name.
    pub region: String,
    /// SSH address of the node.
    pub server_host: String,
    /// SSH port of the node.
    pub server_port: u16,
    /// Host key of the node; no other is accepted.
    pub server_host_key: PublicKey,
    /// Login name for the tunnel.
    pub ssh_user: String,
    /// What is forwarded.
    pub forward: Forward,
    /// Base of the API, no trailing slash.
    pub api_url: Option<String>,
    /// Credential of the device for later API calls, if the script shows all of it.
    pub quadruple: Option<Quadruple>,
    /// Public key with which the gateway logs in to this device.
    pub gateway_key: Option<PublicKey>,
}

/// A public port on the node and the device port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Public port on the node.
    pub remote_port: u16,
    /// Port on the device.
    pub local_port: u16,
}

/// The per-device credential of provisioning contract section 1.
#[derive(Clone, Debug)]
pub struct Quadruple {
    /// Random secret of the device.
    pub dbid: Secret<String>,
    /// UUID of the device.
    pub host_uuid: String,
    /// Number of a forward.
    pub ports_id: String,
    /// Account number.
    pub user_id: String,
}

impl Provision {
    /// Reads the constants block of `script`.
    ///
    /// # Errors
    /// [`ScriptError`], with the constant that is missing or wrong.
    pub fn parse(script: &str) -> Result<Self, ScriptError> {
        let constants = Constants::parse(script)?;
        let text = |name| constants.require(name).map(str::to_owned);
        let forward = Forward {
            remote_port: constants.require_port("REMOTE_PORT")?,
            local_port: constants.require_port("FORWARD_PORT")?,
        };
        Ok(Self {
            client_id: text("HOST_UUID")?,
            client_name: text("CLIENT_NAME")?,
            region: constants.get("REGION").unwrap_or_default().to_owned(),
            server_host: text("SERVER_HOST")?,
            server_port: constants.require_port("SERVER_PORT")?,
            server_host_key: public_key(&constants, "SERVER_HOST_KEY")?
                .ok_or(ScriptError::Missing("SERVER_HOST_KEY"))?,
            ssh_user: text("SSH_USER")?,
            forward,
            api_url: constants.get("API_URL").map(str::to_owned),
            quadruple: quadruple(&constants),
            gateway_key: public_key(&constants, "GATEWAY_KEY")?,
        })
    }

    /// Whether this leads to another node, or to the same one in another way.
    #[must_use]
    pub fn leads_elsewhere(&self, before: &Self) -> bool {
        let way = |provision: &Self| {
            (
                provision.server_host.clone(),
                provision.server_port,
                provision.ssh_user.clone(),
                provision.forward,
            )
        };
        way(self) != way(before)
            || self.server_host_key.key_data() != before.server_host_key.key_data()
    }
}

fn quadruple(constants: &Constants) -> Option<Quadruple> {
    let text = |name| constants.get(name).map(str::to_owned);
    Some(Quadruple {
        dbid: Secret::new(text("DB_SERVER_KEY")?),
        host_uuid: text("HOST_UUID")?,
        ports_id: text("PORTS_ID")?,
        user_id: text("USER_ID")?,
    })
}

fn public_key(constants: &Constants, name: &'static str) -> Result<Option<PublicKey>, ScriptError> {
    let expected = "an OpenSSH public key";
    constants
        .get(name)
        .map(|line| {
            PublicKey::from_openssh(line).map_err(|_| ScriptError::Invalid { name, expected })
        })
        .transpose()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::device_key::DeviceKey;

    /// A client script as a server writes it, with `changes` over the usual constants.
    pub(crate) fn script(changes: &[(&str, &str)]) -> String {
        let key = DeviceKey::generate().unwrap().public_line();
        let mut constants = Constants::default();
        let usual = [
            ("HOST_UUID", "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2"),
            ("CLIENT_NAME", "cli000001"),
            ("REGION", "local"),
            ("SERVER_HOST", "127.0.0.1"),
            ("SERVER_PORT", "2222"),
            ("SERVER_HOST_KEY", key.as_str()),
            ("SSH_USER", "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2"),
            ("REMOTE_PORT", "40001"),
            ("FORWARD_PORT", "22"),
            ("API_URL", "http://127.0.0.1:8080"),
            ("USER_ID", "1"),
            ("PORTS_ID", "7"),
            ("DB_SERVER_KEY", ""),
        ];
        for (name, value) in usual.iter().chain(changes) {
            constants.set(name, value);
        }
        format!("#!/bin/sh\n{}exit 0\n", constants.render())
    }

    #[test]
    fn a_script_gives_node_forward_and_credential() {
        let plain = Provision::parse(&script(&[])).unwrap();
        assert_eq!(
            (plain.server_host.as_str(), plain.server_port),
            ("127.0.0.1", 2222)
        );
        assert_eq!(
            (plain.forward.remote_port, plain.forward.local_port),
            (40001, 22)
        );
        assert!(plain.quadruple.is_none() && plain.gateway_key.is_none());
        let full = Provision::parse(&script(&[("DB_SERVER_KEY", "secret")])).unwrap();
        assert_eq!(full.quadruple.unwrap().ports_id, "7");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in [
            ("SERVER_PORT", "0"),
            ("SERVER_HOST_KEY", "nonsense"),
            ("GATEWAY_KEY", "x"),
        ] {
            let error = Provision::parse(&script(&[(name, value)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let error = Provision::parse(&script(&[("SERVER_HOST", "")])).unwrap_err();
        assert_eq!(error, ScriptError::Missing("SERVER_HOST"));
    }
}
