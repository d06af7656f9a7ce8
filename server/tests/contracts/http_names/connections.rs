//! Connections to HTTP names that stay: what they carry, and what ends them (openport contract section 12).

use std::time::Duration;

use moorline_protocol::operator::DeviceState;
use moorline_server::registry::model::ForwardKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http_names::bed::Bed;
use crate::http_names::site::Site;

/// Requests on one connection, one after the other; gives the last status.
async fn requests(stream: &mut TcpStream, name: &str, lines: &[&str]) {
    for line in lines {
        let request = format!("{line} HTTP/1.1\r\nHost: {name}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&bytes[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

pub(crate) async fn upgraded_connections_pass_byte_for_byte(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    let head = format!(
        "GET /upgrade HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\nearly ",
        site.name()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"EARLY ") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(
        answer.starts_with("http/1.1 101") && answer.contains("upgrade: echo\r\n"),
        "{answer}"
    );
    let seen = site.web.request().await;
    assert!(seen.contains("\r\nUpgrade: echo\r\n"), "{seen}");
    let word = "x".repeat(100_000);
    let (mut read, mut write) = stream.into_split();
    let sent = async {
        write.write_all(word.as_bytes()).await.unwrap();
        write
    };
    let mut back = vec![0; word.len()];
    let (_write, read_back) = tokio::join!(sent, read.read_exact(&mut back));
    read_back.unwrap();
    assert_eq!(back, word.to_uppercase().as_bytes());
}

pub(crate) async fn a_visitor_keeps_its_connection_to_the_device(bed: &Bed) {
    let mut site = Site::new(bed).await;
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    let many = ["GET /"; 10];
    requests(&mut stream, &site.name(), &many).await;
    for _ in 0..many.len() {
        site.web.request().await;
    }
    // A connection that is not free yet when the next request comes is no fault, but it is not the rule.
    assert!(site.web.connections() < 5, "{}", site.web.connections());
    // What must not be sent twice goes over a connection that cannot be closing.
    let before = site.web.connections();
    requests(&mut stream, &site.name(), &["POST /", "PUT /", "POST /"]).await;
    assert_eq!(site.web.connections(), before + 3);
    // The device closed its side: the visitor does not notice.
    let off = format!("GET /off HTTP/1.1\r\nHost: {}\r\n\r\n", site.name());
    stream.write_all(off.as_bytes()).await.unwrap();
    let mut page = [0; 4096];
    let count = stream.read(&mut page).await.unwrap();
    assert!(page[..count].starts_with(b"HTTP/1.1 502"));
}

pub(crate) async fn another_visitor_never_gets_that_connection(bed: &Bed) {
    let site = Site::new(bed).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(bed.names).await.unwrap();
        requests(&mut stream, &site.name(), &["GET /"]).await;
        streams.push(stream);
    }
    assert_eq!(site.web.connections(), 4);
}

pub(crate) async fn a_device_that_is_blocked_or_deleted_is_so_at_once(bed: &Bed) {
    let site = Site::new(bed).await;
    let id = site.session.device.id;
    let mut stream = TcpStream::connect(bed.names).await.unwrap();
    requests(&mut stream, &site.name(), &["GET /"]).await;
    // The tunnel is still up, and a connection to the device is there.
    bed.registry
        .set_state(id, DeviceState::Blocked)
        .await
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", site.name());
    for status in ["503", "404"] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = [0; 4096];
        let count = stream.read(&mut page).await.unwrap();
        let page = String::from_utf8_lossy(&page[..count]);
        assert!(page.starts_with(&format!("HTTP/1.1 {status}")), "{page}");
        bed.registry.delete_device(bed.account, id).await.unwrap();
    }
    let session = bed.session(ForwardKind::Http).await;
    bed.registry
        .suspend_account(bed.account, true)
        .await
        .unwrap();
    assert_eq!(bed.get(&session.name(), "/").await.status, 503);
    bed.registry
        .suspend_account(bed.account, false)
        .await
        .unwrap();
}

pub(crate) async fn a_demanded_recording_closes_a_name_and_ends_what_is_open(bed: &Bed) {
    let site = Site::new(bed).await;
    let mut upgraded = TcpStream::connect(bed.names).await.unwrap();
    let mut late = TcpStream::connect(bed.names).await.unwrap();
    let head = format!(
        "GET /upgrade HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        site.name()
    );
    upgraded.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    upgraded.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 101");
    // A connection to the device waits for the visitor's next request.
    let mut visitor = TcpStream::connect(bed.names).await.unwrap();
    requests(&mut visitor, &site.name(), &["GET /"]).await;

    bed.demand(&site.session, true).await;
    let ended = timeout(Duration::from_secs(120), upgraded.read_to_end(&mut answer));
    drop(ended.await.expect("the upgraded connection ends"));
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", site.name());
    visitor.write_all(request.as_bytes()).await.unwrap();
    visitor.read_exact(&mut answer[..12]).await.unwrap();
    assert_eq!(&answer[..12], b"HTTP/1.1 403");
    let refused = bed.get(&site.name(), "/").await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.body.contains("recorded sessions only"),
        "{}",
        refused.body
    );
    late.write_all(head.as_bytes()).await.unwrap();
    late.read_exact(&mut answer[..12]).await.unwrap();
    assert_eq!(&answer[..12], b"HTTP/1.1 403");

    bed.demand(&site.session, false).await;
    for _ in 0..2400 {
        if bed.get(&site.name(), "/").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the name is not served again");
}
