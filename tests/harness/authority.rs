use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::{Https, run};

/// First and last year in which a certificate is usually valid; a clock at 1970 is before both.
const VALID: (i32, i32) = (2024, 2099);

/// An authority with an RSA key that vouches for an elliptic key, as public ones do: whoever checks both needs most of
/// what TLS computes with. Nobody knows it who was not told.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one in `folder`, with a certificate for the server called `host`.
    #[must_use]
    pub fn make(folder: &Path, host: &str) -> Self {
        Self::valid(folder, host, VALID)
    }

    /// The same, and the certificate is valid from the beginning of the first year to that of the second.
    #[must_use]
    pub fn valid(folder: &Path, host: &str, (first, last): (i32, i32)) -> Self {
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
        let mut server = CertificateParams::new(vec![host.to_owned()]).unwrap();
        server.not_before = date_time_ymd(first, 1, 1);
        server.not_after = date_time_ymd(last, 1, 1);
        let issuer = Issuer::new(params, authority_key);
        let certificate = server.signed_by(&key, &issuer).unwrap();
        std::fs::write(authority.file(), own.pem()).unwrap();
        std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        authority
    }

    /// What a device trusts, PEM.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// A server with the certificate.
    #[must_use]
    pub fn https(&self) -> Https {
        Https::with_files(
            &self.folder.join("server.pem"),
            &self.folder.join("server.key"),
        )
    }
}
