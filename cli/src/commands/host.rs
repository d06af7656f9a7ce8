//! `moorline host`.

use moorline_protocol::operator::DeviceEnvelope;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Mark, Table};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  moorline host create --user udo --device cam000001
  moorline host policy ab12cd --record on
  moorline host stop ab12cd";

/// Hosts: machines of users, which are devices or managed containers
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show all hosts, last changed first
    #[command(visible_alias = "ls")]
    List,
    /// Show everything known of a host, and how it is reached
    Show {
        /// Short id or UUID
        host: String,
    },
    /// Make a host; its entry password is shown this once
    Create(CreateArguments),
    /// Start hosts
    Start {
        /// Short ids or UUIDs
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Stop hosts
    Stop {
        /// Short ids or UUIDs
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Make a host anew: a device gets other public ports, links and another entry password
    Rebuild {
        /// Short id or UUID
        host: String,
    },
    /// Make another entry password; it is shown this once
    RotatePassword {
        /// Short id or UUID
        host: String,
    },
    /// Say whether sessions are recorded and direct connections allowed
    Policy {
        /// Short id or UUID
        host: String,
        #[command(flatten)]
        policy: PolicyArguments,
    },
    /// Remove hosts; a device is only taken from its user
    Rm {
        /// Short ids or UUIDs
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
        /// Also when they run
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArguments {
    /// Whose: name, short id or UUID
    #[arg(long)]
    user: String,
    /// The device it is, by name or UUID; a container without
    #[arg(long)]
    device: Option<String>,
    /// UUID of the egress IP that a container is bound to
    #[arg(long, value_name = "UUID", conflicts_with = "device")]
    egress_ip: Option<String>,
    /// Slot of a container, unique for the user
    #[arg(long, conflicts_with = "device")]
    slot: Option<String>,
    /// Node that a container runs on
    #[arg(long, conflicts_with = "device")]
    region: Option<String>,
}

/// Switches of a policy.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct PolicyArguments {
    /// Record sessions, and close the ways around the recording
    #[arg(long, value_name = "on|off")]
    pub(crate) record: Option<Switch>,
    /// Allow connections past the gateway's own sessions: ssh -J, ssh -L
    #[arg(long, value_name = "on|off")]
    pub(crate) jump: Option<Switch>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Switch {
    /// As JSON has it.
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct Host {
    id: String,
    short_id: String,
    kind: String,
    status: String,
    hostname: String,
    username: String,
    slot_key: String,
    docker_status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_ip_address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct HostList {
    hosts: Vec<Host>,
}

#[derive(Debug, Deserialize)]
struct UserList {
    users: Vec<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    username: String,
    short_id: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Created {
    host: Value,
    task_id: String,
    short_id: String,
    entry_password: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct NewPassword {
    new_password: String,
}

#[derive(Serialize)]
struct Queued {
    tasks: Vec<QueuedTask>,
}

#[derive(Deserialize, Serialize)]
struct QueuedTask {
    task_id: String,
}

#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

const HOSTS: [&str; 3] = ["v1", "admin", "hosts"];

/// Runs `moorline host`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(session).await,
        Command::Show { host } => show(session, &host).await,
        Command::Create(arguments) => create(session, arguments).await,
        Command::Start { hosts } => act(session, &hosts, "start").await,
        Command::Stop { hosts } => act(session, &hosts, "stop").await,
        Command::Rebuild { host } => act(session, &[host], "rebuild").await,
        Command::RotatePassword { host } => rotate_password(session, &host).await,
        Command::Policy { host, policy } => set_policy(session, &host, policy).await,
        Command::Rm { hosts, force, yes } => remove(session, &hosts, force, yes).await,
    }
}

async fn all(session: &Session) -> anyhow::Result<HostList> {
    session.api.get("list hosts", &HOSTS, &[]).await
}

/// UUID of a host.
async fn find(session: &Session, host: &str) -> anyhow::Result<String> {
    let list = all(session).await?;
    let found = list
        .hosts
        .into_iter()
        .find(|known| known.short_id == host || known.id == host);
    let missing = || Failure::new(Exit::NotFound, format!("find host {host}: host not found"));
    Ok(found.ok_or_else(missing)?.id)
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let list = all(session).await?;
    session.output.data(&list, |output| {
        if list.hosts.is_empty() {
            output.say("no hosts");
            return Ok(());
        }
        let columns = ["HOST", "USER", "KIND", "NAME", "STATUS", "EGRESS"];
        let mut table = Table::new(&columns).cut();
        for host in &list.hosts {
            let status = match host.status.as_str() {
                "running" => Mark::Good,
                "failed" => Mark::Bad,
                _ => Mark::Dim,
            };
            table.row([
                (host.short_id.as_str(), Mark::Plain),
                (&host.username, Mark::Plain),
                (&host.kind, Mark::Plain),
                (&host.hostname, Mark::Plain),
                (&host.status, status),
                (
                    host.egress_ip_address.as_deref().unwrap_or_default(),
                    Mark::Plain,
                ),
            ]);
        }
        output.table(table)
    })
}

async fn show(session: &Session, host: &str) -> anyhow::Result<()> {
    let id = find(session, host).await?;
    let attempt = format!("show host {host}");
    let path = [&HOSTS[..], &[&id]].concat();
    let sheet: Value = session.api.get(&attempt, &path, &[]).await?;
    session.output.data(&sheet, |output| {
        let mut table = Table::bare();
        for (name, pointer) in [
            ("host", "/host/short_id"),
            ("id", "/host/id"),
            ("user", "/user/username"),
            ("kind", "/host/kind"),
            ("name", "/host/hostname"),
            ("status", "/host/status"),
            ("slot", "/host/slot_key"),
            ("time zone", "/host/timezone"),
            ("ssh", "/connection_info/ssh_command"),
            ("by link", "/connection_info/curl_command"),
            ("desktop", "/connection_info/vnc_url"),
            ("device", "/device/client_id"),
            ("connected", "/device/connected"),
            ("made", "/host/created_at"),
            ("changed", "/host/updated_at"),
        ] {
            match sheet.pointer(pointer) {
                Some(Value::String(text)) if !text.is_empty() => table.pair(name, text),
                Some(Value::Bool(yes)) => table.pair(name, if *yes { "yes" } else { "no" }),
                _ => {}
            }
        }
        let bindings = sheet.get("bindings").and_then(Value::as_array);
        for binding in bindings.into_iter().flatten() {
            let text = |name: &str| {
                let value = binding.get("egress_ip").and_then(|egress| egress.get(name));
                value.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let line = format!("{} ({})", text("ip_address"), text("label"));
            table.pair("egress IP", &line);
        }
        output.table(table)
    })
}

async fn create(session: &Session, arguments: CreateArguments) -> anyhow::Result<()> {
    let attempt = format!("make a host of {}", arguments.user);
    let mut wish = Map::new();
    let owner = user(session, &arguments.user).await?;
    wish.insert("user_id".into(), owner.into());
    if let Some(device) = &arguments.device {
        let path = ["v1", "admin", "devices", device.as_str()];
        let found: DeviceEnvelope = session.api.get(&attempt, &path, &[]).await?;
        wish.insert("device_id".into(), found.device.id.into());
    }
    for (name, value) in [
        ("egress_ip_id", arguments.egress_ip),
        ("slot_key", arguments.slot),
        ("region", arguments.region),
    ] {
        if let Some(value) = value {
            wish.insert(name.into(), value.into());
        }
    }
    let made: Created = session
        .api
        .submit(&attempt, Method::POST, &HOSTS, &wish)
        .await?;
    session.output.data(&made, |output| {
        let mut table = Table::bare();
        table.pair("host", &made.short_id);
        table.pair("entry password", &made.entry_password);
        output.table(table)?;
        output.say("the entry password is not shown again");
        Ok(())
    })
}

/// UUID of a user.
async fn user(session: &Session, user: &str) -> anyhow::Result<String> {
    let path = ["v1", "admin", "users"];
    let list: UserList = session.api.get("list users", &path, &[]).await?;
    let found = list
        .users
        .into_iter()
        .find(|known| [&known.username, &known.short_id, &known.id].contains(&&user.to_owned()));
    let missing = || Failure::new(Exit::NotFound, format!("find user {user}: user not found"));
    Ok(found.ok_or_else(missing)?.id)
}

async fn act(session: &Session, hosts: &[String], action: &str) -> anyhow::Result<()> {
    let mut queued = Queued { tasks: Vec::new() };
    for host in hosts {
        let id = find(session, host).await?;
        let attempt = format!("{action} host {host}");
        let path = [&HOSTS[..], &[&id, action]].concat();
        let task: QueuedTask = session
            .api
            .submit(&attempt, Method::POST, &path, &json!({}))
            .await?;
        queued.tasks.push(task);
    }
    session.output.data(&queued, |output| {
        output.say("queued; `moorline task list` shows how far it is");
        Ok(())
    })
}

async fn rotate_password(session: &Session, host: &str) -> anyhow::Result<()> {
    let id = find(session, host).await?;
    let attempt = format!("make another entry password of host {host}");
    let path = [&HOSTS[..], &[&id, "rotate-ssh-password"]].concat();
    let made: NewPassword = session
        .api
        .submit(&attempt, Method::POST, &path, &json!({}))
        .await?;
    session.output.data(&made, |output| {
        output.line(&made.new_password)?;
        output.say("the entry password is not shown again");
        Ok(())
    })
}

async fn set_policy(session: &Session, host: &str, policy: PolicyArguments) -> anyhow::Result<()> {
    let id = find(session, host).await?;
    let attempt = format!("set the policy of host {host}");
    let path = [&HOSTS[..], &[&id]].concat();
    let mut change = Map::new();
    if let Some(record) = policy.record {
        change.insert("recording_required".into(), record.is_on().into());
    }
    if let Some(jump) = policy.jump {
        change.insert("direct_tcpip_allowed".into(), jump.is_on().into());
    }
    let answer: Value = session
        .api
        .submit(&attempt, Method::PATCH, &path, &change)
        .await?;
    session.output.data(&answer, |output| {
        output.say(&format!("the policy of {host} is set"));
        Ok(())
    })
}

async fn remove(session: &Session, hosts: &[String], force: bool, yes: bool) -> anyhow::Result<()> {
    if !yes {
        let question = format!("remove {} for good?", hosts.join(", "));
        if !session.output.confirm(&question)? {
            session.output.say("nothing removed");
            return Ok(());
        }
    }
    let mut answer = Removed {
        removed: Vec::new(),
    };
    for host in hosts {
        let id = find(session, host).await?;
        let attempt = format!("remove host {host}");
        let path = [&HOSTS[..], &[&id]].concat();
        let query: &[(&str, String)] = if force {
            &[("force", "true".to_owned())]
        } else {
            &[]
        };
        session.api.delete_with(&attempt, &path, query).await?;
        answer.removed.push(host.clone());
    }
    session.output.data(&answer, |output| {
        for host in &answer.removed {
            output.say(&format!("{host} is removed"));
        }
        Ok(())
    })
}
