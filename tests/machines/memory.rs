use std::fmt;

use crate::boot::Boot;

/// What the agent takes, of `/proc/<pid>/status`, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The part that is not of its file: heap and stacks.
    anonymous: u64,
}

impl Memory {
    /// Asked at the console: a session through the tunnel would take memory of its own.
    pub(crate) fn of_agent(boot: &mut Boot) -> Self {
        let text = boot.run("agent-memory");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            value.unwrap_or_else(|| panic!("no {name} in {text:?}"))
        };
        Self {
            resident: field("VmRSS:"),
            anonymous: field("RssAnon:"),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.resident, self.anonymous)
    }
}
