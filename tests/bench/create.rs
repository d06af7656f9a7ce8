//! `create_new_client` as a factory line calls it: many at once, connections kept alive, a public key each.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::{ServerOptions, TestServer};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;

/// Calls in flight.
pub(crate) const IN_FLIGHT: usize = 64;
/// Longest answer to one call.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Longest body that is read, in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// A device as the server answered it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Created {
    /// UUID.
    pub(crate) client_id: String,
    /// Public port.
    pub(crate) port: u16,
}

/// What creating many devices came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Answered calls a second.
    pub(crate) per_second: f64,
    /// Answered calls.
    pub(crate) answered: usize,
    /// Those that a server which was killed with -9 right after still knew.
    pub(crate) survived: usize,
}

/// Creates `count` devices on a fresh server, kills it with -9, and counts what it remembers.
pub(crate) fn rate(count: u16) -> Result<Rate> {
    let mut server = TestServer::start_with(ServerOptions {
        ports: count,
        ..ServerOptions::default()
    });
    let api_key = server.full_key("factory");
    let public_keys = (0..count)
        .map(|_| public_key())
        .collect::<Result<VecDeque<_>>>()?;
    let start = Instant::now();
    let created = create(&server, &api_key, public_keys)?;
    let took = start.elapsed();
    server.kill();
    server.launch();
    let known: HashSet<String> = server
        .api(&api_key)
        .devices()
        .iter()
        .filter_map(|device| Some(device.get("client_id")?.as_str()?.to_owned()))
        .collect();
    let survived = created
        .iter()
        .filter(|(_, device)| known.contains(&device.client_id))
        .count();
    Ok(Rate {
        per_second: created.len() as f64 / took.as_secs_f64(),
        answered: created.len(),
        survived,
    })
}

fn public_key() -> Result<String> {
    Ok(crate::idle::device_key()?.public_key().to_openssh()?)
}

/// Makes a device for each of `public_keys`, [`IN_FLIGHT`] calls at once. The answers come in no order, each with its
/// key.
pub(crate) fn create(
    server: &TestServer,
    api_key: &str,
    public_keys: VecDeque<String>,
) -> Result<Vec<(String, Created)>> {
    let address = server
        .url()
        .strip_prefix("http://")
        .context("the server's URL is not plain HTTP")?
        .to_owned();
    let waiting = Arc::new(Mutex::new(public_keys));
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let mut lines = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            lines.spawn(line(address.clone(), api_key.to_owned(), waiting.clone()));
        }
        let mut created = Vec::new();
        while let Some(made) = lines.join_next().await {
            created.extend(made??);
        }
        Ok(created)
    })
}

/// One connection that is kept alive.
async fn line(
    address: String,
    api_key: String,
    waiting: Arc<Mutex<VecDeque<String>>>,
) -> Result<Vec<(String, Created)>> {
    let stream = TcpStream::connect(&address).await.context("connect")?;
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    let mut created = Vec::new();
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(public_key) = next else {
            return Ok(created);
        };
        let body = format!(
            "api_key={api_key}&prefix=bench&public_key={}",
            encoded(&public_key)
        );
        let answered = tokio::time::timeout(ANSWER_LIMIT, call(&mut stream, &address, &body));
        let answer = answered.await.context("create_new_client")??;
        let device = serde_json::from_slice(&answer)
            .with_context(|| String::from_utf8_lossy(&answer).into_owned())?;
        created.push((public_key, device));
    }
}

async fn call(stream: &mut BufStream<TcpStream>, host: &str, body: &str) -> Result<Vec<u8>> {
    let request = format!(
        "POST /init/api/create_new_client HTTP/1.1\r\nHost: {host}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            bail!("the server closed the connection");
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    let length = length.context("an answer without a length")?;
    ensure!(length <= MOST_BYTES, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// As a form holds it; what occurs in a public key and needs it.
fn encoded(text: &str) -> String {
    text.replace('%', "%25")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
        .replace(' ', "%20")
}
