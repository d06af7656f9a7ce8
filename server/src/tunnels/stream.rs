//! [`Stream`]: bytes to and from a port of a device, whatever carries them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard, PollSender};

/// Chunks that a direction holds at most. Bytes are limited apart; this keeps a flood of tiny chunks small.
const QUEUE_CHUNKS: usize = 1024;

/// A byte stream to a device. Ends with the tunnel that carries it; dropping it closes it.
///
/// Two ways to use it: whole chunks ([`StreamReader::next`], [`StreamWriter::send`]), which is the fast one, or
/// `AsyncRead` and `AsyncWrite`. An end of input in one direction leaves the other open.
#[derive(Debug)]
pub struct Stream {
    /// What the device sends.
    pub reader: StreamReader,
    /// What goes to the device.
    pub writer: StreamWriter,
    end: StreamEnd,
}

/// Ends a [`Stream`] from outside.
#[derive(Clone, Debug)]
pub(super) struct StreamEnd {
    cut: CancellationToken,
    dropped: CancellationToken,
}

impl StreamEnd {
    /// Ends the stream; false when it was over already.
    pub(super) fn cut(&self) -> bool {
        let goes_on = !self.is_over();
        self.cut.cancel();
        goes_on
    }

    pub(super) fn is_over(&self) -> bool {
        self.dropped.is_cancelled()
    }
}

impl Stream {
    pub(super) fn end(&self) -> StreamEnd {
        self.end.clone()
    }
}

/// The carrier's ends of a [`Stream`].
#[derive(Debug)]
pub(crate) struct StreamCarrier {
    /// Takes what the device sent.
    pub(crate) inbound: Inbound,
    /// Gives what shall go to the device; `None` is the end of input.
    pub(crate) outbound: mpsc::Receiver<Bytes>,
    /// Counts what the reader took, so that the carrier can grant more.
    pub(crate) consumed: Arc<Consumed>,
    /// Cancelled when the stream was dropped.
    pub(crate) dropped: CancellationToken,
    /// Cancelled when the stream may not go on: nothing more is carried, whatever waits.
    pub(crate) cut: CancellationToken,
}

/// Makes a stream whose reader holds at most `backlog_bytes` that nobody took yet.
pub(crate) fn stream(backlog_bytes: usize) -> (Stream, StreamCarrier) {
    let (inbound_sender, inbound_receiver) = mpsc::channel(QUEUE_CHUNKS);
    let (outbound_sender, outbound) = mpsc::channel(OUTBOUND_CHUNKS);
    let consumed = Arc::new(Consumed::default());
    let room = Arc::new(Semaphore::new(backlog_bytes));
    let dropped = CancellationToken::new();
    let cut = CancellationToken::new();
    let end = StreamEnd {
        cut: cut.clone(),
        dropped: dropped.clone(),
    };
    let guard = Arc::new(dropped.clone().drop_guard());
    let reader = StreamReader {
        chunks: inbound_receiver,
        room: room.clone(),
        consumed: consumed.clone(),
        backlog_bytes,
        rest: Bytes::new(),
        _guard: guard.clone(),
    };
    let writer = StreamWriter {
        chunks: PollSender::new(outbound_sender),
        _guard: guard,
    };
    let inbound = Inbound {
        chunks: inbound_sender,
        room,
        backlog_bytes,
    };
    (
        Stream {
            reader,
            writer,
            end,
        },
        StreamCarrier {
            inbound,
            outbound,
            consumed,
            dropped,
            cut,
        },
    )
}

/// Chunks on their way to the device that the carrier has not taken yet; at 32 KiB each it is 256 KiB.
const OUTBOUND_CHUNKS: usize = 8;

/// Bytes that the reader took since the carrier last looked.
#[derive(Debug, Default)]
pub(crate) struct Consumed {
    bytes: AtomicUsize,
    changed: Notify,
}

impl Consumed {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Waits until the reader took something and tells how much.
    pub(crate) async fn take(&self) -> usize {
        loop {
            let bytes = self.bytes.swap(0, Ordering::Relaxed);
            if bytes > 0 {
                return bytes;
            }
            self.changed.notified().await;
        }
    }
}

/// Takes what the device sent, up to a number of bytes nobody read yet.
#[derive(Debug)]
pub(crate) struct Inbound {
    chunks: mpsc::Sender<Bytes>,
    room: Arc<Semaphore>,
    backlog_bytes: usize,
}

impl Inbound {
    /// Hands `chunk` to the reader; waits while the backlog is full. False when the reader is gone.
    pub(crate) async fn push(&self, chunk: Bytes) -> bool {
        let bytes = chunk.len().min(self.backlog_bytes);
        let Ok(permits) = self
            .room
            .acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX))
            .await
        else {
            return false;
        };
        permits.forget();
        self.chunks.send(chunk).await.is_ok()
    }

    /// Whether a chunk of `bytes` fits without waiting.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.room.available_permits() >= bytes.min(self.backlog_bytes) && self.chunks.capacity() > 0
    }
}

/// What the device sends.
#[derive(Debug)]
pub struct StreamReader {
    chunks: mpsc::Receiver<Bytes>,
    room: Arc<Semaphore>,
    consumed: Arc<Consumed>,
    backlog_bytes: usize,
    rest: Bytes,
    _guard: Arc<DropGuard>,
}

impl StreamReader {
    /// The next chunk, as the device sent it; `None` is the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        if self.rest.has_remaining() {
            return Some(std::mem::take(&mut self.rest));
        }
        let chunk = self.chunks.recv().await?;
        self.took(chunk.len());
        Some(chunk)
    }

    fn took(&self, bytes: usize) {
        self.room.add_permits(bytes.min(self.backlog_bytes));
        self.consumed.add(bytes);
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.room.close();
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.has_remaining() {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(chunk) => {
                    self.took(chunk.len());
                    self.rest = chunk;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let bytes = self.rest.len().min(buf.remaining());
        let chunk = self.rest.split_to(bytes);
        buf.put_slice(&chunk);
        Poll::Ready(Ok(()))
    }
}

/// What goes to the device.
#[derive(Debug)]
pub struct StreamWriter {
    chunks: PollSender<Bytes>,
    _guard: Arc<DropGuard>,
}

impl StreamWriter {
    /// Sends `chunk`; waits while the device or the link is slower.
    ///
    /// # Errors
    /// `BrokenPipe` when the stream has ended.
    pub async fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        let Some(sender) = self.chunks.get_ref() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        sender
            .send(chunk)
            .await
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until the stream has ended at the device or with its tunnel.
    pub async fn closed(&self) {
        if let Some(sender) = self.chunks.get_ref() {
            sender.closed().await;
        }
    }

    /// Ends this direction; the other stays open.
    pub fn finish(&mut self) {
        self.chunks.close();
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let broken = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.chunks.poll_reserve(cx)).map_err(broken)?;
        self.chunks
            .send_item(Bytes::copy_from_slice(buf))
            .map_err(broken)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_stops_holds_the_backlog_and_no_more() {
        let (stream, carrier) = stream(10);
        assert!(carrier.inbound.push(Bytes::from_static(b"12345678")).await);
        assert!(!carrier.inbound.has_room_for(8));
        let more = carrier.inbound.push(Bytes::from_static(b"abcdefgh"));
        assert!(timeout(Duration::from_millis(20), more).await.is_err());
        let mut reader = stream.reader;
        assert_eq!(reader.next().await.as_deref(), Some(&b"12345678"[..]));
        assert!(carrier.inbound.has_room_for(8));
    }

    #[tokio::test]
    async fn a_half_closed_stream_still_reads() {
        let (mut stream, mut carrier) = stream(1024);
        stream.writer.finish();
        assert_eq!(carrier.outbound.recv().await, None);
        assert!(carrier.inbound.push(Bytes::from_static(b"late")).await);
        assert_eq!(stream.reader.next().await.as_deref(), Some(&b"late"[..]));
        assert!(!carrier.dropped.is_cancelled());
        drop(stream);
        assert!(carrier.dropped.is_cancelled());
        assert!(!carrier.inbound.push(Bytes::from_static(b"x")).await);
    }
}
