//! `moorline ssh`.

use std::os::unix::process::CommandExt as _;

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::gateway::{Route, is_device_name, is_login, shell_word};
use crate::session::Session;

/// Log in to a device with the ssh of this machine
///
/// The gateway opens the session on the device. With -l the session goes end to end to the device's own
/// sshd, which then asks for a password or key of its own. The exit status is that of ssh.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the device
    device: String,

    /// Log in at the device's own sshd as this user
    #[arg(long = "login", short = 'l', value_name = "USER")]
    pub(crate) login: Option<String>,

    /// Private key to use
    #[arg(long, short, value_name = "FILE")]
    identity: Option<String>,

    /// Ask for a terminal even for a command
    #[arg(long = "tty", short = 't')]
    tty: bool,

    /// Option for ssh, as its own -o
    #[arg(long = "option", short = 'o', value_name = "OPTION")]
    options: Vec<String>,

    /// Print the command instead of running it
    #[arg(long)]
    print: bool,

    /// What to run on the device; without it, a shell
    #[arg(trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Serialize)]
struct CommandLine<'a> {
    command: &'a [String],
}

/// Becomes ssh.
pub(crate) async fn run(mut session: Session, arguments: Arguments) -> anyhow::Result<()> {
    if !is_device_name(&arguments.device) {
        let message = format!("log in to {}: not a device name", arguments.device);
        return Err(Failure::new(Exit::NotFound, message)
            .hint("`moorline device list` shows the devices")
            .into());
    }
    let gateway = session.gateway().await?;
    let known_hosts = session.store.known_hosts(&session.name);
    let identities = session.identities();
    let route = Route {
        gateway: &gateway,
        profile: &session.name,
        operator: &session.profile.username,
        known_hosts: &known_hosts,
        identities: &identities,
    };
    let line = command_line(&route, &arguments)?;
    if arguments.print {
        return session
            .output
            .data(&CommandLine { command: &line }, |output| {
                let words: Vec<String> = line.iter().map(|word| shell_word(word)).collect();
                output.line(&words.join(" "))
            });
    }
    let mut words = line.iter();
    let program = words.next().map_or("ssh", String::as_str);
    // Returns only if there is no such program.
    let error = std::process::Command::new(program).args(words).exec();
    Err(Failure::new(Exit::Failed, "start ssh")
        .because(error)
        .hint("install the OpenSSH client")
        .into())
}

fn command_line(route: &Route<'_>, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let mut line = vec!["ssh".to_owned()];
    if arguments.tty {
        line.push("-t".to_owned());
    }
    if let Some(identity) = &arguments.identity {
        line.extend(["-i".to_owned(), identity.clone()]);
    }
    let target = match &arguments.login {
        None => route.session(&arguments.device),
        Some(login) if is_login(login) => {
            route.end_to_end(&arguments.device, login, arguments.identity.as_deref())
        }
        Some(login) => {
            let message = format!("log in as {login}: not a login name");
            return Err(Failure::new(Exit::Usage, message));
        }
    };
    line.extend(target);
    // Ours come first, and of two values for an option ssh takes the first: checks cannot be turned off.
    let host = line.pop();
    for option in &arguments.options {
        line.extend(["-o".to_owned(), option.clone()]);
    }
    line.extend(host);
    if !arguments.command.is_empty() {
        line.push("--".to_owned());
        line.extend(arguments.command.iter().cloned());
    }
    Ok(line)
}
