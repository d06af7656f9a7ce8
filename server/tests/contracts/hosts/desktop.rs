//! The desktop of a host in the browser.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use moorline_server::registry::model::Role;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::hosts::line::Line;
use crate::hosts::place::{Made, device_host, ended, make, start};
use crate::http::{self, Reply};
use crate::world::{World, person};

const PORT: u16 = 6080;
const PATIENCE: Duration = Duration::from_secs(120);

/// A web server as a desktop has it, for both databases' stories: it answers with the head of the request, and after an
/// upgrade with what it is sent, backwards. On some paths it misbehaves.
pub(crate) fn desktop() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let listener = TcpListener::bind(("127.0.0.1", PORT)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
    });
}

fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    if head.to_lowercase().contains("upgrade: websocket") {
        let switched =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(switched.as_bytes()).unwrap();
        let mut four = [0; 4];
        stream.read_exact(&mut four).unwrap();
        four.reverse();
        stream.write_all(&four).unwrap();
        return;
    }
    let misbehaviour = match head.split(' ').nth(1).unwrap() {
        "/garbage" => Some("220 mail.example.org ESMTP\r\n\r\n".to_owned()),
        "/silent" => Some(String::new()),
        "/huge" => Some(format!("HTTP/1.1 200 OK\r\nX-Huge: {}\r\n\r\n", "x".repeat(128 * 1024))),
        "/unasked" => Some("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n".to_owned()),
        "/away" => Some("HTTP/1.1 302 Found\r\nLocation: //h:8080/v1/user/hosts\r\nNEL: {}\r\nContent-Length: 0\r\n\r\n".to_owned()),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            // Until the other side has enough.
            stream.read_exact(&mut byte).ok();
            return;
        }
        "/flood" => {
            let begin = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
            stream.write_all(begin.as_bytes()).unwrap();
            while stream.write_all(&[b'x'; 64]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
            return;
        }
        _ => None,
    };
    if let Some(answer) = misbehaviour {
        // The other side may have seen enough before its end.
        stream.write_all(answer.as_bytes()).ok();
        return;
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: admin_token=evil\r\n\
         Set-Cookie: own=1\r\nClear-Site-Data: \"*\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}",
        head.len()
    );
    stream.write_all(answer.as_bytes()).unwrap();
}

/// Sends a request with these header lines.
pub(crate) async fn ask(world: &World<'_>, target: &str, lines: &str, body: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: h:8080\r\n{lines}\r\n{body}");
    http::raw(world.bed.http, world.bed.from, request.as_bytes()).await
}

/// A request whose answer has begun with that status.
pub(crate) async fn begun(
    world: &World<'_>,
    target: &str,
    lines: &str,
    status: u16,
) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(world.bed.from, 0)).unwrap();
    let mut stream = socket.connect(world.bed.http).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: h:8080\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(begin, format!("HTTP/1.1 {status}").as_bytes());
    stream
}

pub(crate) fn plain(reply: &Reply, status: u16, words: &str) {
    assert_eq!((reply.status, reply.body.trim_end()), (status, words));
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

fn path(role: &str, host: &Made) -> String {
    format!("/v1/{role}/hosts/{}/vnc/vnc.html", host.id)
}

pub(crate) async fn every_request_is_guarded(world: &World<'_>) {
    let container = make(world, json!({})).await;
    let (_, device) = device_host(world).await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
    let admin = bearer(&world.admin.token);
    let other = person(world.bed, world.bed.account, Role::User).await;
    for host in [&container, &device] {
        for role in ["admin", "user"] {
            let target = path(role, host);
            let reply = ask(world, &target, "Connection: close\r\n", "").await;
            plain(&reply, 401, "missing or invalid authorization header");
            let reply = ask(world, &target, &bearer("garbage"), "").await;
            plain(&reply, 401, "invalid token");
            let reply = ask(world, &target, &bearer(&world.stranger.token), "").await;
            plain(&reply, 404, "host not found");
        }
        let reply = ask(world, &path("admin", host), &bearer(&world.user.token), "").await;
        plain(&reply, 403, "insufficient permissions");
        let reply = ask(world, &path("user", host), &bearer(&other.token), "").await;
        plain(&reply, 403, "forbidden");
    }
    plain(
        &ask(world, &path("admin", &container), &admin, "").await,
        409,
        "host is not running",
    );
    plain(
        &ask(world, &path("admin", &device), &admin, "").await,
        409,
        "host has no VNC",
    );
    let nobody = "/v1/admin/hosts/x/vnc/vnc.html";
    plain(&ask(world, nobody, &admin, "").await, 404, "host not found");
}

/// A host of the user with a desktop, whose tunnel is up.
pub(crate) async fn running(world: &World<'_>) -> (Line, Made) {
    desktop();
    let device = world.bed.device(&[("fwport", &PORT.to_string())]).await;
    let host = make(world, json!({ "device_id": device })).await;
    ended(world, &host.task).await;
    let line = Line::of(world, &device).await;
    line.up().await;
    start(world, &host).await;
    (line, host)
}

pub(crate) async fn pages_and_websockets_come_through_the_tunnel(world: &World<'_>) {
    desktop();
    let port = PORT.to_string();
    let device = world.bed.device(&[("fwport", &port)]).await;
    let host = make(world, json!({ "device_id": device })).await;
    ended(world, &host.task).await;
    let token = &world.user.token;
    let first = format!(
        "{}?autoconnect=true&token={token}&resize=remote",
        path("user", &host)
    );
    let close = "Connection: close\r\n";
    plain(
        &ask(world, &first, close, "").await,
        409,
        "host is not running",
    );
    let line = Line::of(world, &device).await;
    line.up().await;
    start(world, &host).await;

    // The first request brings the token, and gets the cookie for later ones.
    let lines = format!(
        "Connection: close\r\nCookie: own=1; admin_token=old\r\nX-Own: yes\r\n\
         Referer: http://h:8080{first}\r\n"
    );
    let reply = ask(world, &first, &lines, "").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let seen = reply.body.to_lowercase();
    assert!(
        seen.starts_with("get /vnc.html?autoconnect=true&resize=remote http/1.1\r\n"),
        "{seen}"
    );
    assert!(
        seen.contains("x-own: yes") && seen.contains("cookie: own=1\r\n"),
        "{seen}"
    );
    assert!(!seen.contains("token"), "{seen}");
    let cookies: Vec<&str> = reply
        .head
        .lines()
        .filter(|line| line.to_lowercase().starts_with("set-cookie:"))
        .collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies.iter().any(|cookie| cookie.contains("own=1")));
    assert!(
        cookies
            .iter()
            .any(|cookie| cookie.contains(&format!("admin_token={token};")))
    );
    assert_eq!(reply.header("clear-site-data"), None);
    assert_eq!(reply.header("referrer-policy"), Some("same-origin"));

    let cookie = format!("Connection: close\r\nCookie: admin_token={token}\r\n");
    let reply = ask(world, &path("user", &host), &cookie, "").await;
    assert_eq!(reply.status, 200);
    assert!(
        !reply.body.to_lowercase().contains("cookie"),
        "{}",
        reply.body
    );

    let upgrade = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\
         Sec-WebSocket-Version: 13\r\nCookie: admin_token={token}\r\n"
    );
    let target = format!("/v1/user/hosts/{}/vnc/websockify", host.id);
    let reply = ask(world, &target, &upgrade, "ping").await;
    assert_eq!((reply.status, reply.body.as_str()), (101, "gnip"));

    // The pages of another origin have no use of our cookie, even where a browser sends it along.
    for (origin, status) in [("http://h:8080", 200), ("http://pi.u.h:8080", 401)] {
        let lines = format!("Origin: {origin}\r\n{cookie}");
        let reply = ask(world, &path("user", &host), &lines, "").await;
        assert_eq!(reply.status, status, "{origin}: {}", reply.body);
    }

    // One that lasts ends with what it hangs on.
    let flood = format!("/v1/user/hosts/{}/vnc/flood", host.id);
    let rotate = format!("{}/rotate-ssh-password", host.path());
    for (target, lines, status) in [(&target, &upgrade, 101), (&flood, &cookie, 200)] {
        let mut stream = begun(world, target, lines, status).await;
        assert_eq!(world.post(&rotate, Value::Null).await.status, 200);
        let mut rest = Vec::new();
        // However it is cut: the whole would come for half an hour.
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{target}");
    }

    // A recording that is demanded closes it and ends what is open.
    let demand = async |required: bool| {
        let policy = json!({ "recording_required": required });
        assert_eq!(world.patch(&host.path(), policy).await.status, 200);
    };
    let mut open = begun(world, &target, &upgrade, 101).await;
    demand(true).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, open.read_to_end(&mut rest)).await;
    drop(ended.expect("the connection ends"));
    begun(world, &target, &upgrade, 403).await;
    let refused = ask(world, &path("user", &host), &cookie, "").await;
    plain(&refused, 403, "recording is required for this host");
    demand(false).await;
    let reply = ask(world, &path("user", &host), &cookie, "").await;
    assert_eq!(reply.status, 200);

    line.down().await;
    let gone = ask(world, &path("user", &host), &cookie, "").await;
    plain(&gone, 503, "cannot reach container");
    assert_eq!(
        world.get("/v1/admin/tasks").await.json()["tasks"][0]["host_id"],
        Value::from(host.id)
    );
}
