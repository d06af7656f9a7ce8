//! What visitors do to a public port, and how fast it goes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::service::{REQUEST_BYTES, Wish};

pub(crate) mod bulk;
pub(crate) mod connections;
pub(crate) mod http;
pub(crate) mod latency;
pub(crate) mod reconnect;

/// Longest wait for a connection or for bytes on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A visitor's connection to the service behind `port`.
fn visit(port: u16, wish: Wish) -> Result<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut visitor = TcpStream::connect_timeout(&address, PATIENCE).context("connect")?;
    visitor.set_nodelay(true)?;
    visitor.set_read_timeout(Some(PATIENCE))?;
    visitor.set_write_timeout(Some(PATIENCE))?;
    visitor.write_all(&[wish as u8]).context("speak first")?;
    Ok(visitor)
}

/// One request and its reply.
fn exchange(visitor: &mut TcpStream, number: u64) -> Result<()> {
    let mut request = [0x51; REQUEST_BYTES];
    let mut reply = [0; REQUEST_BYTES];
    let (head, _) = request.split_at_mut(8);
    head.copy_from_slice(&number.to_be_bytes());
    visitor.write_all(&request).context("send a request")?;
    visitor.read_exact(&mut reply).context("wait for a reply")?;
    ensure!(request == reply, "the reply is not what was sent");
    Ok(())
}
