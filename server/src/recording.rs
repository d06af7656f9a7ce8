//! Recordings of terminal sessions in the form of asciicast v2, one file each, readable for nobody else.
//!
//! What a session shows is recorded, not what is typed: passwords are typed. A recording has a largest size, and a
//! session that is to be recorded ends when its recording cannot go on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use thiserror::Error;
use tokio::fs::{DirBuilder, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use uuid::Uuid;

/// Largest recording, in bytes: days of work at a prompt, or a bulk copy that has no place in a recorded session.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Size of a terminal that nobody told, columns and rows.
const USUAL_SIZE: (u32, u32) = (80, 24);
/// Longest command that is noted, in characters.
const MAX_MARK: usize = 4096;

/// Why a recording cannot go on.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// It has its largest size.
    #[error("the recording is full")]
    Full,
    /// The file system.
    #[error("write recording: {0}")]
    File(#[from] io::Error),
}

/// The folder of recordings.
#[derive(Clone, Debug)]
pub struct Recordings {
    folder: PathBuf,
}

/// What stands at the head of a recording.
#[derive(Clone, Debug)]
pub struct Title {
    /// Unix time, in seconds.
    pub began_at: i64,
    /// Who on what.
    pub text: String,
}

impl Recordings {
    /// Those in `folder`, which is made when it is needed.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Name of the recording of a session.
    #[must_use]
    pub fn name(session: Uuid) -> String {
        format!("{session}.cast")
    }

    /// Begins a recording, mode 0600.
    ///
    /// # Errors
    /// Of the file system.
    pub async fn create(&self, session: Uuid, title: Title) -> io::Result<Recorder> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .await?;
        let path = self.folder.join(Self::name(session));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .await?;
        Ok(Recorder {
            file,
            title: Some(title),
            size: USUAL_SIZE,
            began: Instant::now(),
            bytes: 0,
            rest: Vec::new(),
        })
    }

    /// The recording of this session, for reading.
    ///
    /// # Errors
    /// Of the file system.
    pub async fn open(&self, session: Uuid) -> io::Result<File> {
        File::open(self.folder.join(Self::name(session))).await
    }

    /// Removes a recording by its name; one that is gone is fine.
    ///
    /// # Errors
    /// Of the file system.
    pub async fn remove(&self, name: &str) -> io::Result<()> {
        // Names come from the database; nothing outside of the folder is ever removed.
        let Some(name) = Path::new(name).file_name() else {
            return Ok(());
        };
        match tokio::fs::remove_file(self.folder.join(name)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// One recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    /// Until the head is written.
    title: Option<Title>,
    size: (u32, u32),
    began: Instant,
    bytes: u64,
    /// Begin of a character whose end has not come yet.
    rest: Vec<u8>,
}

#[derive(Serialize)]
struct Head<'a> {
    version: u8,
    width: u32,
    height: u32,
    timestamp: i64,
    title: &'a str,
}

impl Recorder {
    /// The terminal has this size now, columns and rows. A size with a zero in it says nothing (RFC 4254 section 6.2).
    ///
    /// # Errors
    /// [`RecordingError`].
    pub async fn resized(&mut self, columns: u32, rows: u32) -> Result<(), RecordingError> {
        if columns == 0 || rows == 0 {
            return Ok(());
        }
        self.size = (columns, rows);
        if self.title.is_some() {
            return Ok(());
        }
        self.event("r", &format!("{columns}x{rows}")).await
    }

    /// A command was started.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub async fn mark(&mut self, text: &str) -> Result<(), RecordingError> {
        let text: String = text.chars().take(MAX_MARK).collect();
        self.event("m", &text).await
    }

    /// The session showed `data`.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub async fn output(&mut self, data: &[u8]) -> Result<(), RecordingError> {
        self.rest.extend_from_slice(data);
        let whole = whole_characters(&self.rest);
        if whole == 0 {
            return Ok(());
        }
        let later = self.rest.split_off(whole);
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest = later;
        self.event("o", &text).await
    }

    async fn event(&mut self, kind: &str, text: &str) -> Result<(), RecordingError> {
        let mut lines = match self.title.take() {
            Some(title) => {
                let head = Head {
                    version: 2,
                    width: self.size.0,
                    height: self.size.1,
                    timestamp: title.began_at,
                    title: &title.text,
                };
                let mut line = serde_json::to_string(&head).map_err(io::Error::from)?;
                line.push('\n');
                line
            }
            None => String::new(),
        };
        let seconds = self.began.elapsed().as_secs_f64();
        lines.push_str(&json!([seconds, kind, text]).to_string());
        lines.push('\n');
        let bytes = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.bytes.saturating_add(bytes) > MAX_BYTES {
            return Err(RecordingError::Full);
        }
        self.file.write_all(lines.as_bytes()).await?;
        self.file.flush().await?;
        self.bytes += bytes;
        Ok(())
    }

    /// Ends the recording; from then on a power cut does not undo it.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub async fn finish(mut self) -> Result<Duration, RecordingError> {
        if !self.rest.is_empty() || self.title.is_some() {
            let text = String::from_utf8_lossy(&self.rest).into_owned();
            self.event("o", &text).await?;
        }
        self.file.sync_all().await?;
        Ok(self.began.elapsed())
    }
}

/// How many bytes of `data` end with a whole character. What is no character at all counts as one.
fn whole_characters(data: &[u8]) -> usize {
    match std::str::from_utf8(data) {
        Ok(_) => data.len(),
        // Only a character that may still be completed is held back; there may be broken ones before it.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            let tail = data.len().saturating_sub(3);
            let from = (tail..data.len()).find(|at| {
                let rest = data.get(*at..).unwrap_or_default();
                std::str::from_utf8(rest)
                    .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
            });
            from.unwrap_or(data.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_recording_is_asciicast_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(folder.path().join("recordings"));
        let id = Uuid::from_u128(9);
        let title = Title {
            began_at: 1_795_317_857,
            text: "anna on cam1".into(),
        };
        let mut recorder = recordings.create(id, title).await.unwrap();
        recorder.resized(100, 40).await.unwrap();
        recorder.resized(0, 0).await.unwrap();
        recorder.output("gr\u{fc}n\r\n".as_bytes()).await.unwrap();
        let euro = "\u{20ac}".as_bytes();
        recorder.output(&euro[..2]).await.unwrap();
        recorder.output(&euro[2..]).await.unwrap();
        recorder.resized(120, 50).await.unwrap();
        recorder.output(b"\xff\xe2").await.unwrap();
        recorder.finish().await.unwrap();

        let path = folder.path().join("recordings").join(Recordings::name(id));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line
        });
        assert_eq!(
            lines.next().unwrap(),
            json!({"version": 2, "width": 100, "height": 40, "timestamp": 1_795_317_857,
                "title": "anna on cam1"})
        );
        let events: Vec<_> = lines
            .map(|line| (line[1].to_string(), line[2].as_str().unwrap().to_owned()))
            .collect();
        let told: Vec<(&str, &str)> = events
            .iter()
            .map(|(kind, text)| (kind.trim_matches('"'), text.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("o", "gr\u{fc}n\r\n"),
                ("o", "\u{20ac}"),
                ("r", "120x50"),
                ("o", "\u{fffd}"),
                ("o", "\u{fffd}"),
            ]
        );
        recordings.remove(&Recordings::name(id)).await.unwrap();
        recordings.remove(&Recordings::name(id)).await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_full_recording_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(folder.path().to_owned());
        let title = Title {
            began_at: 0,
            text: String::new(),
        };
        let mut recorder = recordings.create(Uuid::from_u128(1), title).await.unwrap();
        let chunk = vec![b'x'; 8 * 1024 * 1024];
        let mut taken = 0;
        while recorder.output(&chunk).await.is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 7, "the eighth would be over it by what is around it");
        let full = recorder.output(&chunk).await;
        assert!(matches!(full, Err(RecordingError::Full)), "{full:?}");
    }
}
