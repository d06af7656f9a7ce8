//! [`Backlog`]: what an operator sent on one channel and the device has not taken yet.

use std::sync::Arc;

use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::{Semaphore, mpsc};

/// Bytes from the operator that the device has not taken yet, per channel. SSH cannot hold one channel back alone, so
/// a channel that is fuller holds up the operator's connection.
const BACKLOG_BYTES: usize = 16 * 1024 * 1024;
/// Messages from the operator that wait, per channel.
const BACKLOG_MESSAGES: usize = 4096;

/// What the operator sent and the device has not taken yet.
pub(super) struct Backlog {
    messages: mpsc::Receiver<ChannelMsg>,
    room: Arc<Semaphore>,
}

impl Backlog {
    pub(super) async fn next(&mut self) -> Option<ChannelMsg> {
        let message = self.messages.recv().await?;
        self.room.add_permits(size(&message));
        Some(message)
    }
}

/// Takes messages off the connection as they come, so that one channel does not hold up the others.
pub(super) fn backlog(mut read: ChannelReadHalf) -> (impl Future<Output = ()>, Backlog) {
    let (sender, messages) = mpsc::channel(BACKLOG_MESSAGES);
    let room = Arc::new(Semaphore::new(BACKLOG_BYTES));
    let backlog = Backlog {
        messages,
        room: room.clone(),
    };
    let pump = async move {
        while let Some(message) = read.wait().await {
            let bytes = u32::try_from(size(&message)).unwrap_or(u32::MAX);
            let Ok(permits) = room.acquire_many(bytes).await else {
                return;
            };
            permits.forget();
            if sender.send(message).await.is_err() {
                return;
            }
        }
    };
    (pump, backlog)
}

/// Payload bytes of a message; an SSH packet is far below the backlog.
fn size(message: &ChannelMsg) -> usize {
    match message {
        ChannelMsg::Data { data } => Bytes::len(data),
        _ => 0,
    }
}
