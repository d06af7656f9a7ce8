//! Ports that carry TLS, HTTP and SSH.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moorline_server::registry::model::ForwardKind;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http;
use crate::http_names::bed::{Bed, DOMAIN, VISITOR};
use crate::http_names::site::Site;

/// The first line of an SSH server, after `first` was sent to it.
async fn banner(server: SocketAddr, first: &[u8]) -> String {
    let mut stream = BufReader::new(TcpStream::connect(server).await.unwrap());
    stream.write_all(first).await.unwrap();
    let mut line = String::new();
    timeout(Duration::from_secs(120), stream.read_line(&mut line))
        .await
        .expect("a line in time")
        .unwrap();
    line
}

pub(crate) async fn ssh_clients_that_speak_and_that_wait_get_to_the_gateway(bed: &Bed) {
    for first in [&b""[..], b"SSH-2.0-Test\r\n"] {
        assert_eq!(banner(bed.names_tls, first).await, "SSH-2.0-Moorline\r\n");
    }
}

async fn tls(bed: &Bed, server: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&bed.authority()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn get_over_tls(bed: &Bed, server: SocketAddr, name: &str, path: &str) -> String {
    let mut stream = tls(bed, server, name).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // Some servers leave the end of TLS out; it is the end of the answer that counts.
    drop(stream.read_to_string(&mut answer).await);
    answer
}

pub(crate) async fn tls_clients_get_the_certificate_of_the_name(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let name = site.name();
    for server in [bed.names_tls, bed.https] {
        let answer = get_over_tls(bed, server, &name, "/").await;
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        let seen = site.web.request().await;
        assert!(seen.contains("\r\nX-Forwarded-Proto: https\r\n"), "{seen}");
        let health = get_over_tls(bed, server, DOMAIN, "/healthz").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    }
    let stranger = format!("a.b.u.{DOMAIN}");
    assert!(tls(bed, bed.names_tls, &stranger).await.is_err());
}

pub(crate) async fn names_in_clear_offer_no_api(bed: &Bed) {
    for (path, host) in [
        ("/healthz", DOMAIN),
        ("/v1/gateway", DOMAIN),
        ("/init/api/device_list", "127.0.0.1"),
        ("/", "other.example"),
    ] {
        let reply = bed.get(host, path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.body.contains("No such name"), "{}", reply.body);
    }
    // Without the words of a WebSocket the transport does not take it, but it is there.
    assert_eq!(bed.get(DOMAIN, "/ws").await.status, 400);
    let session = bed.session(ForwardKind::Http).await;
    assert_eq!(bed.get(&session.name(), "/ws").await.status, 503);
}

pub(crate) async fn a_port_that_stands_in_both_lists_carries_both(bed: &Bed) {
    for first in [&b""[..], b"SSH-2.0-Test\r\n"] {
        assert_eq!(banner(bed.shared, first).await, "SSH-2.0-Moorline\r\n");
    }
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(http::raw(bed.shared, VISITOR, request).await.status, 200);
}
