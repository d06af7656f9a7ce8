//! Requests to HTTP names (openport contract section 12).

use std::time::Duration;

use moorline_server::registry::model::ForwardKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http;
use crate::http_names::bed::{Bed, DOMAIN, VISITOR};
use crate::http_names::site::Site;
use crate::http_names::web::BIG;
use crate::http_names::ws_device::WsDevice;

/// Sends `request` with `NAME` replaced, and closes after it.
async fn send(bed: &Bed, site: &Site, request: &str) -> http::Reply {
    let request = request.replace("NAME", &site.name());
    http::raw(bed.names, VISITOR, request.as_bytes()).await
}

pub(crate) async fn requests_and_answers_pass_whole(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let reply = send(
        bed,
        &site,
        "PROPFIND /a%20b?x=1&y=%2F HTTP/1.1\r\nHost: NAME:8080\r\nDepth: 1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
    )
    .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    let seen = site.web.request().await;
    let first = "PROPFIND /a%20b?x=1&y=%2F HTTP/1.1\r\n";
    assert!(
        seen.starts_with(first) && seen.ends_with("\r\n\r\nbody"),
        "{seen}"
    );
    let host = format!("\r\nHost: {}:8080\r\n", site.name());
    assert!(
        seen.contains(&host) && seen.contains("\r\nDepth: 1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("\r\nContent-Length: 4\r\n"), "{seen}");

    let absolute = "GET http://NAME/abs?q HTTP/1.1\r\nHost: NAME\r\nConnection: close\r\n\r\n";
    assert_eq!(send(bed, &site, absolute).await.status, 200);
    let seen = site.web.request().await;
    assert!(seen.starts_with("GET /abs?q HTTP/1.1\r\n"), "{seen}");

    let head = "HEAD / HTTP/1.1\r\nHost: NAME\r\nConnection: close\r\n\r\n";
    let head = head.replace("NAME", &site.name());
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

pub(crate) async fn the_node_says_where_a_request_comes_from(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let reply = send(
        bed,
        &site,
        "GET /hop HTTP/1.1\r\nHost: NAME\r\nX-Forwarded-For: 10.0.0.1\r\nx_forwarded_for: 10.0.0.2\r\n\
         X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil\r\nForwarded: for=1\r\nTE: trailers\r\n\
         Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nCookie: a=b\r\n\r\n",
    )
    .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    assert_eq!(reply.header("x-end"), Some("1"));
    assert_eq!(
        (reply.header("x-hop"), reply.header("keep-alive")),
        (None, None)
    );
    let seen = site.web.request().await.to_ascii_lowercase();
    for gone in [
        "10.0.0",
        "gopher",
        "evil",
        "for=1",
        "te:",
        "x-mine",
        "keep-alive",
        "proxy-",
    ] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    for there in [
        format!("x-forwarded-for: {VISITOR}\r\n"),
        "x-forwarded-proto: http\r\n".to_owned(),
        format!("x-forwarded-host: {}\r\n", site.name()),
        "cookie: a=b\r\n".to_owned(),
    ] {
        assert_eq!(seen.matches(&there).count(), 1, "{there} in {seen}");
    }
}

pub(crate) async fn bodies_stream_in_both_directions(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let big = bed.get(&site.name(), "/big").await;
    assert_eq!((big.status, big.body.len()), (200, BIG));
    site.web.request().await;
    // The device has the beginning of a body before the visitor has sent its end.
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    let head = format!(
        "POST /count HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        site.name()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 50_000, "u".repeat(50_000));
    for _ in 0..40 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\n2000000"), "{answer}");
    let seen = site.web.request().await;
    assert!(
        seen.to_lowercase()
            .contains("transfer-encoding: chunked\r\n")
    );
    assert!(!seen.to_lowercase().contains("content-length"));
    // A GET may have a body too.
    let get = "GET /count HTTP/1.1\r\nHost: NAME\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
               3\r\nuuu\r\n0\r\n\r\n";
    assert_eq!(send(bed, &site, get).await.body, "3");
}

pub(crate) async fn pages_tell_what_is_wrong(bed: &Bed) {
    let site = Site::new(bed).await;
    let down = bed.session(ForwardKind::Http).await;
    let plain = bed.session(ForwardKind::Tcp).await;
    let closed = bed.session(ForwardKind::Http).await;
    let nobody = 1;
    let _tunnel = WsDevice::hold(bed, &closed, nobody).await;
    let away = bed.session(ForwardKind::Http).await;
    bed.sql(&format!(
        "INSERT INTO nodes (name, public_host, ssh_port, host_key, status, port_first, port_last) \
         VALUES ('away{0}', 'away', 22, '', 'active', 1, 2)",
        away.forward.id.0
    ))
    .await;
    bed.sql(&format!(
        "UPDATE forwards SET node = 'away{0}' WHERE id = {0}",
        away.forward.id.0
    ))
    .await;
    bed.sql(&format!(
        "UPDATE forwards SET http_label = 'plain{:03}' WHERE id = {}",
        plain.forward.id.0 % 1000,
        plain.forward.id.0
    ))
    .await;
    let plain = format!("plain{:03}.u.{DOMAIN}", plain.forward.id.0 % 1000);
    let unknown = format!("zzzzzzzz.u.{DOMAIN}");
    let none = format!("no.such.name.u.{DOMAIN}");
    let site_name = site.name();
    for (host, path, status) in [
        (unknown, "/", 404),
        (none, "/", 404),
        (plain, "/", 404),
        (away.name(), "/", 404),
        (down.name(), "/", 503),
        (closed.name(), "/", 502),
        (site_name.clone(), "/off", 502),
        (site_name.clone(), "/unasked", 502),
    ] {
        let reply = bed.get(&host, path).await;
        assert_eq!(reply.status, status, "{host}{path}: {}", reply.body);
        assert_eq!(
            reply.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert!(reply.body.contains(&status.to_string()), "{}", reply.body);
        assert!(!reply.body.contains(&host), "{}", reply.body);
    }
    // An answer that breaks off has to look broken to the visitor too.
    let request = format!("GET /half HTTP/1.1\r\nHost: {site_name}\r\n\r\n");
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.to_lowercase().contains("content-length: 100\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("half") || answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

pub(crate) async fn what_two_servers_would_read_differently_is_refused(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let other = Site::new(bed).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: NAME\r\nHost: OTHER\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: OTHER\r\nHost: NAME\r\n\r\n", 400),
        ("GET http://OTHER/ HTTP/1.1\r\nHost: NAME\r\n\r\n", 400),
        ("GET http://node.test/ HTTP/1.1\r\nHost: NAME\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: NAME\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: NAME\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.0\r\nHost: NAME\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: NAME\r\nX\r: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : NAME\r\n\r\n", 400),
        ("CONNECT NAME:80 HTTP/1.1\r\nHost: NAME:80\r\n\r\n", 405),
    ] {
        let request = request.replace("OTHER", &other.name());
        let request = request.replace("\r\nHost", "\r\nConnection: close\r\nHost");
        let reply = send(bed, &site, &request).await;
        assert_eq!(reply.status, status, "{request}");
    }
    // Length and chunks at once: only the chunks count, the device is told of them alone, and the connection ends, so
    // that what hides behind the body is nobody's request.
    let both = "POST /count HTTP/1.1\r\nHost: NAME\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n\
                1\r\nu\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: NAME\r\nConnection: close\r\n\r\n";
    let both = both.replace("NAME", &site.name());
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
    assert!(answers.contains("connection: close\r\n"), "{answers}");
    let first = site.web.request().await.to_lowercase();
    assert!(
        first.ends_with("1\r\nu\r\n0\r\n\r\n") && !first.contains("content-length"),
        "{first}"
    );
    assert_eq!(bed.get(&site.name(), "/third").await.status, 200);
    let next = site.web.request().await;
    assert!(next.starts_with("GET /third HTTP/1.1\r\n"), "{next}");
    // HTTP/2 in clear by upgrade would pass by everything here.
    let h2c = "GET /upgrade HTTP/1.1\r\nHost: NAME\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(
        send(bed, &site, &h2c.replace("/upgrade", "/")).await.status,
        200
    );
    let seen = site.web.request().await.to_lowercase();
    assert!(
        !seen.contains("upgrade") && !seen.contains("http2-settings"),
        "{seen}"
    );
}

pub(crate) async fn a_header_block_over_64_kib_is_431(bed: &Bed) {
    let site = Site::new(bed).await;
    for (bytes, status) in [(60_000, 200), (66_000, 431)] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
            site.name(),
            "x".repeat(bytes)
        );
        let mut stream = TcpStream::connect(bed.names).await.unwrap();
        // The answer may come before all of it was sent.
        drop(stream.write_all(request.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        let begin = format!("HTTP/1.1 {status}");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&begin), "{bytes}: {answer}");
    }
}

pub(crate) async fn names_are_served_on_the_api_port_too(bed: &Bed) {
    let site = Site::new(bed).await;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        site.name()
    );
    let reply = http::raw(bed.http, VISITOR, request.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    let request = "GET /healthz HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n";
    let reply = http::raw(bed.http, VISITOR, request.as_bytes()).await;
    assert_ne!(reply.body, "hello");
}

pub(crate) async fn bytes_are_counted(bed: &Bed) {
    let site = Site::new(bed).await;
    assert_eq!(bed.get(&site.name(), "/big").await.body.len(), BIG);
    let counted = timeout(Duration::from_secs(120), async {
        loop {
            let bytes = bed.seen(&site.session).await["bytes"].as_u64().unwrap();
            if bytes > BIG as u64 {
                return bytes;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let counted = counted.await.unwrap();
    assert!(counted < BIG as u64 + 10_000, "{counted}");
}
