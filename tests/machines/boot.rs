use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Running, repository, wait_for};
use tempfile::TempDir;

/// Emulators that run at once; each keeps one core busy.
const AT_ONCE: usize = 2;
/// Longest wait for one of them to end: a few boots on a busy machine.
const TURN_LIMIT: Duration = Duration::from_secs(900);
/// Longest wait for something that a device does within a boot. Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(180);
/// What the console shows when it takes lines.
const CONSOLE: &str = "console: ready";
/// Lines that are shown of each boot.
const SHOWN_LINES: usize = 3;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The right to run an emulator.
#[derive(Debug)]
struct Turn;

impl Turn {
    fn wait() -> Self {
        wait_for("an emulator may start", TURN_LIMIT, || {
            let more = |running| (running < AT_ONCE).then_some(running + 1);
            RUNNING
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
                .ok()
                .map(|_| Self)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A device that is switched on. Without this handle it loses its power.
#[derive(Debug)]
pub(crate) struct Boot {
    // Fields go in this order: the turn is over once the emulator has ended.
    emulator: Running,
    name: String,
    log: PathBuf,
    sockets: TempDir,
    console: Option<UnixStream>,
    began: Instant,
    _turn: Turn,
}

impl Boot {
    /// Starts `emulator`, which gets a console, a monitor and a log called `name`.
    pub(crate) fn start(name: &str, mut emulator: Command) -> Self {
        let turn = Turn::wait();
        let sockets = TempDir::new().unwrap();
        let log = logs().join(format!("{name}.log"));
        std::fs::remove_file(&log).ok();
        for part in ["console", "monitor"] {
            let path = sockets.path().join(part).display().to_string();
            let logged = if part == "console" {
                format!(",logfile={}", log.display())
            } else {
                String::new()
            };
            emulator.args(["-chardev".to_owned(), {
                format!("socket,id={part},path={path},server=on,wait=off{logged}")
            }]);
        }
        emulator.args(["-serial", "chardev:console", "-mon", "chardev=monitor"]);
        let own_words = sockets.path().join("words");
        Self {
            emulator: Running::start(name, &emulator, &own_words),
            name: name.to_owned(),
            log,
            sockets,
            console: None,
            began: Instant::now(),
            _turn: turn,
        }
    }

    /// Time since it was switched on.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// What its console showed so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// Waits until its console has shown `text` more than `before` times; gives how often it did.
    pub(crate) fn wait_shown(&mut self, text: &str, before: usize) -> usize {
        let what = format!("{} shows \"{text}\"", self.name);
        wait_for(&what, LIMIT, || {
            self.assert_alive();
            let count = self.shown(text);
            (count > before).then_some(count)
        })
    }

    /// How often its console has shown `text`.
    pub(crate) fn shown(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Panics when the emulator has ended.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.emulator.ended() {
            let words = self.emulator.log();
            panic!("{} ended: {status}\n{words}\n{}", self.name, self.log());
        }
    }

    /// Types a line at the console, where [`CONSOLE`] waits for it.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.wait_shown(CONSOLE, 0);
        let console = self.console.get_or_insert_with(|| {
            let console = connect(&self.sockets, "console");
            let mut shown = console.try_clone().unwrap();
            // A console that nobody reads stands still. This ends with the emulator.
            std::thread::spawn(move || std::io::copy(&mut shown, &mut std::io::sink()));
            console
        });
        console.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Runs one line at the console; gives what it printed.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let mark = format!("mark{}", self.age().as_micros());
        // The log appears on the console too, so each line of the answer is marked. The device puts the marks
        // together, so that the echo of what was typed bears none.
        self.type_line(&format!(
            "m={mark}; ({line}) 2>&1 | sed \"s/^/$m: /\"; echo $m-end"
        ));
        self.wait_shown(&format!("{mark}-end"), 0);
        let (log, mark) = (self.log(), format!("{mark}: "));
        let answer: Vec<_> = log
            .lines()
            .filter_map(|line| line.strip_prefix(&mark))
            .collect();
        answer.join("\n")
    }

    /// Takes the link of its only network card down or up.
    pub(crate) fn set_link(&mut self, up: bool) {
        self.assert_alive();
        let mut monitor = connect(&self.sockets, "monitor");
        monitor.set_read_timeout(Some(LIMIT)).unwrap();
        read_prompt(&mut monitor);
        let word = if up { "on" } else { "off" };
        monitor
            .write_all(format!("set_link link0 {word}\n").as_bytes())
            .unwrap();
        read_prompt(&mut monitor);
    }

    /// A power cut.
    pub(crate) fn cut(mut self) {
        self.emulator.kill();
    }

    /// Shuts it down as its owner would.
    pub(crate) fn power_off(mut self) {
        self.type_line("poweroff");
        self.emulator.wait(LIMIT);
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let age = self.age().as_secs_f32();
        let log = self.log();
        // Not who logged in, nor what the test typed.
        let of_interest = |line: &&str| {
            let chatter = line.trim().is_empty() || line.contains("dropbear[");
            !chatter && !line.starts_with("mark") && !line.starts_with("m=mark")
        };
        let lines: Vec<_> = log.lines().filter(of_interest).collect();
        let shown = if std::thread::panicking() {
            60
        } else {
            SHOWN_LINES
        };
        let tail = &lines[lines.len().saturating_sub(shown)..];
        say(&format!(
            "[{}, {age:.1} s] {}\n",
            self.name,
            tail.join(&format!("\n[{}] ", self.name))
        ));
    }
}

fn connect(sockets: &TempDir, part: &str) -> UnixStream {
    UnixStream::connect(sockets.path().join(part)).unwrap()
}

fn read_prompt(monitor: &mut UnixStream) {
    let mut said = Vec::new();
    let mut part = [0; 512];
    while !said.ends_with(b"(qemu) ") {
        let length = monitor.read(&mut part).unwrap();
        assert!(length > 0, "the monitor is gone");
        said.extend_from_slice(&part[..length]);
    }
}

fn logs() -> PathBuf {
    let folder = repository();
    let folder = folder.join("target/machines/logs");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Shown for tests that succeed too.
pub(crate) fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).ok();
}
