//! The constants block of the client script (`contract/provisioning.md` section 5).
//!
//! *Invariant:* the block is data. It is read here, never executed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use thiserror::Error;

/// First line of every client script.
pub const SHEBANG: &str = "#!/bin/sh";
/// Line that opens the block; always the second of the script.
pub const BEGIN: &str = "# --- moorline constants begin ---";
/// Line that closes the block.
pub const END: &str = "# --- moorline constants end ---";
/// Longest script that is read, in bytes. Ours has about 10 KiB.
pub const MAX_SCRIPT_BYTES: usize = 256 * 1024;

/// Why a text is not a client script.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScriptError {
    /// More than [`MAX_SCRIPT_BYTES`].
    #[error("client script has {0} bytes, at most {MAX_SCRIPT_BYTES} are read")]
    TooLong(usize),
    /// The first two lines are not those of a client script.
    #[error("client script does not begin with `{SHEBANG}` and the constants block")]
    NoBlock,
    /// The closing line never came.
    #[error("constants block of the client script is not closed")]
    NotClosed,
    /// A line inside the block is not `NAME='value'`.
    #[error("line {0} of the client script is not NAME='value'")]
    BadLine(usize),
    /// A constant that is needed is not there.
    #[error("client script lacks the constant {0}")]
    Missing(&'static str),
    /// A constant is there but cannot be used.
    #[error("constant {name} of the client script is not {expected}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// What was expected.
        expected: &'static str,
    },
}

/// The names and values of a constants block, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constants(BTreeMap<String, String>);

impl Constants {
    /// Reads the block of `script`. Unknown names are kept; of a repeated one the last counts.
    ///
    /// # Errors
    /// [`ScriptError`] when the text is no client script or a line of the block is malformed.
    pub fn parse(script: &str) -> Result<Self, ScriptError> {
        if script.len() > MAX_SCRIPT_BYTES {
            return Err(ScriptError::TooLong(script.len()));
        }
        let mut lines = script.split('\n').enumerate();
        let opened = lines.next().is_some_and(|(_, line)| line == SHEBANG)
            && lines.next().is_some_and(|(_, line)| line == BEGIN);
        if !opened {
            return Err(ScriptError::NoBlock);
        }
        let mut constants = BTreeMap::new();
        for (index, line) in lines {
            if line == END {
                return Ok(Self(constants));
            }
            let (name, value) = constant(line).ok_or(ScriptError::BadLine(index + 1))?;
            constants.insert(name.to_owned(), value.to_owned());
        }
        Err(ScriptError::NotClosed)
    }

    /// The value of `name`; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// [`ScriptError::Missing`] when it is absent or empty.
    pub fn require(&self, name: &'static str) -> Result<&str, ScriptError> {
        self.get(name).ok_or(ScriptError::Missing(name))
    }

    /// The value of `name` as a port, 1 to 65535.
    ///
    /// # Errors
    /// [`ScriptError::Missing`] or [`ScriptError::Invalid`].
    pub fn require_port(&self, name: &'static str) -> Result<u16, ScriptError> {
        let expected = "a port from 1 to 65535";
        self.require(name)?
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(ScriptError::Invalid { name, expected })
    }

    /// Sets `name`. `'` and line breaks, which the block cannot hold, become `_`.
    ///
    /// # Panics
    /// Never; a `name` that is not `[A-Z][A-Z0-9_]*` is left out of what is written.
    pub fn set(&mut self, name: &str, value: &str) {
        if is_name(name) {
            let value = value.replace(['\'', '\n', '\r', '\0'], "_");
            self.0.insert(name.to_owned(), value);
        }
    }

    /// The block with its opening and closing lines, each line ended by a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("{BEGIN}\n");
        for (name, value) in &self.0 {
            // Writing into a String cannot fail.
            writeln!(text, "{name}='{value}'").unwrap_or_default();
        }
        text.push_str(END);
        text.push('\n');
        text
    }
}

/// `text` as it may stand in `CLIENT_NAME`: what is outside `A-Z a-z 0-9 . _ @ -` and blank becomes `_`.
#[must_use]
pub fn script_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._@- ".contains(c);
    text.chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

fn constant(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once('=')?;
    let value = rest.strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = !value.contains(['\'', '\r', '\0']);
    (is_name(name) && plain).then_some((name, value))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(lines: &str) -> String {
        format!("{SHEBANG}\n{BEGIN}\n{lines}{END}\nexit 0\n")
    }

    #[test]
    fn a_written_block_reads_back() {
        let mut constants = Constants::default();
        constants.set("HOST_UUID", "dfb39cdd-9140-4d74-9e26-a2f00bc3bad2");
        constants.set("REMOTE_PORT", "40022");
        constants.set("CLIENT_NAME", "it's\nme");
        let text = format!("{SHEBANG}\n{}", constants.render());
        let read = Constants::parse(&text).unwrap();
        assert_eq!(read, constants);
        assert_eq!(read.get("CLIENT_NAME"), Some("it_s_me"));
        assert_eq!(read.require_port("REMOTE_PORT"), Ok(40022));
    }

    #[test]
    fn what_is_not_a_script_is_refused() {
        assert_eq!(
            Constants::parse("{\"message\":\"x\"}"),
            Err(ScriptError::NoBlock)
        );
        assert_eq!(
            Constants::parse(&format!("{SHEBANG}\n\n{BEGIN}\n")),
            Err(ScriptError::NoBlock)
        );
        assert_eq!(
            Constants::parse(&format!("{SHEBANG}\n{BEGIN}\nA='1'")),
            Err(ScriptError::NotClosed)
        );
        for line in [
            "A=1",
            "a='1'",
            "A='1'; rm -rf /",
            "A='it's'",
            "A=\"1\"",
            " A='1'",
            "",
            "='1'",
            "A='",
        ] {
            let text = script(&format!("{line}\n"));
            assert_eq!(
                Constants::parse(&text),
                Err(ScriptError::BadLine(3)),
                "{line}"
            );
        }
        let long = "x".repeat(MAX_SCRIPT_BYTES + 1);
        assert_eq!(
            Constants::parse(&long),
            Err(ScriptError::TooLong(long.len()))
        );
    }

    #[test]
    fn an_empty_value_is_absent_and_ports_are_checked() {
        let constants = Constants::parse(&script("DB_SERVER_KEY=''\nSERVER_PORT='0'\n")).unwrap();
        assert_eq!(constants.get("DB_SERVER_KEY"), None);
        assert!(matches!(
            constants.require_port("SERVER_PORT"),
            Err(ScriptError::Invalid {
                name: "SERVER_PORT",
                ..
            })
        ));
    }

    #[test]
    fn names_are_made_safe_for_the_block() {
        assert_eq!(script_name("Büro 3/'x'@home"), "B_ro 3__x_@home");
    }
}
