//! HTTPS: certificates from files, or made by the server and kept in its data folder.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsSource;
use crate::private_file;

/// Why there is no HTTPS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("read or write {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not work together.
    #[error("use TLS certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("make TLS certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// What HTTPS needs, and what people need to trust it.
pub struct Https {
    /// Turns TCP into TLS.
    pub acceptor: TlsAcceptor,
    /// `sha256/…` of the server's key, for a certificate the server made itself.
    pub pin: Option<String>,
}

/// Loads or makes the certificate. One that is made holds the HTTP names too, where they are below `names_domain`.
///
/// # Errors
/// [`TlsError`].
pub fn load(
    source: &TlsSource,
    data_dir: &Path,
    public_host: &str,
    names_domain: Option<&str>,
) -> Result<Https, TlsError> {
    let (chain, key, pin) = match source {
        TlsSource::Files { certificate, key } => {
            let (chain, key) = from_files(certificate, key)?;
            (chain, key, None)
        }
        TlsSource::SelfSigned => self_signed(&data_dir.join("tls"), public_host, names_domain)?,
    };
    let own = certified(chain, key)?;
    let by_name = ByName {
        below: String::new(),
        names: own.clone(),
        own,
    };
    Ok(Https {
        acceptor: acceptor(by_name)?,
        pin,
    })
}

/// With a certificate of its own for HTTP names: it is shown for `*.u.<domain>`, that of `own` for every other name,
/// and where there is none the one for HTTP names too.
///
/// # Errors
/// [`TlsError`].
pub fn load_for_names(
    (certificate, key): (&Path, &Path),
    domain: &str,
    own: Option<&TlsSource>,
    data_dir: &Path,
    public_host: &str,
) -> Result<TlsAcceptor, TlsError> {
    let (chain, private) = from_files(certificate, key)?;
    let names = certified(chain, private)?;
    let own = match own {
        None => names.clone(),
        Some(TlsSource::Files { certificate, key }) => {
            let (chain, key) = from_files(certificate, key)?;
            certified(chain, key)?
        }
        Some(TlsSource::SelfSigned) => {
            let folder = data_dir.join("tls");
            let (chain, key, _) = self_signed(&folder, public_host, Some(domain))?;
            certified(chain, key)?
        }
    };
    acceptor(ByName {
        below: format!(".u.{domain}"),
        names,
        own,
    })
}

fn certified(chain: Chain, key: PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, TlsError> {
    let provider = rustls::crypto::ring::default_provider();
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider)?))
}

fn acceptor(by_name: ByName) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(by_name));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Which certificate is shown for which name.
#[derive(Debug)]
struct ByName {
    /// What the names end in that `names` is for; empty when there is but one certificate.
    below: String,
    names: Arc<CertifiedKey>,
    own: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A name comes in lower case here.
        let below = hello
            .server_name()
            .is_some_and(|name| name.ends_with(&self.below));
        Some(if below { &self.names } else { &self.own }.clone())
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn from_files(certificate: &Path, key: &Path) -> Result<(Chain, PrivateKeyDer<'static>), TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls_pki_types::pem::Error| TlsError::File {
            path,
            reason: error.to_string(),
        }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Chain, _>>)
        .map_err(failed(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    Ok((chain, key))
}

/// An own authority and a certificate signed by it. The keys stay, so that pins stay; the certificate is made anew
/// at every start for the names that count then.
fn self_signed(
    folder: &Path,
    public_host: &str,
    names_domain: Option<&str>,
) -> Result<(Chain, PrivateKeyDer<'static>, Option<String>), TlsError> {
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let authority_key = key_pair(&folder.join("ca.key"))?;
    let key = key_pair(&folder.join("server.key"))?;
    let mut authority = params();
    authority
        .distinguished_name
        .push(DnType::CommonName, "Moorline");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_certificate = authority.self_signed(&authority_key)?;
    let mut server = params();
    server
        .distinguished_name
        .push(DnType::CommonName, public_host);
    server.subject_alt_names = names(public_host, names_domain)?;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let issuer = Issuer::new(authority, authority_key);
    let certificate = server.signed_by(&key, &issuer)?;
    let path = folder.join("ca.pem");
    let pem = authority_certificate.pem();
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&pem) {
        private_file::write(&path, pem.as_bytes()).map_err(failed(&path))?;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
    let pin = format!("sha256/{}", data_encoding::BASE64.encode(digest.as_ref()));
    let chain = vec![
        certificate.der().clone(),
        authority_certificate.der().clone(),
    ];
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((chain, key, Some(pin)))
}

/// Valid for any clock: devices may believe it is 1970, and trust comes from the pin or the authority.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    params
}

fn names(public_host: &str, names_domain: Option<&str>) -> Result<Vec<SanType>, TlsError> {
    let below = names_domain.map(|domain| format!("*.u.{domain}"));
    let mut names = vec![public_host, "localhost", "127.0.0.1", "::1"];
    names.extend(names_domain.into_iter().chain(below.as_deref()));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    let name = |name: &str| match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into()?)),
    };
    names.into_iter().map(name).collect()
}

fn key_pair(path: &Path) -> Result<KeyPair, TlsError> {
    let made = KeyPair::generate()?.serialize_pem();
    let bytes = private_file::read_or_create(path, || made.into_bytes()).map_err(failed(path))?;
    Ok(KeyPair::from_pem(&String::from_utf8_lossy(&bytes))?)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError::File {
        path,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{ServerName, UnixTime};

    #[test]
    fn a_made_certificate_is_accepted_by_its_authority_and_keeps_its_pin() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, _, pin) =
            self_signed(folder.path(), "moor.example.org", Some("moor.example.org")).unwrap();
        let authority = CertificateDer::from_pem_file(folder.path().join("ca.pem")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        for name in [
            "moor.example.org",
            "ab12cd34.u.moor.example.org",
            "localhost",
            "127.0.0.1",
            "::1",
        ] {
            let name = ServerName::try_from(name).unwrap();
            verifier
                .verify_server_cert(&chain[0], &chain[1..], &name, &[], now)
                .unwrap();
        }
        let (_, _, again) = self_signed(folder.path(), "other.example.org", None).unwrap();
        assert!(pin.as_deref().unwrap().starts_with("sha256/"));
        assert_eq!(pin, again);
        load(&TlsSource::SelfSigned, folder.path(), "192.0.2.1", None).unwrap();
    }

    #[test]
    fn files_that_do_not_fit_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = TlsSource::Files {
            certificate: folder.path().join("c.pem"),
            key: folder.path().join("k.pem"),
        };
        let error = load(&missing, folder.path(), "x", None).err().unwrap();
        assert!(error.to_string().contains("c.pem"), "{error}");
    }
}
