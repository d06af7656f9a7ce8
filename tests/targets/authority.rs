use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Https, run};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// An authority with an RSA key that vouches for an elliptic key, as public ones do: whoever checks both needs most of
/// what TLS computes with.
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one, with a certificate for 127.0.0.1.
    pub(crate) fn make(folder: &Path) -> Self {
        let authority = Self {
            folder: folder.to_path_buf(),
        };
        let private = folder.join("authority.key");
        run(Command::new("ssh-keygen")
            .args([
                "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f",
            ])
            .arg(&private))
        .ok();
        let authority_key = KeyPair::from_pem(&std::fs::read_to_string(private).unwrap()).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let own = params.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let certificate = server.signed_by(&key, &issuer).unwrap();
        std::fs::write(authority.file(), own.pem()).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        authority
    }

    /// What a device trusts, PEM.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// A server with the certificate.
    pub(crate) fn https(&self) -> Https {
        Https::with_files(
            &self.folder.join("server.pem"),
            &self.folder.join("server.key"),
        )
    }
}
