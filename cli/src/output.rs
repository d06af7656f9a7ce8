//! [`Output`]: the one module that prints. Data goes to stdout, talk goes to stderr.

mod table;

pub(crate) use table::{Mark, Table};

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use moorline_protocol::Secret;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{self, Failure};

/// In which shape data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and lines for a person.
    Human,
    /// One JSON document.
    Json,
}

/// Longest line read as a password or an answer, in bytes.
const MAX_LINE: u64 = 4096;

/// Where a command puts what it has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    colour_out: bool,
    colour_err: bool,
}

impl Output {
    /// Output in `format`, with colours where a terminal shows them and nobody objects.
    pub(crate) fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        Self {
            format,
            colour_out: wanted && io::stdout().is_terminal(),
            colour_err: wanted && io::stderr().is_terminal(),
        }
    }

    /// Prints the data of a command: `json`, or what `human` makes of it.
    pub(crate) fn data<T: Serialize>(
        &self,
        json: &T,
        human: impl FnOnce(&Self) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => {
                let mut stdout = io::stdout().lock();
                serde_json::to_writer_pretty(&mut stdout, json).map_err(io::Error::from)?;
                writeln!(stdout)?;
                stdout.flush()?;
            }
            Format::Human => human(self)?,
        }
        Ok(())
    }

    /// Prints `text` as it is on stdout: a script, a config.
    pub(crate) fn raw(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Whether somebody looks at stdout.
    pub(crate) fn is_terminal(&self) -> bool {
        self.format == Format::Human && io::stdout().is_terminal()
    }

    /// Prints a line of data on stdout.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.raw(&format!("{}\n", printable(text)))
    }

    /// Prints `table` on stdout, as wide as the terminal.
    pub(crate) fn table(&self, table: Table) -> io::Result<()> {
        let terminal = io::stdout().is_terminal();
        self.raw(&table.render(terminal, self.colour_out))
    }

    /// Tells the operator something, on stderr.
    pub(crate) fn say(&self, text: &str) {
        self.talk(&printable(text));
    }

    /// Warns the operator.
    pub(crate) fn warn(&self, text: &str) {
        self.talk(&format!(
            "{} {}",
            self.painted("33", "warning:"),
            printable(text)
        ));
    }

    /// Tells why the command failed, and what may help.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let text = printable(&failure::chain(error));
        self.talk(&format!("{} {text}", self.painted("31", "error:")));
        if let Some(hint) = failure::hint_of(error) {
            self.talk(&format!(
                "{} {}",
                self.painted("36", "hint:"),
                printable(hint)
            ));
        }
    }

    /// Asks a question that only yes answers; without a terminal to ask on, a usage failure.
    pub(crate) fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("{question} nobody is here to answer");
            return Err(Failure::new(Exit::Usage, message)
                .hint("say --yes to go on without being asked")
                .into());
        }
        self.prompt(&format!("{question} [y/N] "));
        let answer = read_line()?.to_lowercase();
        Ok(matches!(answer.as_str(), "y" | "yes"))
    }

    /// Asks for a line of text.
    pub(crate) fn ask(&self, question: &str, flag: &str) -> anyhow::Result<String> {
        if !io::stdin().is_terminal() {
            let message = format!("{question}: nobody is here to answer");
            return Err(Failure::new(Exit::Usage, message)
                .hint(format!("give {flag}"))
                .into());
        }
        self.prompt(&format!("{question}: "));
        read_line()
    }

    /// Asks for a password, which is not shown.
    pub(crate) fn ask_password(&self, question: &str) -> anyhow::Result<Secret<String>> {
        rpassword::prompt_password(format!("{question}: "))
            .map(Secret::new)
            .map_err(|error| {
                Failure::new(Exit::Usage, format!("{question}: no terminal to ask on"))
                    .because(error)
                    .hint("pipe it in with --password-stdin")
                    .into()
            })
    }

    /// The password in the first line of stdin.
    pub(crate) fn password_from_stdin(&self) -> anyhow::Result<Secret<String>> {
        let password = read_line()?;
        if password.is_empty() {
            let failure = Failure::new(Exit::Usage, "read password: stdin is empty");
            return Err(failure.into());
        }
        Ok(Secret::new(password))
    }

    /// A bar that counts up to `total`; it is drawn on a terminal only.
    pub(crate) fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A line that moves while something is waited for; it is drawn on a terminal only.
    pub(crate) fn spinner(&self) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(200));
        spinner
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour_err {
            format!("\x1b[1;{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn talk(&self, line: &str) {
        self.prompt(&format!("{line}\n"));
    }

    fn prompt(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // A closed stderr is no reason to stop, and there is nowhere left to say so.
        drop(
            stderr
                .write_all(text.as_bytes())
                .and_then(|()| stderr.flush()),
        );
    }
}

fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::Read::take(io::stdin().lock(), MAX_LINE).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// `text` without what could steer a terminal: names and inventory come from devices.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_defused() {
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{9b}"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}"
        );
        assert_eq!(printable("Zürich 7"), "Zürich 7");
    }
}
