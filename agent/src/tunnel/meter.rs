//! Counts what goes over a socket and notes when something last came in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Bytes since the agent started. A mutex, not atomics: 32-bit MIPS has none of 64 bits.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Reading>>);

/// What a meter shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// When bytes last came in.
    pub last_heard: Option<Instant>,
}

impl Meter {
    /// What it shows now.
    #[must_use]
    pub fn read(&self) -> Reading {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self, bytes: usize) {
        let mut reading = self.lock();
        reading.received += bytes as u64;
        reading.last_heard = Some(Instant::now());
    }

    fn sent(&self, bytes: usize) {
        self.lock().sent += bytes as u64;
    }
}

/// A stream with a meter on it.
#[derive(Debug)]
pub(super) struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(super) const fn new(inner: S, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.meter.received(read);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = result {
            self.meter.sent(written);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn both_directions_are_counted() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::default();
        let mut near = Metered::new(near, meter.clone());
        near.write_all(b"four").await.unwrap();
        far.write_all(b"sixsix").await.unwrap();
        let mut buffer = [0; 6];
        near.read_exact(&mut buffer).await.unwrap();
        let reading = meter.read();
        assert_eq!((reading.sent, reading.received), (4, 6));
        assert!(reading.last_heard.is_some());
    }
}
