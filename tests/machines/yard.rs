use std::path::Path;

use harness::{Authority, KeyPair, Operator, ServerOptions, Ssh, TestServer, repository};
use tempfile::TempDir;

use crate::board::Board;
use crate::device::{Device, Fittings, Root};

/// Where a device finds the host that emulates it.
const HOST: &str = "10.0.2.2";

/// A server that devices reach over HTTPS, an operator whose key is registered, and what devices are fitted with.
pub(crate) struct Yard {
    pub(crate) server: TestServer,
    pub(crate) operator: Operator,
    key: KeyPair,
    api_key: String,
    /// Certificate of the authority that vouches for the server, PEM. Nobody else knows it.
    authority: String,
    folder: TempDir,
}

impl Yard {
    pub(crate) fn open() -> Self {
        Self::with_certificate(Authority::make)
    }

    /// What vouches for its server is made by `certify`.
    pub(crate) fn with_certificate(certify: impl FnOnce(&Path, &str) -> Authority) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = certify(folder.path(), HOST);
        let server = TestServer::start_with(ServerOptions {
            public_host: HOST.into(),
            https: Some(authority.https()),
            ..ServerOptions::default()
        });
        let operator = Operator::login(&server);
        let key = KeyPair::make(&folder.path().join("operator"));
        operator.add_key(&key);
        let api_key = server.full_key("factory");
        Self {
            server,
            operator,
            key,
            api_key,
            authority: std::fs::read_to_string(authority.file()).unwrap(),
            folder,
        }
    }

    /// What a device is fitted with whose names begin with `prefix`.
    pub(crate) fn fittings(&self, prefix: &str) -> Fittings {
        let explained =
            std::fs::read_to_string(repository().join("agent/dist/agent.toml")).unwrap();
        assert!(
            explained.contains("\n[trust]\n"),
            "agent.toml ends in [trust]"
        );
        let config = format!(
            "api_url = \"{}\"\napi_key_file = \"/etc/moorline/api_key\"\nprefix = \"{prefix}\"\n\
             username = \"root\"\nauthorized_keys = \"/data/root/.ssh/authorized_keys\"\n{explained}\n\
             ca_file = \"/etc/moorline/ca.pem\"\n",
            self.url()
        );
        Fittings {
            root: Root::Memory,
            config,
            api_key: self.api_key.clone(),
            authority: self.authority.clone(),
            at_start: "#!/bin/sh\n".into(),
            clock: None,
        }
    }

    /// A device with nothing special about it; `name` is for its logs and the beginning of its names.
    pub(crate) fn device(&self, name: &str, board: &Board) -> Device {
        Device::new(name, board, &self.fittings(&format!("{name}-")))
    }

    /// Base URL of the API as devices see it.
    pub(crate) fn url(&self) -> String {
        self.server.https_url()
    }

    /// Certificate of the authority that vouches for the server, PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Secret of the key with which devices enrol.
    pub(crate) fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Stock ssh by the name of a device, through the gateway.
    pub(crate) fn ssh(&self, device: &str) -> Ssh {
        Ssh::gateway(&self.server, device, self.folder.path()).key(&self.key)
    }

    /// Names of the clients that begin with `prefix`, in their order.
    pub(crate) fn clients(&self, prefix: &str) -> Vec<String> {
        let devices = self.server.api(&self.api_key).devices();
        let mut names: Vec<String> = devices
            .iter()
            .map(|device| device["host_name"].as_str().unwrap().to_owned())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort();
        names
    }
}
