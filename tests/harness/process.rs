use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// Longest a stopped process may take to go.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Longest a program that is run to its end may take.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// The program `name` of this workspace as built beside the tests; `MOORLINE_BIN_DIR` names another place.
///
/// # Panics
/// When it is not there: `make binaries` builds it.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("MOORLINE_BIN_DIR").map_or_else(
        || {
            let me = std::env::current_exe().unwrap();
            // target/<profile>/deps/<test>
            me.parent().and_then(Path::parent).unwrap().to_path_buf()
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run `make binaries`",
        path.display()
    );
    path
}

/// The folder of the whole repository.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().canonicalize().unwrap()
}

/// A child process that ends with this handle; its output goes to a file.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
    whole_group: bool,
}

impl Running {
    /// Starts `command`, appending what it says to `log`. It is killed when the test process dies, however it dies.
    pub fn start(name: &str, command: &Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("open {}: {error}", log.display()));
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL", "--"]);
        guarded.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(key, value),
                None => guarded.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guarded.current_dir(folder);
        }
        std::os::unix::process::CommandExt::process_group(&mut guarded, 0);
        let child = guarded
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self {
            child,
            name: name.to_owned(),
            log: log.to_path_buf(),
            whole_group: false,
        }
    }

    /// Its children are ended with it.
    #[must_use]
    pub fn with_children(mut self) -> Self {
        self.whole_group = true;
        self
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let sent = if self.whole_group {
            killpg(pid, signal)
        } else {
            kill(pid, signal)
        };
        // It may have ended by itself; then there is nothing to tell it.
        sent.unwrap_or_default();
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its own end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let log = self.log.clone();
        let child = &mut self.child;
        let end = Instant::now() + limit;
        wait_for(&what, limit + PATIENCE, || {
            let ended = child.try_wait().unwrap();
            if ended.is_none() && Instant::now() > end {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("after {limit:?} still not: {what}; it said\n{said}");
            }
            ended
        })
    }

    /// Kill -9, at once.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.signal(Signal::SIGCONT);
        self.child.wait().unwrap();
    }

    /// A polite end; panics when it takes too long.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(STOP_LIMIT)
    }
}

/// So that the panic with the log comes before the one without.
const PATIENCE: Duration = Duration::from_secs(5);

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            #[allow(clippy::print_stderr, reason = "the reason of a failure is shown")]
            {
                eprintln!("---- end of what {} said ----\n{tail}\n----", self.name);
            }
        }
    }
}

/// What a program that ran to its end left behind.
#[derive(Debug)]
pub struct Done {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// The standard output of a program that succeeded; panics when it did not.
    pub fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.stdout
    }
}

/// Runs `command` to its end, five minutes at most, without input.
pub fn run(command: &mut Command) -> Done {
    run_with_input(command, b"")
}

/// Runs `command` to its end, five minutes at most, and gives it `input`.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Done {
    run_within(command, input, RUN_LIMIT)
}

/// Runs `command` to its end, `limit` at most, and gives it `input`.
pub fn run_within(command: &mut Command, input: &[u8], limit: Duration) -> Done {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {name}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let out = reading(child.stdout.take().unwrap());
    let err = reading(child.stderr.take().unwrap());
    let end = Instant::now() + limit;
    std::thread::scope(|scope| {
        // A program that does not read its input closes it; that is its own affair.
        scope.spawn(move || stdin.write_all(input).ok());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > end {
                child.kill().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        // What it started may go on and keep its output open.
        let whole = |from: Receiver<String>| {
            let rest = end.saturating_duration_since(Instant::now());
            from.recv_timeout(rest.max(Duration::from_secs(1)))
        };
        let (stdout, stderr) = (whole(out), whole(err));
        match (status, stdout, stderr) {
            (Some(status), Ok(stdout), Ok(stderr)) => Done {
                code: status.code().unwrap_or(-1),
                stdout,
                stderr,
            },
            (status, stdout, stderr) => panic!(
                "{name} has not ended after {limit:?}\nitself: {status:?}\nstdout: {stdout:?}\nstderr: {stderr:?}"
            ),
        }
    })
}

fn reading(mut from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(read(&mut from)).ok());
    receiver
}

fn read(from: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).ok();
    String::from_utf8_lossy(&bytes).into_owned()
}
