//! Who listens where, and with which certificate.
//!
//! An address that stands in the configuration for SSH and for HTTP is one port that carries both; so is every
//! address for HTTP names over TLS.

use std::net::SocketAddr;

use tokio_rustls::TlsAcceptor;

use super::ServeError;
use crate::config::{Config, Names};
use crate::gateway::Entry;
use crate::http::{Listener, Offers};
use crate::tls::{self, Https};

/// The certificate of HTTPS, if there is one.
pub(super) fn https(config: &Config) -> Result<Option<Https>, ServeError> {
    let domain = config.names.as_ref().map(|names| names.domain.as_str());
    let Some(tls) = &config.tls else {
        return Ok(None);
    };
    let mut https = tls::load(&tls.source, &config.data_dir, &config.public_host, domain)?;
    if let Some(acceptor) = with_names(config)? {
        https.acceptor = acceptor;
    }
    Ok(Some(https))
}

/// With the certificate for HTTP names, where they have one of their own.
fn with_names(config: &Config) -> Result<Option<TlsAcceptor>, ServeError> {
    let Some(names) = &config.names else {
        return Ok(None);
    };
    let Some((certificate, key)) = &names.certificate else {
        return Ok(None);
    };
    let acceptor = tls::load_for_names(
        (certificate, key),
        &names.domain,
        config.tls.as_ref().map(|tls| &tls.source),
        &config.data_dir,
        &config.public_host,
    )?;
    Ok(Some(acceptor))
}

/// The addresses that the gateway itself listens on.
pub(super) fn of_gateway(config: &Config) -> Vec<SocketAddr> {
    let own = |address: &SocketAddr| !is_shared(config, *address);
    config.ssh.iter().copied().filter(own).collect()
}

/// Whether HTTP listens there too. Port 0 is another port each time.
fn is_shared(config: &Config, address: SocketAddr) -> bool {
    let tls = config.tls.iter().flat_map(|tls| &tls.listen);
    let names = config.names.iter();
    let names = names.flat_map(|names| names.listen.iter().chain(&names.tls_listen));
    let mut others = config.http.iter().chain(tls).chain(names);
    address.port() != 0 && config.ssh.contains(&address) && others.any(|other| *other == address)
}

/// The listeners of the API.
pub(super) fn of_api(
    config: &Config,
    https: Option<&Https>,
    gateway: &Entry,
) -> Result<Vec<Listener>, ServeError> {
    let own = config
        .tls
        .as_ref()
        .map_or(&[][..], |tls| tls.listen.as_slice());
    let acceptor = https.map(|https| https.acceptor.clone());
    // Without addresses of its own, HTTPS takes those of HTTP.
    let on_http = acceptor.clone().filter(|_| own.is_empty());
    let plain = config
        .http
        .iter()
        .map(|address| (*address, on_http.clone()));
    let secure = own.iter().map(|address| (*address, acceptor.clone()));
    plain
        .chain(secure)
        .map(|(address, tls)| {
            let listener = bind(address, tls)?;
            Ok(match is_shared(config, address) {
                true => listener.with_ssh(gateway.clone()),
                false => listener,
            })
        })
        .collect()
}

/// The listeners for HTTP names in clear.
pub(super) fn of_names(
    config: &Config,
    names: &Names,
    gateway: &Entry,
) -> Result<Vec<Listener>, ServeError> {
    let listen = names.listen.iter();
    listen
        .map(|address| {
            let listener = bind(*address, None)?.offering(Offers::WebSocket);
            Ok(match is_shared(config, *address) {
                true => listener.with_ssh(gateway.clone()),
                false => listener,
            })
        })
        .collect()
}

/// The listeners for HTTP names over TLS; they take SSH too.
pub(super) fn of_names_over_tls(
    config: &Config,
    names: &Names,
    https: Option<&Https>,
    gateway: &Entry,
) -> Result<Vec<Listener>, ServeError> {
    let acceptor = match https {
        Some(https) => Some(https.acceptor.clone()),
        None => with_names(config)?,
    };
    let listen = names.tls_listen.iter();
    listen
        .map(|address| Ok(bind(*address, acceptor.clone())?.with_ssh(gateway.clone())))
        .collect()
}

fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Listener, ServeError> {
    Listener::bind(address, tls).map_err(|source| ServeError::Listen { address, source })
}
