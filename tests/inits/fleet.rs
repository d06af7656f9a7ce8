use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{KeyPair, Operator, ServerOptions, Ssh, TestServer, binary, repository, wait_for};
use tempfile::TempDir;

/// Longest wait for an emulated machine: it may have a tenth of a busy core.
pub(crate) const PATIENCE: Duration = Duration::from_secs(420);

/// A server, its operator with a registered key, and the provisioning key of the factory.
pub(crate) struct Fleet {
    pub(crate) server: TestServer,
    pub(crate) operator: Operator,
    pub(crate) operator_key: KeyPair,
    pub(crate) provisioning_key: String,
    folder: TempDir,
}

impl Fleet {
    /// A server on loopback whose devices and operators reach it as `public_host`.
    pub(crate) fn known_as(public_host: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let server = TestServer::start_with(ServerOptions {
            public_host: public_host.into(),
            ..ServerOptions::default()
        });
        let operator = Operator::login(&server);
        let operator_key = KeyPair::make(&folder.path().join("operator"));
        operator.add_key(&operator_key);
        let provisioning_key = server.key("factory", "device:create,device:read");
        Self {
            server,
            operator,
            operator_key,
            provisioning_key,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stock ssh by the name of a device.
    pub(crate) fn by_name(&self, device: &str) -> Ssh {
        Ssh::gateway(&self.server, device, self.folder()).key(&self.operator_key)
    }

    /// Waits until the device is online with another tunnel than `before`; tells which.
    pub(crate) fn wait_online(&self, device: &str, before: Option<u64>) -> u64 {
        wait_for(&format!("{device} is online"), PATIENCE, || {
            let tunnel = self.operator.try_device(device)?.tunnel?.generation;
            (tunnel > 0 && Some(tunnel) != before).then_some(tunnel)
        })
    }

    /// Waits until the device is offline; tells why the server thinks it is.
    pub(crate) fn wait_offline(&self, device: &str) -> String {
        wait_for(&format!("{device} is offline"), PATIENCE, || {
            let device = self.operator.device(device);
            let reason = device.offline_reason?;
            // Between the end of a tunnel and the note of it nobody knows why it ended.
            (!device.online && reason != "node lost").then_some(reason)
        })
    }

    /// Names of all devices.
    pub(crate) fn devices(&self) -> Vec<String> {
        let devices = self.server.api(&self.provisioning_key).devices();
        devices
            .iter()
            .map(|device| device["host_name"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A place that `tests/inits/prepare` made.
pub(crate) fn prepared(name: &str) -> PathBuf {
    let path = repository().join("target/inits").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make setup`",
        path.display()
    );
    path
}

/// A file of `agent/dist`.
pub(crate) fn dist(name: &str) -> PathBuf {
    repository().join("agent/dist").join(name)
}

/// The agent as devices get it where `cross/build` made it, else the one that was built beside the tests.
pub(crate) fn agent() -> PathBuf {
    let device = repository().join("target/cross/x86_64-unknown-linux-musl/moorline-agent");
    if device.exists() {
        device
    } else {
        binary("moorline-agent")
    }
}
