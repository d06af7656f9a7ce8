//! From a host name to a connected TCP socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Time for a name look-up; resolvers try several servers for some seconds each.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a TCP connection to one of the addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Head start of each address over the next one (RFC 8305 section 8 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Unacknowledged data after which the kernel gives a connection up, in milliseconds. Later than the keepalive's
/// own verdict: this one only makes sure that nothing is kept for the kernel's usual quarter of an hour.
const USER_TIMEOUT_MILLIS: u32 = 60_000;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("look up {host}: {reason}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// None of its addresses answered.
    #[error("connect to {host} port {port}: {reason}")]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What the system said about the last address.
        reason: String,
    },
}

/// Looks up `host`.
///
/// # Errors
/// [`DialError::Lookup`].
pub async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |reason: String| DialError::Lookup {
        host: host.to_owned(),
        reason,
    };
    let found = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| failed("no answer in time".into()))?
        .map_err(|error| failed(error.to_string()))?;
    let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(failed("no address".into()));
    }
    Ok(addresses)
}

/// Connects to the first address of `host` that answers; each gets a head start over the next.
///
/// # Errors
/// [`DialError`].
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let mut attempts = JoinSet::new();
    for (place, address) in (0_u32..).zip(lookup(host, port).await?) {
        attempts.spawn(async move {
            sleep(HEAD_START * place).await;
            let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
    }
    let mut reason = String::from("no address");
    while let Some(joined) = attempts.join_next().await {
        match joined {
            Ok(Ok(socket)) => {
                prepare(&socket);
                return Ok(socket);
            }
            Ok(Err(error)) => reason = error.to_string(),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(DialError::Connect {
        host: host.to_owned(),
        port,
        reason,
    })
}

/// Options that help but are not needed: an old kernel may lack them.
fn prepare(socket: &TcpStream) {
    socket.set_nodelay(true).unwrap_or_default();
    setsockopt(
        &socket.as_fd(),
        sockopt::TcpUserTimeout,
        &USER_TIMEOUT_MILLIS,
    )
    .unwrap_or_default();
}

/// Ends a connection at once, whoever else holds the socket.
#[derive(Debug)]
pub(super) struct Cutter(OwnedFd);

impl Cutter {
    pub(super) fn of(socket: &TcpStream) -> io::Result<Self> {
        socket.as_fd().try_clone_to_owned().map(Self)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        use std::os::fd::AsRawFd as _;
        shutdown(self.0.as_raw_fd(), Shutdown::Both).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_and_a_name_without_address_are_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        dial("127.0.0.1", port).await.unwrap();
        drop(listener);
        let closed = dial("127.0.0.1", port).await.unwrap_err();
        assert!(matches!(closed, DialError::Connect { .. }), "{closed}");
        let nameless = dial("name.invalid", port).await.unwrap_err();
        assert!(matches!(nameless, DialError::Lookup { .. }), "{nameless}");
    }
}
