//! The control channel: lines to messages and back.

use bytes::Bytes;
use moorline_protocol::control::{MAX_LINE_BYTES, ToAgent, ToServer};
use tokio::sync::mpsc;

use super::session::{Gone, Inbound, Reader, Writer};

/// Messages to the server that wait to be sent. A server that leaves that many unread is as good as gone.
const QUEUE: usize = 16;

/// Our end of the channel.
pub(super) struct Control {
    reader: Reader,
    lines: Lines,
    queue: mpsc::Sender<ToServer>,
}

/// Sends what is queued; runs beside the tunnel, so that a server that does not read stops nothing else.
pub(super) struct Speaker {
    queue: mpsc::Receiver<ToServer>,
    writer: Writer,
}

impl Control {
    pub(super) fn new(reader: Reader, writer: Writer) -> (Self, Speaker) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let control = Self {
            reader,
            lines: Lines::default(),
            queue: sender,
        };
        (control, Speaker { queue, writer })
    }

    /// The next message; [`Gone`] when the channel or the tunnel ended, or the server broke the rules.
    pub(super) async fn next(&mut self) -> Result<ToAgent, Gone> {
        loop {
            if let Some(message) = self.lines.next_message()? {
                return Ok(message);
            }
            match self.reader.next().await.ok_or(Gone)? {
                Inbound::Data(bytes) => self.lines.push(&bytes),
                Inbound::Credit(_) => {}
                Inbound::Eof | Inbound::Close => return Err(Gone),
            }
        }
    }

    /// Queues a message.
    pub(super) fn say(&self, message: ToServer) -> Result<(), Gone> {
        self.queue.try_send(message).map_err(|_| Gone)
    }
}

impl Speaker {
    pub(super) async fn run(mut self) {
        while let Some(message) = self.queue.recv().await {
            let Ok(mut line) = serde_json::to_vec(&message) else {
                continue;
            };
            line.push(b'\n');
            if self.writer.data(Bytes::from(line)).await.is_err() {
                return;
            }
        }
    }
}

/// Bytes to lines to messages.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line as a message. A line that is no message of ours counts as unknown.
    fn next_message(&mut self) -> Result<Option<ToAgent>, Gone> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            let too_long = self.bytes.len() >= MAX_LINE_BYTES;
            return if too_long { Err(Gone) } else { Ok(None) };
        };
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(
            serde_json::from_slice(&line).unwrap_or(ToAgent::Unknown),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_any_pieces_and_rubbish_is_unknown() {
        let mut lines = Lines::default();
        lines.push(b"{\"type\":\"cl");
        assert!(matches!(lines.next_message(), Ok(None)));
        lines.push(b"ose\"}\nrubbish\n{\"type\":\"open\"}\n");
        assert!(matches!(lines.next_message(), Ok(Some(ToAgent::Close))));
        assert!(matches!(lines.next_message(), Ok(Some(ToAgent::Unknown))));
        assert!(matches!(lines.next_message(), Ok(Some(ToAgent::Open))));
        assert!(matches!(lines.next_message(), Ok(None)));
    }

    #[test]
    fn a_line_without_end_is_not_collected_for_ever() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE_BYTES]);
        assert!(lines.next_message().is_err());
    }
}
