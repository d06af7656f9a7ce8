//! The command line, and which command runs for it.

use clap::{Parser, Subcommand};

use crate::commands::{
    api_key, audit, completions, device, host, key, login, logout, profile, ssh, ssh_config, task,
    version, whoami,
};
use crate::output::{Format, Output};
use crate::profile::{ProfileName, Store};
use crate::session::Context;

const EXIT_STATUSES: &str = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, \
     4 refused (log in again), 5 server unreachable";

/// Look after devices and reach them by ssh.
#[derive(Debug, Parser)]
#[command(name = "moorline", version, after_help = EXIT_STATUSES)]
pub(crate) struct Arguments {
    /// Profile to use, when it is not the current one
    #[arg(long, global = true, env = "MOORLINE_PROFILE", value_name = "NAME")]
    profile: Option<ProfileName>,

    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Login(login::Arguments),
    Logout(logout::Arguments),
    #[command(subcommand)]
    Profile(profile::Command),
    #[command(subcommand)]
    Device(device::Command),
    #[command(subcommand)]
    Host(host::Command),
    #[command(subcommand)]
    Task(task::Command),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Key(key::Command),
    Ssh(ssh::Arguments),
    SshConfig(ssh_config::Arguments),
    #[command(subcommand)]
    ApiKey(api_key::Command),
    Completions(completions::Arguments),
    Whoami(whoami::Arguments),
    Version(version::Arguments),
}

impl Arguments {
    /// How data is to be printed.
    pub(crate) fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Human
        }
    }

    /// Runs the command.
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        let context = || -> anyhow::Result<Context> {
            Ok(Context {
                output,
                store: Store::of_user()?,
                asked: self.profile,
            })
        };
        match self.command {
            Command::Login(arguments) => login::run(context()?, arguments).await,
            Command::Logout(_) => logout::run(&context()?),
            Command::Profile(command) => profile::run(&context()?, command),
            Command::Device(command) => device::run(&context()?.session()?, command).await,
            Command::Host(command) => host::run(&context()?.session()?, command).await,
            Command::Task(command) => task::run(&context()?.session()?, command).await,
            Command::Audit(command) => audit::run(&context()?.session()?, command).await,
            Command::Key(command) => key::run(&context()?.session()?, command).await,
            Command::Ssh(arguments) => ssh::run(context()?.session()?, arguments).await,
            Command::SshConfig(arguments) => ssh_config::run(&context()?, arguments).await,
            Command::ApiKey(command) => api_key::run(&context()?.session()?, command).await,
            Command::Completions(arguments) => completions::run(output, &arguments),
            Command::Whoami(_) => whoami::run(context()?.session()?).await,
            Command::Version(_) => version::run(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn ssh_takes_its_own_options_and_leaves_the_command_alone() {
        for line in [
            "moorline ssh cam1 -l root -- ls -l",
            "moorline ssh -l root cam1 ls -l",
            "moorline ssh cam1 -l root ls -l",
        ] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let Command::Ssh(ssh) = arguments.command else {
                panic!("{line}");
            };
            assert_eq!(ssh.command, ["ls", "-l"], "{line}");
            assert_eq!(ssh.login.as_deref(), Some("root"), "{line}");
        }
    }

    #[test]
    fn a_password_has_no_argument() {
        let line = ["moorline", "login", "https://a", "--password", "hush"];
        assert!(Arguments::try_parse_from(line).is_err());
    }
}
