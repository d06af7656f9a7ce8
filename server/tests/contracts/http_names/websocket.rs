//! Tunnels over WebSocket (openport contract section 11).

use std::time::Duration;

use moorline_server::registry::model::ForwardKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::http;
use crate::http_names::bed::{Bed, Session, VISITOR, token_of};
use crate::http_names::ws_device::{Name, Raw};

const PATIENCE: Duration = Duration::from_secs(120);

async fn visit(session: &Session) -> (TcpStream, Name) {
    let port = session.forward.public_port;
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let own = stream.local_addr().unwrap().port().to_le_bytes();
    (stream, [127, 0, 0, 1, own[0], own[1]])
}

/// What the visitor gets until its connection ends.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    drop(read.expect("an end"));
    bytes
}

async fn data(raw: &mut Raw, name: Name, length: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    while whole.len() < length {
        let (from, operation, data) = raw.next().await;
        assert_eq!((from, operation), (name, 2));
        assert!((1..=4096).contains(&data.len()));
        whole.extend(data);
    }
    whole
}

pub(crate) async fn a_visitor_is_served_through_messages(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    let (mut visitor, name) = visit(&session).await;
    assert_eq!(raw.next().await, (name, 1, vec![]));
    let long = vec![b'v'; 10_000];
    visitor.write_all(&long).await.unwrap();
    assert_eq!(data(&mut raw, name, long.len()).await, long);
    raw.send(name, 2, b"from the device").await;
    raw.send(name, 3, b"").await;
    assert_eq!(rest(&mut visitor).await, b"from the device");
    // And the other way round.
    let (visitor, name) = visit(&session).await;
    assert_eq!(raw.next().await, (name, 1, vec![]));
    visitor.set_zero_linger().unwrap();
    drop(visitor);
    assert_eq!(raw.next().await, (name, 3, vec![]));
}

pub(crate) async fn connections_do_not_mix(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    let mut visitors = Vec::new();
    for index in 0..20_u8 {
        let (visitor, name) = visit(&session).await;
        assert_eq!(raw.next().await, (name, 1, vec![]));
        visitors.push((index, visitor, name));
    }
    for (index, _, name) in &visitors {
        raw.send(*name, 2, &[*index; 100]).await;
    }
    for (index, visitor, name) in &mut visitors {
        let mut bytes = [0; 100];
        visitor.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [*index; 100]);
        visitor.write_all(&[*index; 10]).await.unwrap();
        assert_eq!(data(&mut raw, *name, 10).await, [*index; 10]);
    }
}

pub(crate) async fn wrong_pairs_are_closed_with_1008(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let other = bed.session(ForwardKind::Tcp).await;
    let (port, token) = (session.forward.public_port, token_of(session.forward.id.0));
    for (port, token) in [
        (port, "wrong"),
        (port, ""),
        (other.forward.public_port, token.as_str()),
        (1, token.as_str()),
    ] {
        let mut raw = Raw::greeted(bed.names, port, token).await;
        assert_eq!(raw.closed().await, 1008, "{port} {token}");
    }
    for first in ["", "[]", "{\"Port\":\"x\"}", "hello"] {
        let mut raw = Raw::connect(bed.http).await;
        raw.text(first).await;
        assert_eq!(raw.closed().await, 1008, "{first}");
    }
    let mut raw = Raw::connect(bed.names).await;
    raw.binary(format!("{{\"Port\":{port},\"Token\":\"{token}\"}}").as_bytes())
        .await;
    assert_eq!(raw.closed().await, 1008);
    // The names in any case; and all of it was in vain.
    let mut raw = Raw::connect(bed.http).await;
    raw.text(&format!("{{\"TOKEN\":\"{token}\",\"port\":{port}}}"))
        .await;
    bed.wait_open(&session).await;
    assert_eq!(bed.seen(&other).await["open"], false);
}

pub(crate) async fn a_newer_tunnel_ends_the_older_with_1000(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut older = Raw::hold(bed, &session).await;
    let mut newer = Raw::hold(bed, &session).await;
    assert_eq!(older.closed().await, 1000);
    let (_visitor, name) = visit(&session).await;
    assert_eq!(newer.next().await, (name, 1, vec![]));
}

pub(crate) async fn what_makes_no_sense_is_ignored(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    let (mut visitor, name) = visit(&session).await;
    assert_eq!(raw.next().await, (name, 1, vec![]));
    let stranger = [10, 0, 0, 1, 1, 1];
    raw.binary(b"").await;
    raw.binary(&name).await;
    raw.send(name, 0, b"x").await;
    raw.send(name, 1, b"x").await;
    raw.send(name, 2, b"").await;
    raw.send(name, 9, b"x").await;
    raw.send(stranger, 2, b"x").await;
    raw.send(stranger, 3, b"").await;
    raw.text("text").await;
    raw.send(name, 2, b"after all that").await;
    raw.send(name, 3, b"").await;
    assert_eq!(rest(&mut visitor).await, b"after all that");
}

pub(crate) async fn a_stalled_visitor_does_not_stop_the_others(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    // It reads nothing, and its own buffers are small.
    let stalled = TcpSocket::new_v4().unwrap();
    stalled.set_recv_buffer_size(4096).unwrap();
    let port = session.forward.public_port;
    let stalled = stalled
        .connect(([127, 0, 0, 1], port).into())
        .await
        .unwrap();
    let (stalled_name, _, _) = raw.next().await;
    let (mut visitor, name) = visit(&session).await;
    assert_eq!(raw.next().await, (name, 1, vec![]));
    // A megabyte lies in its backlog, and the other one is served meanwhile.
    for _ in 0..256 {
        raw.send(stalled_name, 2, &[0; 4096]).await;
    }
    raw.send(name, 2, b"alive").await;
    let mut bytes = [0; 5];
    timeout(PATIENCE, visitor.read_exact(&mut bytes))
        .await
        .expect("the other visitor is not held up")
        .unwrap();
    // Nor was that one cut off for it.
    visitor.write_all(b"more").await.unwrap();
    assert_eq!(data(&mut raw, name, 4).await, b"more");
    // With far more it holds up the WebSocket, until it is cut off and the others go on.
    let flood = async {
        for _ in 0..4000 {
            raw.send(stalled_name, 2, &[0; 4096]).await;
        }
        raw.send(name, 2, b"still").await;
        loop {
            let (from, operation, _) = raw.next().await;
            if (from, operation) == (stalled_name, 3) {
                return;
            }
        }
    };
    let ((), read) = tokio::join!(flood, visitor.read_exact(&mut bytes));
    read.unwrap();
    assert_eq!(&bytes, b"still");
    drop(stalled);
}

pub(crate) async fn a_session_for_http_has_no_public_port(bed: &Bed) {
    let session = bed.session(ForwardKind::Http).await;
    let _raw = Raw::hold(bed, &session).await;
    let port = session.forward.public_port;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

pub(crate) async fn a_demanded_recording_cuts_visitors_and_keeps_the_tunnel(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    let (mut visitor, name) = visit(&session).await;
    assert_eq!(raw.next().await, (name, 1, vec![]));
    bed.demand(&session, true).await;
    assert_eq!(rest(&mut visitor).await, b"");
    assert_eq!(raw.next().await, (name, 3, vec![]));
    let (mut refused, _) = visit(&session).await;
    assert_eq!(rest(&mut refused).await, b"");
    // The tunnel was there all the time: what comes next on it is the next visitor.
    bed.demand(&session, false).await;
    for _ in 0..600 {
        let (mut visitor, name) = visit(&session).await;
        let mut byte = [0];
        let refused = timeout(Duration::from_millis(200), visitor.read(&mut byte)).await;
        if refused.is_err() {
            assert_eq!(raw.next().await, (name, 1, vec![]));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("visitors are not let in again");
}

pub(crate) async fn a_device_that_is_blocked_is_cut_off_and_refused(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    let path = format!("/v1/admin/devices/{}", session.device.id);
    let blocked = bed.operate("PATCH", &path, r#"{"state":"blocked"}"#).await;
    assert_eq!(blocked.status, 200, "{}", blocked.body);
    assert_eq!(raw.closed().await, 1008);
    let (port, token) = (session.forward.public_port, token_of(session.forward.id.0));
    let mut again = Raw::greeted(bed.names, port, &token).await;
    assert_eq!(again.closed().await, 1008);
    let active = bed.operate("PATCH", &path, r#"{"state":"active"}"#).await;
    assert_eq!(active.status, 200);
    let killed = format!(
        "UPDATE forwards SET killed = 1 WHERE id = {}",
        session.forward.id.0
    );
    bed.sql(&killed).await;
    let mut again = Raw::greeted(bed.names, port, &token).await;
    assert_eq!(again.closed().await, 1008);
}

pub(crate) async fn half_closed_visitors_are_still_answered(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let mut raw = Raw::hold(bed, &session).await;
    let (mut visitor, name) = visit(&session).await;
    assert_eq!(raw.next().await, (name, 1, vec![]));
    visitor.write_all(b"question").await.unwrap();
    visitor.shutdown().await.unwrap();
    assert_eq!(data(&mut raw, name, 8).await, b"question");
    tokio::time::sleep(Duration::from_secs(1)).await;
    raw.send(name, 2, b"answer").await;
    // Nothing more comes, so the server gives up at some time.
    assert_eq!(raw.next().await, (name, 3, vec![]));
    assert_eq!(rest(&mut visitor).await, b"answer");
}

/// While the public port is taken by somebody else the server tries again and again to listen, and has decided already
/// that the session may be up.
pub(crate) async fn a_session_that_is_killed_while_its_port_opens_stays_down(bed: &Bed) {
    let session = bed.session(ForwardKind::Tcp).await;
    let (forward, token) = (&session.forward, token_of(session.forward.id.0));
    let taken = TcpListener::bind(("127.0.0.1", forward.public_port)).await;
    let taken = taken.unwrap();
    let mut raw = Raw::greeted(bed.names, forward.public_port, &token).await;
    bed.wait_connected(&session).await;
    let body = format!("port={}&session_token={token}", forward.public_port);
    let kind = Some("application/x-www-form-urlencoded");
    let path = "/api/v1/kill-session";
    let killed = http::send(bed.http, VISITOR, "POST", path, kind, body.as_bytes()).await;
    assert_eq!(killed.body, r#"{"status":"ok"}"#);
    drop(taken);
    assert_eq!(raw.closed().await, 1008);
}
