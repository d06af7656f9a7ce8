//! What single keys may say, and what they mean.

use std::net::IpAddr;

use moorline_protocol::Secret;

use super::file::{NamesFile, TlsFile};
use super::{ConfigError, DEFAULT_HTTP_CONNECTIONS, Names, Tls, TlsSource};

/// Shortest JWT secret that is taken (control contract section 16).
const JWT_SECRET_MIN: usize = 32;
/// Calls a minute of an API key without a number of its own.
const DEFAULT_RATE_LIMIT: u32 = 600;

pub(super) fn fallback_host(host: Option<String>) -> Result<Option<String>, ConfigError> {
    if let Some(host) = &host {
        check_host("ssh.fallback_host", host)?;
    }
    Ok(host)
}

pub(super) fn check_host(key: &'static str, host: &str) -> Result<(), ConfigError> {
    let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let good = host.parse::<IpAddr>().is_ok()
        || (!host.is_empty()
            && host.len() <= 253
            && host.chars().all(name)
            && !host.starts_with('-'));
    good.then_some(()).ok_or_else(|| {
        invalid(
            key,
            format!("`{host}` is neither a DNS name nor an address"),
        )
    })
}

pub(super) fn check_region(region: &str) -> Result<(), ConfigError> {
    let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let good = (1..=64).contains(&region.len()) && region.chars().all(name);
    good.then_some(())
        .ok_or_else(|| invalid("region", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -"))
}

/// A base URL without a slash at its end.
pub(super) fn base_url(
    key: &'static str,
    url: Option<String>,
) -> Result<Option<String>, ConfigError> {
    let Some(url) = url else { return Ok(None) };
    let url = url.trim_end_matches('/').to_owned();
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_graphic() && !"'\"<>\\^`{|}?#".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && rest.chars().all(plain) => Ok(Some(url)),
        _ => Err(invalid(
            key,
            "must be a URL such as https://moorline.example.org",
        )),
    }
}

pub(super) fn tls(file: TlsFile, self_signed: bool) -> Result<Option<Tls>, ConfigError> {
    let source = match (file.certificate, file.key) {
        (Some(_), Some(_)) if file.self_signed => {
            return Err(invalid(
                "tls.self_signed",
                "excludes tls.certificate and tls.key",
            ));
        }
        (Some(certificate), Some(key)) => Some(TlsSource::Files { certificate, key }),
        (None, None) => (file.self_signed || self_signed).then_some(TlsSource::SelfSigned),
        (Some(_), None) => return Err(invalid("tls.key", "is needed beside tls.certificate")),
        (None, Some(_)) => return Err(invalid("tls.certificate", "is needed beside tls.key")),
    };
    if source.is_none() && !file.listen.is_empty() {
        return Err(invalid(
            "tls.listen",
            "needs tls.certificate and tls.key, or tls.self_signed",
        ));
    }
    let listen = file.listen;
    Ok(source.map(|source| Tls { source, listen }))
}

pub(super) fn names(
    file: NamesFile,
    public_host: &str,
    https: bool,
) -> Result<Option<Names>, ConfigError> {
    let certificate = match (file.certificate, file.key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(invalid("names.key", "is needed beside names.certificate")),
        (None, Some(_)) => return Err(invalid("names.certificate", "is needed beside names.key")),
    };
    if file.listen.is_empty() && file.tls_listen.is_empty() && file.domain.is_none() {
        return match certificate {
            Some(_) => Err(invalid("names.listen", "is needed, or names.tls_listen")),
            None => Ok(None),
        };
    }
    if !file.tls_listen.is_empty() && certificate.is_none() && !https {
        return Err(invalid(
            "names.tls_listen",
            "needs names.certificate and names.key, or a certificate in [tls]",
        ));
    }
    let domain = file.domain.as_deref().unwrap_or(public_host);
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    if check_host("names.domain", &domain).is_err() || domain.parse::<IpAddr>().is_ok() {
        return Err(invalid(
            "names.domain",
            "must be a DNS name, as an address has no names below it",
        ));
    }
    Ok(Some(Names {
        listen: file.listen,
        tls_listen: file.tls_listen,
        domain,
        certificate,
        connections: file.connections.unwrap_or(DEFAULT_HTTP_CONNECTIONS).max(1),
    }))
}

/// The secret of the tokens; that of the environment wins (control contract section 16).
pub(super) fn jwt_secret(
    file: Option<Secret<String>>,
    environment: Option<Secret<String>>,
) -> Result<Option<Secret<String>>, ConfigError> {
    let (key, secret) = match environment {
        Some(secret) => ("ADMIN_JWT_SECRET", Some(secret)),
        None => ("auth.jwt_secret", file),
    };
    let short = |secret: &Secret<String>| secret.expose().chars().count() < JWT_SECRET_MIN;
    if secret.as_ref().is_some_and(short) {
        return Err(invalid(key, "must have 32 characters or more"));
    }
    Ok(secret)
}

pub(super) fn default_rate_limit(limit: Option<u32>) -> Result<u32, ConfigError> {
    let limit = limit.unwrap_or(DEFAULT_RATE_LIMIT);
    if (1..=1_000_000).contains(&limit) {
        Ok(limit)
    } else {
        Err(invalid(
            "limits.default_rate_limit",
            "must be a number from 1 to 1000000",
        ))
    }
}

fn invalid(key: &'static str, reason: impl Into<String>) -> ConfigError {
    let reason = reason.into();
    ConfigError::Invalid { key, reason }
}
