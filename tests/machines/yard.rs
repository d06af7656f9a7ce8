use std::path::Path;

use harness::{Https, KeyPair, Operator, ServerOptions, Ssh, TestServer, repository};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, date_time_ymd};
use tempfile::TempDir;

use crate::board::Board;
use crate::device::{Device, Fittings, Root};

/// Where a device finds the host that emulates it.
const HOST: &str = "10.0.2.2";
/// First and last year in which the server's certificate is valid; a clock at 1970 is before both.
const VALID: (i32, i32) = (2024, 2099);

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
        Self::with_certificate(VALID)
    }

    /// Its server's certificate is valid from the beginning of the first year to that of the second.
    pub(crate) fn with_certificate(valid: (i32, i32)) -> Self {
        let folder = TempDir::new().unwrap();
        let (authority, https) = certify(folder.path(), valid);
        let server = TestServer::start_with(ServerOptions {
            public_host: HOST.into(),
            https: Some(https),
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
            authority,
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

/// An authority and a certificate of it for the server.
fn certify(folder: &Path, valid: (i32, i32)) -> (String, Https) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    certificate.not_before = date_time_ymd(valid.0, 1, 1);
    certificate.not_after = date_time_ymd(valid.1, 1, 1);
    let signed = certificate.signed_by(&key, &Issuer::new(authority, authority_key));
    let (certificate_file, key_file) = (folder.join("server.pem"), folder.join("server.key"));
    std::fs::write(&certificate_file, signed.unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (
        authority_pem,
        Https::with_files(&certificate_file, &key_file),
    )
}
