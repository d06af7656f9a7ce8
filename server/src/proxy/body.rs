//! Bodies on their way: one tells of its progress, the other holds its turn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, sleep_until};

/// When a request last moved on.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// It moves now.
    pub(crate) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it did not move for `patience`.
    pub(crate) async fn stalled(&self, patience: Duration) {
        loop {
            let at = self.last() + patience;
            if at <= Instant::now() {
                return;
            }
            sleep_until(at).await;
        }
    }
}

/// The body of a visitor's request.
#[derive(Debug)]
pub(crate) struct Uploaded<B> {
    pub(crate) body: B,
    pub(crate) progress: Progress,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Uploaded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.progress.moved();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a device's answer, with the turn that its request has until the last byte.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) body: Incoming,
    pub(crate) _turn: T,
}

impl<T: Unpin> Body for Answered<T> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_not_stalled() {
        let progress = Progress::begin();
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let move_on = async {
            for _ in 0..5 {
                tokio::time::sleep(second).await;
                progress.moved();
            }
        };
        tokio::join!(progress.stalled(second * 2), move_on);
        assert_eq!(began.elapsed(), second * 7);
    }
}
