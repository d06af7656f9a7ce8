//! One address does not keep the others from the HTTP listener.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::bed::Bed;
use crate::http;

/// Below the time that a silent connection may keep its place.
const PATIENCE: Duration = Duration::from_secs(8);
const GREEDY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 66));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 67));
/// A text message that names no session, behind a mask of zeros.
const WRONG: &[u8] = b"\x81\x82\0\0\0\0{}";

async fn connect(from: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    socket.connect(server).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_one_address_leave_room_for_others() {
    let bed = Bed::configured("[http]\nconnections = 8\n").await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(connect(GREEDY, bed.http).await);
    }
    let asked = http::send(bed.http, OTHER, "GET", "/healthz", None, b"");
    let reply = timeout(PATIENCE, asked).await.expect("an answer");
    assert_eq!(reply.status, 200);
    drop(silent);
    bed.stop().await;
}

/// The code that a WebSocket is closed with that sends `first`.
async fn close_code(from: IpAddr, server: SocketAddr, first: &[u8]) -> u16 {
    let mut socket = greeting(from, server).await;
    socket.write_all(first).await.unwrap();
    let mut frame = [0; 4];
    let closed = timeout(PATIENCE, socket.read_exact(&mut frame)).await;
    closed.expect("an end").unwrap();
    assert_eq!(frame[0], 0x88, "a goodbye");
    u16::from_be_bytes([frame[2], frame[3]])
}

/// A WebSocket that has said nothing yet.
async fn greeting(from: IpAddr, server: SocketAddr) -> TcpStream {
    let mut stream = connect(from, server).await;
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_websockets_of_one_address_leave_room_for_others() {
    const POLICY: u16 = 1008;
    const AGAIN: u16 = 1013;
    let bed = Bed::on_sqlite().await;
    let opened = (0..600).map(|_| greeting(GREEDY, bed.http));
    let silent = futures::future::join_all(opened).await;
    assert_eq!(close_code(GREEDY, bed.http, b"").await, AGAIN);
    assert_eq!(close_code(OTHER, bed.http, WRONG).await, POLICY);
    drop(silent);
    bed.stop().await;
}
