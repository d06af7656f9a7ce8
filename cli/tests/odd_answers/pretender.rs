//! A server that answers as a test wants it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Answers of a pretended server: status line, further headers, body.
pub(crate) type Answer = (&'static str, String, String);

type Script = Arc<Mutex<dyn FnMut(&str) -> Answer + Send>>;

/// A server that answers each request, `METHOD /path?query`, as its script says.
pub(crate) struct Pretender {
    pub(crate) url: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pretender {
    pub(crate) fn start(script: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let script: Script = Arc::new(Mutex::new(script));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                answer(stream.unwrap(), &script);
            }
        });
        Self {
            url,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: TcpStream, script: &Script) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap() <= 2 {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    let call = request.trim_end().trim_end_matches(" HTTP/1.1");
    let (status, headers, body) = (script.lock().unwrap())(call);
    let size = body.len();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {size}\r\n");
    // The program may have heard enough before the end.
    drop(stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()));
}

pub(crate) fn ok(body: impl Into<String>) -> Answer {
    ("200 OK", String::new(), body.into())
}

pub(crate) const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGood";

pub(crate) fn login_answer() -> Answer {
    ok(r#"{"token":"h.p.s","role":"admin","username":"ada","short_id":"ada","expires_in":86400}"#)
}

pub(crate) fn gateway_answer(host: &str, host_key: &str) -> Answer {
    ok(format!(
        r#"{{"host":"{host}","port":2222,"host_key":"{host_key}"}}"#
    ))
}

pub(crate) fn device(name: &str, hostname: &str) -> String {
    format!(
        r#"{{"id":"u-{name}","number":1,"name":"{name}","state":"active","online":false,
        "wanted_open":true,"node":"eu","hostname":"{hostname}","forwards":[],
        "created_at":"2026-11-22T00:00:00Z"}}"#
    )
}

/// A server that logs in, has a gateway, and answers anything else by `script`.
pub(crate) fn server(mut script: impl FnMut(&str) -> Answer + Send + 'static) -> Pretender {
    Pretender::start(move |call| match call {
        "POST /v1/auth/login" => login_answer(),
        "GET /v1/gateway" => gateway_answer("gw.example.com", HOST_KEY),
        _ => script(call),
    })
}
