//! Tells SSH from everything else by the first bytes of a connection, on ports that carry both.
//!
//! An SSH client says `SSH-` at once, or waits for the server to speak first (RFC 4253 section 4.2 allows both). A TLS
//! client and an HTTP client always speak first. So who is silent wants SSH.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a client may be silent before it is taken for one of SSH. What others send first comes right behind the
/// connection itself, in the same round trip.
const PATIENCE: Duration = Duration::from_millis(300);
/// Pause between two looks at a text that is not whole yet; the socket counts as readable all the time.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Begin of an SSH client's version text.
const SSH: &[u8] = b"SSH-";

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// SSH.
    Ssh,
    /// TLS or HTTP, whatever the port has.
    Other,
}

/// Looks at the first bytes of `stream` and leaves them there.
pub(super) async fn look(stream: &TcpStream) -> io::Result<Carries> {
    let deadline = Instant::now() + PATIENCE;
    let mut first = [0; SSH.len()];
    loop {
        let Ok(seen) = timeout_at(deadline, stream.peek(&mut first)).await else {
            return Ok(Carries::Ssh);
        };
        let seen = first.get(..seen?).unwrap_or_default();
        match judge(seen) {
            Some(carries) => return Ok(carries),
            None if Instant::now() >= deadline => return Ok(Carries::Ssh),
            None => sleep(LOOK_AGAIN).await,
        }
    }
}

/// What `first` is the begin of; `None` while it may be either. Nothing at all is the end of a connection.
fn judge(first: &[u8]) -> Option<Carries> {
    if first.starts_with(SSH) {
        Some(Carries::Ssh)
    } else if !first.is_empty() && SSH.starts_with(first) {
        None
    } else {
        Some(Carries::Other)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_few_bytes_are_enough() {
        assert_eq!(judge(b"SSH-2.0-OpenSSH_9.2"), Some(Carries::Ssh));
        assert_eq!(judge(b"SS"), None);
        for first in [
            &b"\x16\x03\x01"[..],
            b"GET /",
            b"SEARCH /",
            b"PRI * HTTP/2.0",
            b"",
        ] {
            assert_eq!(judge(first), Some(Carries::Other), "{first:?}");
        }
    }

    async fn looked_at(sent: &[&[u8]]) -> Carries {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in sent {
                client.write_all(piece).await.unwrap();
                sleep(LOOK_AGAIN * 2).await;
            }
        };
        let (carries, ()) = tokio::join!(look(&server), send);
        carries.unwrap()
    }

    #[tokio::test]
    async fn silent_and_slow_clients_are_told_apart() {
        assert_eq!(looked_at(&[]).await, Carries::Ssh);
        assert_eq!(looked_at(&[b"S", b"SH", b"-2.0"]).await, Carries::Ssh);
        assert_eq!(looked_at(&[b"S", b"EARCH /"]).await, Carries::Other);
        assert_eq!(looked_at(&[b"\x16"]).await, Carries::Other);
    }
}
