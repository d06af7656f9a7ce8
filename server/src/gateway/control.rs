//! The control channel of a tunnel, below its meaning: lines in and out, echoes (`moorline_protocol::control`).

use std::time::Duration;

use moorline_protocol::control::{MAX_LINE_BYTES, ToAgent, ToServer};
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Sends queued messages until the link ends.
pub(super) async fn speak(
    mut queue: mpsc::Receiver<ToAgent>,
    write: ChannelWriteHalf<Msg>,
    ended: CancellationToken,
    spoken: CancellationToken,
) {
    let _guard = spoken.drop_guard();
    loop {
        let message = tokio::select! {
            message = queue.recv() => message,
            () = ended.cancelled() => return,
        };
        let Some(message) = message else { return };
        let Ok(mut line) = serde_json::to_vec(&message) else {
            continue;
        };
        line.push(b'\n');
        if write.data_bytes(line).await.is_err() {
            return;
        }
    }
}

/// Bytes to lines to messages.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The messages that `data` completes; `None` when a line is too long. Lines that are no message are skipped.
    pub(super) fn push(&mut self, data: &[u8]) -> Option<Vec<ToServer>> {
        let mut messages = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + piece.len() > MAX_LINE_BYTES {
                return None;
            }
            self.rest.extend_from_slice(piece);
            if self.rest.ends_with(b"\n") {
                messages.extend(serde_json::from_slice(&self.rest).ok());
                self.rest.clear();
            }
        }
        Some(messages)
    }
}

/// Echoes that were asked for, for the round trip.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    last: u32,
    asked: Option<Instant>,
}

impl Echoes {
    pub(super) fn ask(&mut self) -> ToAgent {
        self.last = self.last.wrapping_add(1);
        self.asked = Some(Instant::now());
        ToAgent::Echo { id: self.last }
    }

    pub(super) fn answered(&mut self, id: u32) -> Option<Duration> {
        let asked = self.asked.take_if(|_| id == self.last)?;
        Some(asked.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_pieces_and_garbage_is_skipped() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"{\"type\":\"by").unwrap(), []);
        assert_eq!(
            lines
                .push(b"e\"}\nrubbish\n{\"type\":\"echo\",\"id\":7}\n")
                .unwrap(),
            [ToServer::Bye, ToServer::Echo { id: 7 }]
        );
        assert!(lines.push(&vec![b'x'; MAX_LINE_BYTES + 1]).is_none());
    }
}
