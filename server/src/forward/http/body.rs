//! Bodies on their way: one tells of its progress, the other holds its turn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, sleep_until};

use super::turn::Turn;

/// When a request last moved on.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// It moves now.
    pub(super) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it did not move for `patience`.
    pub(super) async fn stalled(&self, patience: Duration) {
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
pub(super) struct Uploaded {
    pub(super) body: Incoming,
    pub(super) progress: Progress,
}

impl Body for Uploaded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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

/// The body of a device's answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) body: Incoming,
    pub(super) _turn: Turn,
}

impl Body for Answered {
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
