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

use super::window::{MOST_STREAM_CREDIT_BYTES, Window};
use crate::tunnels::Stream;
use crate::tunnels::stream::{Consumed, Inbound, StreamCarrier, stream};

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
        cut,
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
            () = cut.cancelled() => break,
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
