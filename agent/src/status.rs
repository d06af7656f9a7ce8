//! What the running agent shows of itself: kept on a board, served on a unix socket as one line of JSON.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::state::is_writable;
use crate::tunnel::meter::Meter;

/// Where programs keep what must not outlive a boot.
const RUN_FOLDER: &str = "/run/moorline";
/// Name of the socket inside the state folder, where there is no `/run`.
const SOCKET: &str = "agent.sock";
/// Time for one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
/// Pause after a failed accept, for example when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What the agent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Just started.
    #[default]
    Starting,
    /// Becoming known to the server.
    Enrolling,
    /// On the way to the node.
    Connecting,
    /// The tunnel is up.
    Connected,
    /// Between two attempts.
    Waiting,
    /// Between two attempts, and someone must act: the other end said no.
    Refused,
}

/// What became of the forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardState {
    /// Visitors reach the device.
    Open,
    /// The server said no.
    Refused,
    /// An operator closed it.
    Closed,
}

/// What `status` shows; times are whole seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the running agent.
    pub version: String,
    /// What it is doing.
    pub activity: Activity,
    /// Why it is not connected, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// UUID of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Name of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Node that the tunnel leads to, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Public port on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// Device port behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// What became of the forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardState>,
    /// Counts up with every tunnel of this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How long the activity has lasted.
    pub for_secs: u64,
    /// When the next attempt comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_in_secs: Option<u64>,
    /// Last echo there and back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_millis: Option<u64>,
    /// Since the server was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heard_secs_ago: Option<u64>,
    /// Streams that are open.
    pub streams: usize,
    /// Bytes received since the agent started.
    pub received_bytes: u64,
    /// Bytes sent since then.
    pub sent_bytes: u64,
}

/// Where the parts of the agent write what they do.
#[derive(Clone, Debug)]
pub struct StatusBoard {
    board: Arc<Mutex<Board>>,
    changed: Arc<Notify>,
    meter: Meter,
}

#[derive(Debug)]
struct Board {
    status: Status,
    since: Instant,
    next_attempt: Option<Instant>,
}

impl StatusBoard {
    /// An empty board.
    #[must_use]
    pub fn new(meter: Meter) -> Self {
        let board = Board {
            status: Status {
                version: env!("CARGO_PKG_VERSION").into(),
                ..Status::default()
            },
            since: Instant::now(),
            next_attempt: None,
        };
        Self {
            board: Arc::new(Mutex::new(board)),
            changed: Arc::default(),
            meter,
        }
    }

    /// What it shows now.
    #[must_use]
    pub fn read(&self) -> Status {
        let board = self.lock();
        let reading = self.meter.read();
        let secs_until = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs();
        Status {
            for_secs: board.since.elapsed().as_secs(),
            next_attempt_in_secs: board.next_attempt.map(secs_until),
            last_heard_secs_ago: reading.last_heard.map(|at| at.elapsed().as_secs()),
            received_bytes: reading.received,
            sent_bytes: reading.sent,
            ..board.status.clone()
        }
    }

    /// Changes what is known of the device.
    pub fn describe(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock().status);
    }

    /// The agent begins something.
    pub fn begin(&self, activity: Activity) {
        let mut board = self.lock();
        if board.status.activity != activity {
            board.since = Instant::now();
        }
        board.status.activity = activity;
        board.next_attempt = None;
        self.changed.notify_one();
    }

    /// Waits until the agent begins something; for one reader.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The agent waits after a failure.
    pub fn wait(&self, activity: Activity, reason: &str, wait: Duration) {
        self.begin(activity);
        let mut board = self.lock();
        board.next_attempt = Some(Instant::now() + wait);
        let status = &mut board.status;
        status.reason = Some(reason.to_owned());
        status.generation = None;
        status.forward = None;
        status.round_trip_millis = None;
        status.streams = 0;
    }

    /// The tunnel is up.
    pub(crate) fn connected(&self, generation: Option<u64>) {
        self.begin(Activity::Connected);
        let mut board = self.lock();
        board.status.reason = None;
        board.status.generation = generation;
    }

    pub(crate) fn forward(&self, state: ForwardState) {
        self.lock().status.forward = Some(state);
    }

    pub(crate) fn round_trip(&self, round_trip: Duration) {
        let millis = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        self.lock().status.round_trip_millis = Some(millis);
    }

    pub(crate) fn streams(&self, streams: usize) {
        self.lock().status.streams = streams;
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers on the socket until stopped. Without a place for a socket `status` cannot ask, which stops nothing
    /// else.
    pub async fn serve(self, state_folder: PathBuf, stop: CancellationToken) {
        let Some((listener, path)) = listen(&state_folder) else {
            tracing::warn!("no place for the status socket; `moorline-agent status` cannot ask");
            return;
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((asker, _)) => self.answer(asker).await,
                Err(error) => {
                    tracing::warn!(%error, "accept on the status socket");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        std::fs::remove_file(path).unwrap_or_default();
    }

    async fn answer(&self, mut asker: UnixStream) {
        let Ok(mut line) = serde_json::to_vec(&self.read()) else {
            return;
        };
        line.push(b'\n');
        let answered = timeout(ANSWER_TIMEOUT, asker.write_all(&line)).await;
        if !matches!(answered, Ok(Ok(()))) {
            tracing::debug!("who asked for the status did not wait for it");
        }
    }
}

/// Asks the agent that runs on `state_folder`; `None` when none does.
pub async fn ask(state_folder: &Path) -> Option<Status> {
    for path in socket_paths(state_folder) {
        let question = async {
            let agent = UnixStream::connect(&path).await?;
            let mut line = Vec::new();
            agent.take(MAX_ANSWER_BYTES).read_to_end(&mut line).await?;
            io::Result::Ok(line)
        };
        if let Ok(Ok(line)) = timeout(ANSWER_TIMEOUT, question).await {
            return serde_json::from_slice(&line).ok();
        }
    }
    None
}

/// Who may be asked: one socket per state folder, since test machines run several agents.
fn socket_paths(state_folder: &Path) -> [PathBuf; 2] {
    let digest = ring::digest::digest(
        &ring::digest::SHA256,
        state_folder.as_os_str().as_encoded_bytes(),
    );
    let name = data_encoding::HEXLOWER.encode(digest.as_ref().get(..6).unwrap_or_default());
    [
        Path::new(RUN_FOLDER).join(format!("agent-{name}.sock")),
        state_folder.join(SOCKET),
    ]
}

fn listen(state_folder: &Path) -> Option<(UnixListener, PathBuf)> {
    if is_writable(Path::new("/run")) {
        std::fs::create_dir_all(RUN_FOLDER).unwrap_or_default();
    }
    socket_paths(state_folder).into_iter().find_map(|path| {
        // Whoever holds the lock of the state folder may take its socket.
        std::fs::remove_file(&path).unwrap_or_default();
        let listener = UnixListener::bind(&path).ok()?;
        Some((listener, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_running_agent_answers_and_a_stopped_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ask(folder.path()).await, None);
        let board = StatusBoard::new(Meter::default());
        board.wait(Activity::Refused, "no", Duration::from_secs(60));
        let stop = CancellationToken::new();
        let serving = board.clone().serve(folder.path().to_owned(), stop.clone());
        let asking = async {
            let status = loop {
                if let Some(status) = ask(folder.path()).await {
                    break status;
                }
                tokio::task::yield_now().await;
            };
            stop.cancel();
            status
        };
        let ((), status) = tokio::join!(serving, asking);
        assert_eq!(status.activity, Activity::Refused);
        assert_eq!(status.reason.as_deref(), Some("no"));
        assert!(status.next_attempt_in_secs.is_some_and(|secs| secs >= 50));
        assert_eq!(ask(folder.path()).await, None);
    }
}
