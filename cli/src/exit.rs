//! [`Exit`]: what the exit status of `moorline` says.

use std::process::ExitCode;

/// Exit statuses, the same for every command. `moorline ssh` ends with the status of `ssh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It did not work, for a reason that none of the others names.
    Failed = 1,
    /// The command line is not understood, or needs an answer that nobody is there to give.
    Usage = 2,
    /// There is no such device, key or profile.
    NotFound = 3,
    /// The server refused: not logged in, not allowed, or its host key is not the known one.
    Refused = 4,
    /// The server does not answer.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
