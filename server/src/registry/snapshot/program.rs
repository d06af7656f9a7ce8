//! Runs a program of PostgreSQL to its end.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::SnapshotError;

/// How long one may take: a database of tens of gigabytes on slow disks gets done.
const LIMIT: Duration = Duration::from_secs(6 * 60 * 60);
/// Most that is read of what it prints, in bytes.
const OUTPUT_LIMIT: u64 = 1024 * 1024;
/// Most that is read of what it says, in bytes.
const ERRORS_LIMIT: u64 = 16 * 1024;

/// A program that is killed when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already.
        if self.0.kill().is_ok()
            && let Err(error) = self.0.wait()
        {
            tracing::warn!(%error, "wait for program");
        }
    }
}

/// Runs `command`, the program called `name`, and gives what it printed.
pub(super) async fn run(
    name: &'static str,
    mut command: Command,
) -> Result<Vec<u8>, SnapshotError> {
    let failed = |error: io::Error| SnapshotError::Program {
        program: name,
        message: error.to_string(),
    };
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::ProgramMissing(name),
        _ => failed(error),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut running = Running(child);
    let output = spawn_blocking(move || read(stdout, OUTPUT_LIMIT));
    let errors = spawn_blocking(move || read(stderr, ERRORS_LIMIT));
    let ends = async { (output.await, errors.await) };
    let (output, errors) =
        tokio::time::timeout(LIMIT, ends)
            .await
            .map_err(|_| SnapshotError::ProgramStuck {
                program: name,
                limit: LIMIT,
            })?;
    let output = output.map_err(io::Error::other).and_then(|read| read);
    let errors = errors.map_err(io::Error::other).and_then(|read| read);
    // It has closed both ends, so it has ended but for a moment.
    let ended = spawn_blocking(move || running.0.wait()).await;
    let status = ended
        .map_err(io::Error::other)
        .and_then(|status| status)
        .map_err(failed)?;
    let (output, errors) = (output.map_err(failed)?, errors.map_err(failed)?);
    if status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&errors);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    Err(SnapshotError::Program {
        program: name,
        message: match lines.is_empty() {
            true => status.to_string(),
            false => lines.join(" / "),
        },
    })
}

fn read(source: Option<impl Read>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        source.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
