//! [`Backlog`]: what an operator sent on one channel and the device has not taken yet.

use std::sync::Arc;

use russh::{ChannelMsg, ChannelReadHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes from the operator that the device has not taken yet, per channel. SSH cannot hold one channel back alone, so
/// a channel that is fuller holds up the operator's connection.
const BACKLOG_BYTES: usize = 16 * 1024 * 1024;
/// The same over all channels of one connection.
const CONNECTION_BYTES: usize = 64 * 1024 * 1024;
/// Messages from the operator that wait, per channel.
const BACKLOG_MESSAGES: usize = 4096;
/// What a message takes beside its payload.
const MESSAGE_BYTES: usize = 64;

/// Room for what waits on all channels of one connection.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    /// That of a connection.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTION_BYTES)))
    }
}

/// A message and the room it takes, on its channel and on its connection.
type Waiting = (ChannelMsg, [OwnedSemaphorePermit; 2]);

/// What the operator sent and the device has not taken yet.
pub(super) struct Backlog {
    messages: mpsc::Receiver<Waiting>,
}

impl Backlog {
    pub(super) async fn next(&mut self) -> Option<ChannelMsg> {
        let (message, _room) = self.messages.recv().await?;
        Some(message)
    }
}

/// Takes messages off the connection as they come, so that one channel does not hold up the others.
pub(super) fn backlog(
    mut read: ChannelReadHalf,
    connection: &Room,
) -> (impl Future<Output = ()>, Backlog) {
    let (sender, messages) = mpsc::channel(BACKLOG_MESSAGES);
    let rooms = [
        Arc::new(Semaphore::new(BACKLOG_BYTES)),
        connection.0.clone(),
    ];
    let pump = async move {
        while let Some(message) = read.wait().await {
            let bytes = u32::try_from(size(&message)).unwrap_or(u32::MAX);
            let [own, common] = rooms.clone();
            let own = own.acquire_many_owned(bytes).await;
            let common = common.acquire_many_owned(bytes).await;
            let (Ok(own), Ok(common)) = (own, common) else {
                return;
            };
            if sender.send((message, [own, common])).await.is_err() {
                return;
            }
        }
    };
    (pump, Backlog { messages })
}

/// Runs `serve`, and `pump` for as long as that takes. The SSH library forgets a channel that was closed on this side
/// first without a word to its reader, so that `pump` does not end by itself then.
pub(super) async fn beside(pump: impl Future<Output = ()>, serve: impl Future<Output = ()>) {
    tokio::pin!(serve);
    tokio::select! {
        () = pump => serve.await,
        () = &mut serve => {}
    }
}

/// What a message takes; an SSH packet is far below the backlog.
fn size(message: &ChannelMsg) -> usize {
    let payload = match message {
        ChannelMsg::Data { data } => data.len(),
        ChannelMsg::ExtendedData { data, .. } => data.len(),
        ChannelMsg::SetEnv {
            variable_name,
            variable_value,
            ..
        } => variable_name.len() + variable_value.len(),
        ChannelMsg::Exec { command, .. } => command.len(),
        ChannelMsg::RequestSubsystem { name, .. } => name.len(),
        ChannelMsg::RequestPty {
            term,
            terminal_modes,
            ..
        } => term.len() + size_of_val(terminal_modes.as_slice()),
        _ => 0,
    };
    payload + MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_message_takes_room() {
        let env = ChannelMsg::SetEnv {
            want_reply: false,
            variable_name: "A".repeat(1000),
            variable_value: "b".repeat(2000),
        };
        assert_eq!(size(&env), 3000 + MESSAGE_BYTES);
        let data = ChannelMsg::Data {
            data: Bytes::from_static(b"12345"),
        };
        assert_eq!(size(&data), 5 + MESSAGE_BYTES);
        assert_eq!(size(&ChannelMsg::Eof), MESSAGE_BYTES);
    }
}
