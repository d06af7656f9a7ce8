//! A small web server on a device, which shows what it was sent and can misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(120);
/// Length of the body of `/big`.
pub(crate) const BIG: usize = 3_000_000;

pub(crate) struct Web {
    pub(crate) port: u16,
    requests: mpsc::Receiver<String>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, requests) = mpsc::channel(64);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(stream, seen.clone()));
            }
        });
        Self {
            port,
            requests,
            connections,
            _tasks: tasks,
        }
    }

    /// The next request as it came, head and body.
    pub(crate) async fn request(&mut self) -> String {
        timeout(PATIENCE, self.requests.recv())
            .await
            .expect("a request in time")
            .unwrap()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, seen: mpsc::Sender<String>) {
    let mut stream = BufReader::new(stream);
    while let Some((head, body)) = request(&mut stream).await {
        seen.send(format!("{head}{body}")).await.unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let answer = match path.as_str() {
            "/off" => return,
            "/half" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
            "/hop" => {
                "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: 1\r\n\
                 Content-Length: 2\r\n\r\nok"
                    .to_owned()
            }
            "/big" => {
                let chunk = format!("{:x}\r\n{}\r\n", BIG / 3, "b".repeat(BIG / 3));
                format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                    chunk.repeat(3)
                )
            }
            "/count" => plain(&body.matches('u').count().to_string()),
            "/unasked" => {
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n"
                    .to_owned()
            }
            "/upgrade" => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                return echo(stream).await;
            }
            _ => plain("hello"),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || path == "/half" {
            return;
        }
    }
}

fn plain(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Capital letters of what comes, until its end; then a last word.
async fn echo(mut stream: BufReader<TcpStream>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        let answer = bytes[..count].to_ascii_uppercase();
        stream.write_all(&answer).await.unwrap();
    }
    stream.write_all(b"!").await.unwrap();
}

/// Head and body of the next request; a chunked body as it stands on the wire.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| {
        let line = lower.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let mut body = Vec::new();
    if let Some(length) = field("content-length:") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if field("transfer-encoding:").as_deref() == Some("chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            let mut line = Vec::new();
            if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
                return None;
            }
            body.extend_from_slice(&line);
        }
    }
    Some((head, String::from_utf8(body).unwrap()))
}
