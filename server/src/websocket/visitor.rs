//! One visitor's connection on a WebSocket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::frame::{ConnectionName, Frame, MAX_DATA_BYTES, Operation};
use super::link::Link;
use crate::registry::model::ForwardId;
use crate::tunnels::stream::{Inbound, StreamCarrier, stream};
use crate::tunnels::{OpenError, Stream};

/// Bytes from the device that a visitor has not taken yet. Only what comes beyond holds up the WebSocket; 256
/// connections of this size are what one tunnel may cost at worst.
const BACKLOG_BYTES: usize = 2 * 1024 * 1024;
/// How long one visitor may hold up the WebSocket for every [`FAIR_BYTES`] that it takes; then it is cut off.
const HOLD_UP_LIMIT: Duration = Duration::from_secs(5);
/// See [`HOLD_UP_LIMIT`]: together 13 kB/s, less than which nobody shall make everybody wait for.
const FAIR_BYTES: usize = 64 * 1024;
/// There is no word for the end of one direction. A visitor who has said everything may still be answered; once the
/// device has been silent for that long, the connection is closed.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(5);

/// The side of the connection that messages of the device go to.
#[derive(Debug)]
pub(super) struct Visitor {
    inbound: Inbound,
    /// The device closed it, or it was cut off.
    over: CancellationToken,
    fairness: Mutex<Fairness>,
}

#[derive(Debug)]
struct Fairness {
    held_up_for: Duration,
    taken_bytes: usize,
    last_data: Instant,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Yes,
    /// The visitor is gone, or held up the others for too long.
    Over,
}

/// What runs beside a visitor's connection until it is over.
pub(super) struct Sender {
    pub(super) name: ConnectionName,
    visitor: Arc<Visitor>,
    outbound: mpsc::Receiver<Bytes>,
    dropped: CancellationToken,
    cut: CancellationToken,
}

impl Visitor {
    fn new(inbound: Inbound) -> Self {
        Self {
            inbound,
            over: CancellationToken::new(),
            fairness: Mutex::new(Fairness {
                held_up_for: Duration::ZERO,
                taken_bytes: 0,
                last_data: Instant::now(),
            }),
        }
    }

    /// Hands data of the device to the visitor; waits while its backlog is full.
    pub(super) async fn deliver(&self, data: Bytes) -> Delivered {
        let (bytes, began) = (data.len(), Instant::now());
        let free = self.inbound.has_room_for(bytes);
        let left = {
            let mut fairness = self.fairness();
            fairness.last_data = began;
            HOLD_UP_LIMIT.saturating_sub(fairness.held_up_for)
        };
        let pushed = timeout(left, self.inbound.push(data)).await;
        match pushed {
            Ok(true) if free => Delivered::Yes,
            Ok(true) => {
                self.fairness().held_up(began.elapsed(), bytes);
                Delivered::Yes
            }
            Ok(false) => Delivered::Over,
            Err(_) => {
                info!("visitor cut off: it held up the others of its WebSocket");
                Delivered::Over
            }
        }
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.over.cancel();
    }

    fn fairness(&self) -> std::sync::MutexGuard<'_, Fairness> {
        self.fairness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fairness {
    fn held_up(&mut self, time: Duration, bytes: usize) {
        self.held_up_for += time;
        self.taken_bytes += bytes;
        if self.taken_bytes >= FAIR_BYTES {
            (self.held_up_for, self.taken_bytes) = (Duration::ZERO, 0);
        }
    }
}

impl Link {
    /// A stream to the device for a new visitor.
    pub(super) fn open_visitor(
        self: Arc<Self>,
        originator: SocketAddr,
        forward: ForwardId,
    ) -> Result<Stream, OpenError> {
        let (stream, carrier) = stream(BACKLOG_BYTES);
        let StreamCarrier {
            inbound,
            outbound,
            dropped,
            cut,
            ..
        } = carrier;
        let visitor = Arc::new(Visitor::new(inbound));
        let added = self.open().add(originator, visitor.clone(), Instant::now());
        let Ok(name) = added else {
            info!(device = %self.name, forward = forward.0, "WebSocket is full");
            return Err(OpenError::Refused(self.device_port));
        };
        let sender = Sender {
            name,
            visitor,
            outbound,
            dropped,
            cut,
        };
        let ended = self.ended.clone();
        let link = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = sender.run(&link) => {}
                () = ended.cancelled() => {}
            }
        });
        Ok(stream)
    }
}

impl Sender {
    async fn run(mut self, link: &Link) {
        let over = self.visitor.over.clone();
        let cut = self.cut.clone();
        let said = tokio::select! {
            said = self.pass_on(link) => said,
            () = over.cancelled() => Err(()),
            () = cut.cancelled() => Err(()),
        };
        if said.is_ok() {
            tokio::select! {
                () = self.last_words() => {}
                () = self.dropped.cancelled() => {}
                () = over.cancelled() => {}
                () = cut.cancelled() => {}
            }
        }
        // The device knows already where it closed the connection itself.
        let here = link.open().retire(&self.name, Instant::now()).is_some();
        if here {
            self.say(link, Operation::Close).await.unwrap_or_default();
        }
    }

    /// Visitor to device, until the visitor has said everything.
    async fn pass_on(&mut self, link: &Link) -> Result<(), ()> {
        self.say(link, Operation::Open).await?;
        while let Some(mut chunk) = self.outbound.recv().await {
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(MAX_DATA_BYTES));
                self.say(link, Operation::Data(piece)).await?;
            }
        }
        Ok(())
    }

    async fn say(&self, link: &Link, operation: Operation) -> Result<(), ()> {
        let name = self.name;
        link.say(Frame { name, operation }).await
    }

    async fn last_words(&self) {
        let mut at = Instant::now() + LAST_WORDS_PATIENCE;
        while at > Instant::now() {
            sleep_until(at).await;
            at = self.visitor.fairness().last_data + LAST_WORDS_PATIENCE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor() -> (Stream, Arc<Visitor>) {
        let (stream, carrier) = stream(BACKLOG_BYTES);
        (stream, Arc::new(Visitor::new(carrier.inbound)))
    }

    fn data() -> Bytes {
        Bytes::from(vec![7; 4096])
    }

    async fn fill(visitor: &Visitor) {
        for _ in 0..BACKLOG_BYTES / 4096 {
            assert!(visitor.inbound.has_room_for(4096));
            assert_eq!(visitor.deliver(data()).await, Delivered::Yes);
        }
        assert!(!visitor.inbound.has_room_for(4096));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_after_a_while_and_not_before() {
        let (_stream, visitor) = visitor();
        fill(&visitor).await;
        let began = Instant::now();
        assert_eq!(visitor.deliver(data()).await, Delivered::Over);
        assert_eq!(began.elapsed().as_secs(), HOLD_UP_LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_little_by_little_does_not_make_the_others_wait_for_ever() {
        for (pause, goes_on) in [
            (Duration::from_secs(1), false),
            (Duration::from_millis(200), true),
        ] {
            let (stream, visitor) = visitor();
            fill(&visitor).await;
            let mut reader = stream.reader;
            let take = async {
                for _ in 0..64 {
                    tokio::time::sleep(pause).await;
                    assert!(reader.next().await.is_some());
                }
            };
            let deliver = async {
                for _ in 0..60 {
                    if visitor.deliver(data()).await == Delivered::Over {
                        return false;
                    }
                }
                true
            };
            let (_, delivered) = tokio::join!(take, deliver);
            assert_eq!(delivered, goes_on, "{pause:?}");
        }
    }

    #[tokio::test]
    async fn a_visitor_who_is_gone_takes_nothing() {
        let (stream, visitor) = visitor();
        drop(stream);
        assert_eq!(visitor.deliver(data()).await, Delivered::Over);
    }
}
