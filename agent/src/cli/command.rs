//! The command line, read.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use thiserror::Error;

use super::show::Form;

/// What `--help` prints.
pub(super) const HELP: &str = "\
Connects this device to its Moorline server: enrols at first boot, then holds the tunnel for ever.

Usage: moorline-agent [--config FILE] [COMMAND] [--json]

Commands:
  run            Enrol if needed and hold the tunnel (the default)
  enrol          Enrol once and end: 0 when the device is enrolled, else the reason; safe to repeat
  status         Say what the running agent is doing; 0 when its tunnel is up
  doctor         Find out what keeps the tunnel down: link, DNS, clock, proxy, TLS, API key, SSH, forward
  factory-reset  Forget key, identity and script: the next start is a first boot. The server keeps the old client
  unenrol        Delete the client at the server (needs an API key with device:delete), then forget everything here
  check-config   Say whether run could use the configuration: 0, or 2 with the reason
  version        Print the version
  help           Print this

Options:
      --config FILE  Configuration file [default: /etc/moorline/agent.toml, may be absent]
      --json         Print one JSON object (status, doctor)
  -h, --help         Print this
  -V, --version      Print the version

Settings come from /etc/moorline/agent.toml, over it from the kernel command line (moorline.api_url=...),
over that from the environment (MOORLINE_API_URL=...). The least that is needed at first boot:
  MOORLINE_API_URL=https://moorline.example.com MOORLINE_API_KEY=... moorline-agent run

Exit status: 0 done, 1 failed, 2 usage or configuration, 3 not enrolled, 4 refused, 5 unreachable
";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Enrol if needed and hold the tunnel.
    Run,
    /// Enrol once and end.
    Enrol,
    /// Ask the running agent how it stands.
    Status(Form),
    /// Find out what is in the way.
    Doctor(Form),
    /// Go back to before the first boot.
    FactoryReset,
    /// Delete the client at the server, then go back.
    Unenrol,
    /// Say whether the configuration can be used.
    CheckConfig,
    /// Print the version.
    Version,
    /// Print [`HELP`].
    Help,
}

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// The configuration file, if one is named.
    pub(super) config: Option<PathBuf>,
    /// What is to be done.
    pub(super) verb: Verb,
}

/// Why a command line cannot be read.
#[derive(Debug, Error)]
pub(super) enum UsageError {
    /// There is no such command.
    #[error("there is no command {0:?}")]
    NoSuchCommand(String),
    /// The command prints text only.
    #[error("--json is for status and doctor")]
    NoJson,
    /// Anything else.
    #[error(transparent)]
    Arguments(#[from] lexopt::Error),
}

impl Command {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// [`UsageError`].
    pub(super) fn read<I>(arguments: I) -> Result<Self, UsageError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut config, mut word, mut form) = (None, None, Form::Text);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("config") => config = Some(PathBuf::from(parser.value()?)),
                Long("json") => form = Form::Json,
                Short('h') | Long("help") => word = Some("help".to_owned()),
                Short('V') | Long("version") => word = Some("version".to_owned()),
                // Behind `help` stands the command to be explained; the one text explains them all.
                Value(value) if word.is_none() => word = Some(value.string()?),
                Value(_) if word.as_deref() == Some("help") => {}
                other => return Err(other.unexpected().into()),
            }
        }
        let verb = verb(word.as_deref().unwrap_or("run"), form)?;
        Ok(Self { config, verb })
    }
}

fn verb(word: &str, form: Form) -> Result<Verb, UsageError> {
    let verb = match word {
        "status" => return Ok(Verb::Status(form)),
        "doctor" => return Ok(Verb::Doctor(form)),
        "run" => Verb::Run,
        "enrol" => Verb::Enrol,
        "factory-reset" => Verb::FactoryReset,
        "unenrol" => Verb::Unenrol,
        "check-config" => Verb::CheckConfig,
        "version" => Verb::Version,
        "help" => Verb::Help,
        other => return Err(UsageError::NoSuchCommand(other.to_owned())),
    };
    match form {
        Form::Text => Ok(verb),
        Form::Json => Err(UsageError::NoJson),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        Command::read(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_stand_before_and_behind_the_command() {
        for (line, config, verb) in [
            ("", None, Verb::Run),
            ("run", None, Verb::Run),
            ("--config a.toml", Some("a.toml"), Verb::Run),
            ("--config=a.toml enrol", Some("a.toml"), Verb::Enrol),
            ("enrol --config a.toml", Some("a.toml"), Verb::Enrol),
            ("status", None, Verb::Status(Form::Text)),
            ("--json status", None, Verb::Status(Form::Json)),
            ("doctor --json", None, Verb::Doctor(Form::Json)),
            ("factory-reset", None, Verb::FactoryReset),
            ("unenrol", None, Verb::Unenrol),
            ("check-config", None, Verb::CheckConfig),
            ("version", None, Verb::Version),
            ("-V", None, Verb::Version),
            ("--help", None, Verb::Help),
            ("status -h", None, Verb::Help),
            ("help status", None, Verb::Help),
        ] {
            let config = config.map(PathBuf::from);
            assert_eq!(read(line), Ok(Command { config, verb }), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, words) in [
            ("bla", "there is no command \"bla\""),
            ("--confi x", "invalid option '--confi'"),
            ("run twice", "unexpected argument \"twice\""),
            ("status --config", "missing argument for option '--config'"),
            ("run --json", "--json is for status and doctor"),
        ] {
            assert_eq!(read(line), Err(words.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_help_names_every_command() {
        for word in HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        {
            if !word.is_empty() && !word.starts_with('-') && !word.contains('=') {
                verb(word, Form::Text).unwrap();
            }
        }
    }
}
