//! The TCP connection under an SSH session: read in large pieces, counted, and killable.
//!
//! russh reads a packet's length and body apart and has no way to end a session whose peer is frozen; both are
//! mended here, below it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes read from the socket at once. Given back while the connection is idle, so that an idle tunnel holds none.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// What others may know of a connection and do to it.
#[derive(Debug)]
pub(super) struct Life {
    started: Instant,
    last_read_micros: AtomicU64,
    killed: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Life {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            last_read_micros: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    /// Since the last byte came in.
    pub(super) fn silent_for(&self) -> Duration {
        let last = Duration::from_micros(self.last_read_micros.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// Ends the connection at once, whatever the peer does.
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    fn note_read(&self) {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_read_micros.store(now, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.killed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    life: Arc<Life>,
    ahead: Vec<u8>,
    taken: usize,
}

impl Socket {
    /// Takes over `stream`.
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Life>) {
        let life = Arc::new(Life::new());
        (
            Self {
                stream,
                life: life.clone(),
                ahead: Vec::new(),
                taken: 0,
            },
            life,
        )
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Poll::Ready(readable) = self.stream.poll_read_ready(cx) else {
                self.ahead = Vec::new();
                return Poll::Pending;
            };
            readable?;
            let mut buffer = std::mem::take(&mut self.ahead);
            buffer.clear();
            buffer.reserve(READ_AHEAD_BYTES);
            match self.stream.try_read_buf(&mut buffer) {
                Ok(_) => {
                    self.ahead = buffer;
                    self.taken = 0;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.life.reader.register(cx.waker());
        self.life.check()?;
        if self.taken >= self.ahead.len() {
            ready!(self.poll_fill(cx))?;
            self.life.note_read();
        }
        let ahead = self.ahead.get(self.taken..).unwrap_or_default();
        let bytes = ahead.len().min(buf.remaining());
        buf.put_slice(ahead.get(..bytes).unwrap_or_default());
        self.taken += bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.life.writer.register(cx.waker());
        self.life.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn small_reads_see_every_byte_and_the_end() {
        let (mut client, server) = pair().await;
        let (mut socket, _life) = Socket::new(server);
        client.write_all(b"four and more").await.unwrap();
        client.shutdown().await.unwrap();
        let mut first = [0; 4];
        socket.read_exact(&mut first).await.unwrap();
        let mut rest = String::new();
        socket.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&first, rest.as_str()), (b"four", " and more"));
    }

    #[tokio::test]
    async fn a_killed_socket_ends_a_read_that_waits() {
        let (_client, server) = pair().await;
        let (mut socket, life) = Socket::new(server);
        let mut byte = [0];
        let (read, ()) = tokio::join!(socket.read(&mut byte), async { life.kill() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
