//! The command line, and which command runs for it.

use clap::{Parser, Subcommand};

use crate::commands::{
    api_client, api_key, change_password, completions, device, egress, event, expose, forward,
    host, key, key_binding, link, login, logout, node, profile, session, ssh, ssh_config, task,
    user, version, whoami,
};
use crate::output::{Format, Output};
use crate::profile::{ProfileName, Store};
use crate::session::Context;

const EXIT_STATUSES: &str = "Examples:
  moorline login https://moor.example.com:8080 --username admin
  moorline device list
  moorline ssh cam000001
  moorline host create --user udo --device cam000001
  moorline event follow

Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, \
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
    Session(session::Command),
    #[command(subcommand)]
    Forward(forward::Command),
    #[command(subcommand)]
    Node(node::Command),
    #[command(subcommand)]
    Host(host::Command),
    #[command(subcommand)]
    Task(task::Command),
    #[command(subcommand)]
    Key(key::Command),
    Link(link::Arguments),
    Ssh(ssh::Arguments),
    Expose(expose::Arguments),
    SshConfig(ssh_config::Arguments),
    #[command(subcommand)]
    ApiClient(api_client::Command),
    /// Older words for a part of `api-client`
    #[command(subcommand, hide = true)]
    ApiKey(api_key::Command),
    #[command(subcommand)]
    KeyBinding(key_binding::Command),
    #[command(subcommand)]
    User(user::Command),
    #[command(subcommand)]
    Egress(egress::Command),
    #[command(subcommand)]
    Event(event::Command),
    Completions(completions::Arguments),
    /// Names that may stand at the end of a command line; the scripts of `completions` ask for them
    #[command(hide = true, name = completions::NAMES)]
    Names(completions::NamesArguments),
    ChangePassword(change_password::Arguments),
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
            Command::Session(command) => session::run(&context()?.session()?, command).await,
            Command::Forward(command) => forward::run(&context()?.session()?, command).await,
            Command::Node(command) => node::run(&context()?.session()?, command).await,
            Command::Host(command) => host::run(&context()?.session()?, command).await,
            Command::Task(command) => task::run(&context()?.session()?, command).await,
            Command::Key(command) => key::run(&context()?.session()?, command).await,
            Command::KeyBinding(command) => key_binding::run(&context()?.session()?, command).await,
            Command::Link(arguments) => link::run(context()?.session()?, arguments).await,
            Command::Ssh(arguments) => ssh::run(context()?.session()?, arguments).await,
            Command::Expose(arguments) => expose::run(&context()?.session()?, arguments).await,
            Command::SshConfig(arguments) => ssh_config::run(&context()?, arguments).await,
            Command::ApiClient(command) => api_client::run(&context()?.session()?, command).await,
            Command::ApiKey(command) => api_key::run(&context()?.session()?, command).await,
            Command::User(command) => user::run(&context()?.session()?, command).await,
            Command::Egress(command) => egress::run(&context()?.session()?, command).await,
            Command::Event(command) => event::run(&context()?.session()?, command).await,
            Command::Completions(arguments) => completions::run(output, &arguments),
            Command::Names(arguments) => {
                let context = context()?;
                completions::names(&context, &arguments).await;
                Ok(())
            }
            Command::ChangePassword(arguments) => {
                change_password::run(&context()?.session()?, &arguments).await
            }
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
    fn examples_are_right() {
        let mut seen = 0;
        let mut command = Arguments::command();
        let own = command.render_help().to_string();
        let bare = [
            "completions",
            "logout",
            "whoami",
            "version",
            "node",
            "key-binding",
            "help",
        ];
        let nouns = command
            .get_subcommands_mut()
            .filter(|noun| !noun.is_hide_set() && !bare.contains(&noun.get_name()))
            .map(|noun| noun.render_help().to_string());
        for help in nouns.chain([own]) {
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{help}"));
            let lines = examples.lines().take_while(|line| line.starts_with("  "));
            for line in lines.map(str::trim) {
                // What a shell does around it is no affair of ours.
                let line = line.split(" < ").next().unwrap();
                let line = line.rsplit(" | ").next().unwrap();
                let parsed = Arguments::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(line.chars().count() <= 98, "{line}");
                seen += 1;
            }
        }
        assert!(seen >= 60, "{seen}");
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
