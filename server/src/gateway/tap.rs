//! [`Tap`]: sees what passes through a session: counts it, and records it where that is demanded.

use std::sync::atomic::{AtomicU64, Ordering};

use russh::ChannelMsg;
use tokio::sync::Mutex;
use tracing::warn;

use super::relay::Meter;
use crate::recording::{Recorder, RecordingError};

/// The subsystem that copies files; of every other one what it shows is recorded.
const SFTP: &str = "sftp";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tap {
    received: AtomicU64,
    sent: AtomicU64,
    recorder: Option<Mutex<Recording>>,
}

#[derive(Debug)]
struct Recording {
    /// `None` once it cannot go on.
    recorder: Option<Recorder>,
    /// Files that are copied are named, not recorded.
    silent: bool,
    /// The shell, the command or the subsystem was asked for; a channel has one (RFC 4254 section 6.5).
    started: bool,
}

impl Tap {
    /// Counts only, or records too.
    pub(super) fn new(recorder: Option<Recorder>) -> Self {
        let recording = |recorder| Recording {
            recorder: Some(recorder),
            silent: false,
            started: false,
        };
        Self {
            recorder: recorder.map(|recorder| Mutex::new(recording(recorder))),
            ..Self::default()
        }
    }

    /// Bytes from the operator and to them.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }

    /// A message of the operator. False when the session may not go on.
    pub(super) async fn operator_sent(&self, message: &ChannelMsg) -> bool {
        if let ChannelMsg::Data { data } = message {
            self.received(data.len());
            return true;
        }
        let Some(recording) = &self.recorder else {
            return true;
        };
        let mut recording = recording.lock().await;
        if starts(message) && std::mem::replace(&mut recording.started, true) {
            warn!("session ended: it asked for a second program");
            return false;
        }
        let Some(recorder) = recording.recorder.as_mut() else {
            return false;
        };
        let done = match message {
            ChannelMsg::RequestPty {
                col_width,
                row_height,
                ..
            }
            | ChannelMsg::WindowChange {
                col_width,
                row_height,
                ..
            } => recorder.resized(*col_width, *row_height).await,
            ChannelMsg::Exec { command, .. } => {
                recorder.mark(&String::from_utf8_lossy(command)).await
            }
            ChannelMsg::RequestSubsystem { name, .. } => {
                let done = recorder.mark(&format!("subsystem {name}")).await;
                recording.silent = name == SFTP;
                done
            }
            _ => Ok(()),
        };
        recording.goes_on(done)
    }

    /// Output on its way to the operator. False when the session may not go on; then it must not be shown.
    pub(super) async fn output(&self, data: &[u8]) -> bool {
        self.sent(data.len());
        let Some(recording) = &self.recorder else {
            return true;
        };
        let mut recording = recording.lock().await;
        if recording.silent {
            return recording.recorder.is_some();
        }
        let Some(recorder) = recording.recorder.as_mut() else {
            return false;
        };
        let done = recorder.output(data).await;
        recording.goes_on(done)
    }

    /// Ends the recording, if there is one; false when it is not whole.
    pub(super) async fn finish(&self) -> bool {
        let Some(recording) = &self.recorder else {
            return true;
        };
        let Some(recorder) = recording.lock().await.recorder.take() else {
            return false;
        };
        match recorder.finish().await {
            Ok(_) => true,
            Err(error) => {
                warn!(%error, "end recording");
                false
            }
        }
    }
}

/// Whether the operator asks for what the session is to run.
const fn starts(message: &ChannelMsg) -> bool {
    matches!(
        message,
        ChannelMsg::RequestShell { .. }
            | ChannelMsg::Exec { .. }
            | ChannelMsg::RequestSubsystem { .. }
    )
}

impl Recording {
    fn goes_on(&mut self, done: Result<(), RecordingError>) -> bool {
        if let Err(error) = done {
            warn!(%error, "session ended: its recording cannot go on");
            self.recorder = None;
            return false;
        }
        true
    }
}

fn add(count: &AtomicU64, bytes: usize) {
    count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Meter for Tap {
    /// Bytes from the operator.
    fn received(&self, bytes: usize) {
        add(&self.received, bytes);
    }

    /// Bytes to the operator that are not recorded.
    fn sent(&self, bytes: usize) {
        add(&self.sent, bytes);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::recording::{Recordings, Title};

    fn subsystem(name: &str) -> ChannelMsg {
        ChannelMsg::RequestSubsystem {
            want_reply: true,
            name: name.to_owned(),
        }
    }

    fn shell() -> ChannelMsg {
        ChannelMsg::RequestShell { want_reply: true }
    }

    /// What is in the recording of a session that asked for this, as far as it may, and then showed a word.
    async fn recorded(asked: &[ChannelMsg]) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(folder.path().to_owned());
        let id = Uuid::from_u128(7);
        let title = Title {
            began_at: 0,
            text: String::new(),
        };
        let tap = Tap::new(Some(recordings.create(id, title).await.unwrap()));
        let mut goes_on = true;
        for message in asked {
            goes_on = goes_on && tap.operator_sent(message).await;
        }
        assert!(tap.output(b"shown").await);
        assert!(tap.finish().await);
        let file = folder.path().join(Recordings::name(id));
        (goes_on, std::fs::read_to_string(file).unwrap())
    }

    #[tokio::test]
    async fn only_copied_files_are_not_recorded() {
        for (asked, is_shown) in [
            (shell(), true),
            (subsystem("netconf"), true),
            (subsystem("sftp"), false),
        ] {
            let (goes_on, cast) = recorded(std::slice::from_ref(&asked)).await;
            assert!(goes_on);
            assert_eq!(cast.contains("shown"), is_shown, "{asked:?}");
        }
        let (_, cast) = recorded(&[subsystem("sftp")]).await;
        assert!(cast.contains("subsystem sftp"), "{cast}");
    }

    #[tokio::test]
    async fn nobody_copies_files_in_name_only() {
        for asked in [[subsystem("sftp"), shell()], [shell(), subsystem("sftp")]] {
            assert!(!recorded(&asked).await.0, "{asked:?}");
        }
    }
}
