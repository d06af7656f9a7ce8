//! [`Failure`]: an error that knows its exit status and what may help.

use std::error::Error;
use std::fmt;

use crate::exit::Exit;

/// What was attempted, on what, why it failed, and a hint where there is something to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure that reads `message`: what was attempted and on what, lower case, no full stop.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            cause: None,
        }
    }

    /// Adds what the reader can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error below.
    pub(crate) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The exit status of this failure.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// The exit status that `error` asks for: that of the failure inside, else [`Exit::Failed`].
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .downcast_ref::<Failure>()
        .map_or(Exit::Failed, Failure::exit)
}

/// The hint of `error`, if it has one.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.hint.as_deref()
}

/// `error` and its causes on one line, each said once.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn context_keeps_exit_and_hint() {
        let failure = Failure::new(Exit::NotFound, "show device cam-1: device not found")
            .hint("list them with `moorline device list`");
        let error = Err::<(), _>(failure).context("outer").unwrap_err();
        assert_eq!(exit_of(&error), Exit::NotFound);
        assert_eq!(
            hint_of(&error),
            Some("list them with `moorline device list`")
        );
        assert_eq!(chain(&error), "outer: show device cam-1: device not found");
    }

    #[test]
    fn a_cause_that_repeats_its_parent_is_said_once() {
        let io = std::io::Error::other("disk is full");
        let error: anyhow::Error = Failure::new(Exit::Failed, "write token: disk is full")
            .because(io)
            .into();
        assert_eq!(chain(&error), "write token: disk is full");
    }
}
