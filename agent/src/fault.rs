//! Fault points: with the feature `fault-points` a test can have the process killed at any step of first boot.
//!
//! `MOORLINE_FAULT=<n>` kills it with SIGKILL at the n-th point it passes (from 1); `MOORLINE_FAULT_LOG=<file>`
//! appends one line with the name of each point passed, so that a test knows how many there are. Without the
//! feature, [`point`] is nothing.

/// A step at which the power may go.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub(crate) const fn point(_name: &str) {}

/// A step at which the power may go.
#[cfg(feature = "fault-points")]
pub(crate) fn point(name: &str) {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    static PASSED: AtomicU32 = AtomicU32::new(0);
    let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(path) = std::env::var_os("MOORLINE_FAULT_LOG") {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        if let Ok(mut log) = log {
            writeln!(log, "{number} {name}").unwrap_or_default();
        }
    }
    let fatal = std::env::var("MOORLINE_FAULT").ok();
    if fatal.and_then(|text| text.parse().ok()) == Some(number) {
        let this = nix::unistd::Pid::this();
        nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGKILL).unwrap_or_default();
        // The signal to the process is delivered before the call returns to any of its threads; be sure anyway.
        loop {
            std::thread::park();
        }
    }
}
