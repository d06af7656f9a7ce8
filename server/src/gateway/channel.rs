//! An SSH channel as a [`Stream`], with flow control of its own (`moorline_protocol::flow`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moorline_protocol::flow;
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info};

use crate::tunnels::Stream;
use crate::tunnels::stream::{Consumed, Inbound, StreamCarrier, stream};

/// What a device may have under way to us on a new stream, in bytes. Whatever is under way stands in front of the
/// other streams' bytes: a keystroke beside a bulk copy waits for it.
pub(super) const STREAM_CREDIT_BYTES: u32 = 256 * 1024;
/// What it may have under way at most, when the way is long and fast: 80 MB/s at a round trip of 50 ms.
const MOST_STREAM_CREDIT_BYTES: u32 = 4 * 1024 * 1024;
/// Round trip below which the first credit is enough for any rate: 128 MB/s at this one.
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(2);
/// Assumed while the device has not answered an echo yet.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(50);
/// Backlog of a stream of a client without credits. SSH cannot hold it back, so it is what a slow visitor may lag.
const STOCK_BACKLOG_BYTES: usize = 8 * 1024 * 1024;
/// A stream of a client without credits whose backlog is full holds up its whole connection; one that takes nothing
/// for that long is ended.
const STOCK_STALL_LIMIT: Duration = Duration::from_secs(5);
/// How long bytes that were sent before the stream was dropped may take to leave.
const LINGER: Duration = Duration::from_secs(30);
/// More credit than a peer may ever hold, in bytes; a grant above it is cut.
const MAX_CREDIT_BYTES: usize = 64 * 1024 * 1024;

/// Runs `channel` as a stream. `device_credit` is what the device takes before it must have granted more; `None`
/// for a client that knows no credits. `round_trip` is that of an idle connection, if it is known.
pub(super) fn carry(
    channel: Channel<Msg>,
    device_credit: Option<u32>,
    round_trip: Option<Duration>,
) -> (Stream, impl Future<Output = ()> + Send) {
    let backlog = device_credit.map_or(STOCK_BACKLOG_BYTES, |_| MOST_STREAM_CREDIT_BYTES as usize);
    let (stream, carrier) = stream(backlog);
    let window = Window::new(round_trip.unwrap_or(UNKNOWN_ROUND_TRIP), Instant::now());
    (stream, run(channel, device_credit, window, carrier))
}

async fn run(
    channel: Channel<Msg>,
    device_credit: Option<u32>,
    window: Window,
    carrier: StreamCarrier,
) {
    let StreamCarrier {
        inbound,
        outbound,
        consumed,
        dropped,
    } = carrier;
    let (read, write) = channel.split();
    let credit = device_credit.map(|bytes| Arc::new(Semaphore::new(bytes as usize)));
    let receive = receive(read, inbound, credit.clone());
    let send = send(outbound, &write, credit.clone());
    let grant = grant(&consumed, &write, credit.is_some().then_some(window));
    tokio::pin!(receive, send, grant);
    let (mut sent, mut gone) = (false, false);
    let mut deadline = Instant::now();
    while !(sent && gone) {
        tokio::select! {
            () = &mut receive => break,
            () = &mut send, if !sent => sent = true,
            () = &mut grant => {}
            () = dropped.cancelled(), if !gone => {
                gone = true;
                deadline = Instant::now() + LINGER;
            }
            () = sleep_until(deadline), if gone => {
                debug!("stream dropped with bytes the device does not take");
                break;
            }
        }
    }
    // The connection may be gone already.
    write.close().await.unwrap_or_default();
}

/// Device to stream, until the device closes the channel or the reader is gone.
async fn receive(mut read: ChannelReadHalf, inbound: Inbound, credit: Option<Arc<Semaphore>>) {
    let mut inbound = Some(inbound);
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let Some(inbound) = &inbound else { return };
                if !deliver(inbound, data, credit.is_some()).await {
                    return;
                }
            }
            ChannelMsg::ExtendedData {
                data,
                ext: flow::CREDIT,
            } => {
                if let (Some(credit), Some(grant)) = (&credit, flow::decode(&data)) {
                    let room = MAX_CREDIT_BYTES.saturating_sub(credit.available_permits());
                    credit.add_permits(room.min(grant as usize));
                }
            }
            ChannelMsg::Eof => inbound = None,
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

async fn deliver(inbound: &Inbound, data: Bytes, with_credit: bool) -> bool {
    if with_credit && !inbound.has_room_for(data.len()) {
        info!("device sent more than it had credit for");
        return false;
    }
    timeout(STOCK_STALL_LIMIT, inbound.push(data))
        .await
        .unwrap_or_else(|_| {
            info!("stream ended: its reader stalled and held up the others of its tunnel");
            false
        })
}

/// Stream to device, until the end of input was passed on or the channel is gone.
async fn send(
    mut outbound: mpsc::Receiver<Bytes>,
    write: &ChannelWriteHalf<Msg>,
    credit: Option<Arc<Semaphore>>,
) {
    while let Some(mut chunk) = outbound.recv().await {
        while !chunk.is_empty() {
            let piece = match &credit {
                None => std::mem::take(&mut chunk),
                Some(credit) => {
                    let Some(bytes) = take_credit(credit, chunk.len()).await else {
                        return;
                    };
                    chunk.split_to(bytes)
                }
            };
            if write.data_bytes(piece).await.is_err() {
                return;
            }
        }
    }
    write.eof().await.unwrap_or_default();
}

/// Takes credit for up to `wanted` bytes, at least one; waits while there is none.
async fn take_credit(credit: &Semaphore, wanted: usize) -> Option<usize> {
    credit.acquire().await.ok()?.forget();
    let more = credit.available_permits().min(wanted.saturating_sub(1));
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    // Nobody else takes from this semaphore, so what is available stays so.
    credit.try_acquire_many(more).ok()?.forget();
    Some(1 + more as usize)
}

/// Grants the device what the reader took; never returns.
async fn grant(consumed: &Consumed, write: &ChannelWriteHalf<Msg>, window: Option<Window>) {
    let Some(mut window) = window else {
        return std::future::pending().await;
    };
    loop {
        let bytes = consumed.take().await;
        if let Some(grant) = window.consumed(bytes, Instant::now()) {
            let grant = Bytes::copy_from_slice(&flow::encode(grant));
            if write
                .extended_data_bytes(flow::CREDIT, grant)
                .await
                .is_err()
            {
                return std::future::pending().await;
            }
        }
    }
}

/// How much the device may have under way on one stream. It doubles when all of it was used up within two round
/// trips: then it is the credit that holds the device back, not the link and not the reader.
#[derive(Debug)]
struct Window {
    bytes: u32,
    round_trip: Duration,
    /// Consumed and not granted again yet.
    consumed: u32,
    /// Consumed since `since`, for the rate.
    counted: u32,
    since: Instant,
}

impl Window {
    const fn new(round_trip: Duration, now: Instant) -> Self {
        Self {
            bytes: STREAM_CREDIT_BYTES,
            round_trip,
            consumed: 0,
            counted: 0,
            since: now,
        }
    }

    /// Notes `bytes` as consumed; gives the grant to send when a quarter has been used up, so that grants are few and
    /// the device does not run dry.
    fn consumed(&mut self, bytes: usize, now: Instant) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.consumed = self.consumed.saturating_add(bytes);
        self.counted = self.counted.saturating_add(bytes);
        if self.consumed < self.bytes / 4 {
            return None;
        }
        let grant = std::mem::take(&mut self.consumed);
        Some(grant.saturating_add(self.growth(now)))
    }

    fn growth(&mut self, now: Instant) -> u32 {
        if self.counted < self.bytes {
            return 0;
        }
        let took = now.saturating_duration_since(self.since);
        (self.counted, self.since) = (0, now);
        if self.round_trip < SHORT_ROUND_TRIP || took > self.round_trip * 2 {
            return 0;
        }
        let growth = self.bytes.min(MOST_STREAM_CREDIT_BYTES - self.bytes);
        self.bytes += growth;
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Consumes 64 KiB every `pace` for a while; gives the window then.
    fn after_a_while(round_trip: Duration, pace: Duration) -> u32 {
        const CHUNK: usize = 64 * 1024;
        let mut now = Instant::now();
        let mut window = Window::new(round_trip, now);
        let mut granted = 0;
        for _ in 0..1000 {
            now += pace;
            granted += window.consumed(CHUNK, now).unwrap_or_default() as usize;
        }
        let consumed = 1000 * CHUNK;
        let under_way = STREAM_CREDIT_BYTES as usize + granted + window.consumed as usize;
        assert_eq!(under_way - consumed, window.bytes as usize);
        window.bytes
    }

    #[test]
    fn credit_grows_on_a_long_fast_way_only() {
        let (millisecond, long) = (Duration::from_millis(1), Duration::from_millis(50));
        // 64 MB/s at 50 ms needs 3.2 MB under way.
        assert_eq!(after_a_while(long, millisecond), MOST_STREAM_CREDIT_BYTES);
        // 1 MB/s at 50 ms needs 50 KB.
        assert_eq!(after_a_while(long, millisecond * 64), STREAM_CREDIT_BYTES);
        let short = Duration::from_micros(200);
        assert_eq!(after_a_while(short, millisecond / 10), STREAM_CREDIT_BYTES);
    }
}
