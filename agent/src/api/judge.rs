//! Judges the server's certificate: by pin, by a CA file or by the public authorities, and with the clock floor.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::ApiError;
use crate::clock::{Clock, ClockFloor};
use crate::config::Trust;

/// What a wrong pin is called; `doctor` looks for it.
pub(super) const WRONG_PIN: &str = "the server's key is none of the pinned ones";

/// The TLS settings for `trust`.
pub(super) fn client_config(trust: &Trust, floor: ClockFloor) -> Result<ClientConfig, ApiError> {
    let provider = Arc::new(ring::default_provider());
    let setup = |error: Error| ApiError::Setup(error.to_string());
    let chains = if trust.server_spki.is_empty() {
        let roots = Arc::new(roots(trust)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier
            .build()
            .map_err(|error| ApiError::Setup(error.to_string()))?;
        Some(verifier)
    } else {
        None
    };
    let judge = Judge {
        pins: trust.server_spki.clone(),
        chains,
        floor,
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_no_client_auth();
    Ok(config)
}

fn roots(trust: &Trust) -> Result<RootCertStore, ApiError> {
    let Some(path) = &trust.ca_file else {
        return Ok(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        });
    };
    let setup = |reason: String| ApiError::Setup(format!("CA file {}: {reason}", path.display()));
    let mut store = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| setup(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| setup(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| setup(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(setup("holds no certificate".into()));
    }
    Ok(store)
}

#[derive(Debug)]
struct Judge {
    pins: Vec<[u8; 32]>,
    /// Absent with pins: a pinned key needs no authority, no name and no date.
    chains: Option<Arc<WebPkiServerVerifier>>,
    floor: ClockFloor,
    provider: Arc<CryptoProvider>,
}

impl Judge {
    fn by_pin(&self, certificate: &CertificateDer<'_>) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let spki = parsed.subject_public_key_info();
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, spki.as_ref());
        if self.pins.iter().any(|pin| pin == digest.as_ref()) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General(WRONG_PIN.into()))
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chains) = &self.chains else {
            return self.by_pin(end_entity);
        };
        let judge_at = |time| {
            chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, time)
        };
        match self.floor.judge(now.as_secs()) {
            Clock::Plausible(_) => judge_at(now),
            Clock::Behind { floor, .. } => match judge_at(unix(floor)) {
                // All that is known is that it is the floor or later: a certificate that begins later can be good.
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) => judge_at(not_before),
                verdict => verdict,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

const fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    const DAY: u64 = 86_400;
    /// 2026-01-01.
    const NOT_BEFORE: u64 = 1_767_225_600;
    /// 2027-01-01.
    const NOT_AFTER: u64 = NOT_BEFORE + 365 * DAY;

    struct Server {
        certificate: CertificateDer<'static>,
        ca_file: tempfile::NamedTempFile,
        pin: [u8; 32],
    }

    fn server() -> Server {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["m.example".to_owned()]).unwrap();
        leaf.not_before = date_time_ymd(2026, 1, 1);
        leaf.not_after = date_time_ymd(2027, 1, 1);
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let ca_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca_file.path(), ca_pem).unwrap();
        let parsed = ParsedCertificate::try_from(leaf.der()).unwrap();
        let spki = parsed.subject_public_key_info();
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, spki.as_ref());
        Server {
            pin: digest.as_ref().try_into().unwrap(),
            certificate: leaf.der().clone(),
            ca_file,
        }
    }

    fn verdict(server: &Server, trust: &Trust, floor: u64, now: u64) -> Result<(), Error> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(trust).unwrap());
        let chains = trust.server_spki.is_empty().then(|| {
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .unwrap()
        });
        let judge = Judge {
            pins: trust.server_spki.clone(),
            chains,
            floor: ClockFloor::new(floor, None),
            provider,
        };
        let name = ServerName::try_from("m.example").unwrap();
        judge
            .verify_server_cert(&server.certificate, &[], &name, &[], unix(now))
            .map(|_| ())
    }

    #[test]
    fn a_clock_at_1970_does_not_stop_a_certificate_that_can_be_valid() {
        let server = server();
        let trust = Trust {
            ca_file: Some(server.ca_file.path().to_owned()),
            ..Trust::default()
        };
        let judge = |floor, now| verdict(&server, &trust, floor, now);
        let inside = NOT_BEFORE + 30 * DAY;
        judge(inside, inside).unwrap();
        judge(inside, DAY).unwrap();
        // Built and last seen before the certificate was made.
        judge(NOT_BEFORE - 100 * DAY, DAY).unwrap();
        // By the floor it has certainly expired.
        assert!(judge(NOT_AFTER + DAY, DAY).is_err());
        // A clock that can be right is believed.
        assert!(judge(NOT_BEFORE - 100 * DAY, NOT_BEFORE - 50 * DAY).is_err());
        assert!(judge(inside, NOT_AFTER + DAY).is_err());
    }

    #[test]
    fn a_pin_needs_no_authority_and_no_date_and_another_key_is_refused() {
        let server = server();
        let pinned = |pin| Trust {
            server_spki: vec![pin],
            ca_file: None,
        };
        verdict(&server, &pinned(server.pin), NOT_AFTER + DAY, 0).unwrap();
        assert!(verdict(&server, &pinned([7; 32]), 0, NOT_BEFORE + DAY).is_err());
        assert!(verdict(&server, &Trust::default(), 0, NOT_BEFORE + DAY).is_err());
    }
}
