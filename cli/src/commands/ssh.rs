//! `moorline ssh`.

use std::os::unix::process::CommandExt as _;

use moorline_protocol::operator::DeviceEnvelope;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::finding;
use crate::gateway::{Route, is_device_name, is_login, shell_word};
use crate::session::Session;

/// Log in to a device with the ssh of this machine
///
/// The gateway opens the session on the device. With -l the session goes end to end to the device's own
/// sshd, which then asks for a password or key of its own. The exit status is that of ssh.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name of the device, or short id or name of a host
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

const EXAMPLES: &str = "Examples:
  moorline ssh cam000001
  moorline ssh cam000001 -- uptime
  moorline ssh cam000001 -l root
  moorline ssh cam000001 --print";

#[derive(Serialize)]
struct CommandLine<'a> {
    command: &'a [String],
}

/// Becomes ssh.
pub(crate) async fn run(mut session: Session, mut arguments: Arguments) -> anyhow::Result<()> {
    if !is_device_name(&arguments.device) {
        let message = format!("log in to {}: not a device name", arguments.device);
        return Err(Failure::new(Exit::NotFound, message)
            .hint("`moorline device list` shows the devices")
            .into());
    }
    let gateway = session.gateway().await?;
    let mut host = None;
    match meant(&session, &arguments.device).await? {
        Meant::Device(name) => arguments.device = name,
        Meant::Host(short_id) => host = Some(short_id),
    }
    let known_hosts = session.store.known_hosts(&session.name);
    let identities = session.identities();
    let route = Route {
        gateway: &gateway,
        profile: &session.name,
        operator: &session.profile.username,
        known_hosts: &known_hosts,
        identities: &identities,
    };
    let line = command_line(&route, &arguments, host.as_deref())?;
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

/// What a name on the command line stands for.
enum Meant {
    /// A device by its name: operators log in at it as themselves.
    Device(String),
    /// A host by its short id: its users log in with nothing more.
    Host(String),
}

/// What `name` means. Where the server does not say, it is a device: ssh needs no API. What is neither device nor host
/// is refused here, where a better name can be told.
async fn meant(session: &Session, name: &str) -> anyhow::Result<Meant> {
    let as_device = || Meant::Device(name.to_owned());
    let mut no_device = None;
    // One device is looked up at once, and nearly always it is one; an account may have many hosts.
    if session.is_admin() {
        let path = ["v1", "admin", "devices", name];
        let attempt = format!("log in to {name}");
        let found: anyhow::Result<DeviceEnvelope> = session.api.get(&attempt, &path, &[]).await;
        match found {
            Err(error) if failure::exit_of(&error) == Exit::NotFound => no_device = Some(error),
            _ => return Ok(as_device()),
        }
    }
    match finding::host(session, name).await {
        Ok(host) if session.is_admin() && host.kind == "device" => Ok(Meant::Device(host.hostname)),
        // A server of an earlier version does not tell its users.
        Ok(host) if host.short_id.is_empty() => Ok(as_device()),
        Ok(host) => Ok(Meant::Host(host.short_id)),
        Err(error) => match (failure::exit_of(&error), no_device) {
            (Exit::Refused | Exit::Unreachable, _) => Ok(as_device()),
            (Exit::NotFound, Some(no_device)) if !finding::suggests(&error) => {
                finding::or_suggest_device(session, name, Err(no_device)).await
            }
            _ => Err(error),
        },
    }
}

fn command_line(
    route: &Route<'_>,
    arguments: &Arguments,
    host: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let mut line = vec!["ssh".to_owned()];
    if arguments.tty {
        line.push("-t".to_owned());
    }
    if let Some(identity) = &arguments.identity {
        line.extend(["-i".to_owned(), identity.clone()]);
    }
    let target = match (&arguments.login, host) {
        (None, Some(short_id)) => route.host(short_id),
        (None, None) => route.session(&arguments.device),
        (Some(login), _) if is_login(login) => {
            route.end_to_end(&arguments.device, login, arguments.identity.as_deref())
        }
        (Some(login), _) => {
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
