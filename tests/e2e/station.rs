use std::path::Path;

use harness::{KeyPair, Operator, Ssh, TestDevice, TestServer};
use tempfile::TempDir;

/// A server, a device with its tunnel up, and an operator whose key is registered.
pub(crate) struct Station {
    // Fields go in this order: the device before the server it talks to.
    pub(crate) device: TestDevice,
    pub(crate) server: TestServer,
    pub(crate) operator: Operator,
    pub(crate) key: KeyPair,
    folder: TempDir,
}

impl Station {
    pub(crate) fn with_device(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let server = TestServer::start();
        let operator = Operator::login(&server);
        let key = KeyPair::make(&folder.path().join("operator"));
        operator.add_key(&key);
        let device = TestDevice::enrolled(&server, name);
        operator.open_port(name);
        Self {
            device,
            server,
            operator,
            key,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stock ssh to the gateway with the operator's key and `user` as the user name.
    pub(crate) fn by_name(&self, user: &str) -> Ssh {
        Ssh::gateway(&self.server, user, self.folder()).key(&self.key)
    }

    /// Stock ssh to a device's sshd behind its public port; the operator's key has to be let in there.
    pub(crate) fn by_port(&self, port: u16) -> Ssh {
        let known_hosts = self.folder().join("device_known_hosts");
        let host = self.server.host();
        let key = self.device.sshd().host_key();
        std::fs::write(&known_hosts, format!("[{host}]:{port} {key}\n")).unwrap();
        Ssh::new(host, port, &me(), &known_hosts).key(&self.key)
    }

    /// The public port of the device called `name`.
    pub(crate) fn public_port(&self, name: &str) -> u16 {
        self.operator.device(name).forwards[0].public_port
    }
}

/// The user who runs the tests, who is also the user that sessions on a device have.
pub(crate) fn me() -> String {
    let name = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    String::from_utf8(name.stdout).unwrap().trim().to_owned()
}
