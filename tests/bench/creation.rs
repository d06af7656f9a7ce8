use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{ServerOptions, TestServer};

/// Connections that call one after another.
const CONNECTIONS: usize = 32;
/// Length of one measurement.
const CALL_TIME: Duration = Duration::from_secs(2);
/// Every device takes a public port for good, so the calls are bounded by them.
const PORTS: u16 = 16_000;

/// Devices made a second over kept-alive HTTP connections, each durable before it is answered.
pub(crate) fn per_second() -> f64 {
    let server = TestServer::start_with(ServerOptions {
        ports: PORTS,
        ..ServerOptions::default()
    });
    let key = server.full_key("bench");
    let address = server.url().trim_start_matches("http://").to_owned();
    let made = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| call(&address, &key, started + CALL_TIME, &made));
        }
    });
    made.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

fn call(address: &str, key: &str, end: Instant, made: &AtomicU64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let request = format!(
        "GET /init/api/create_new_client?api_key={key}&prefix=b HTTP/1.1\r\nHost: {address}\r\n\r\n"
    );
    while Instant::now() < end {
        stream.write_all(request.as_bytes()).unwrap();
        if !answer(&mut reader).contains("\"error_code\":0,") {
            // The ports are used up.
            return;
        }
        made.fetch_add(1, Ordering::Relaxed);
    }
}

fn answer(reader: &mut BufReader<TcpStream>) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}
