//! `moorline host`.

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::{HostInfo, NewPassword, QueuedTask, TaskInfo};
use crate::finding::{self, text};
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;
use crate::waiting::{self, Wanted};

mod create;

const EXAMPLES: &str = "Examples:
  moorline host create --user udo --device cam000001
  moorline host create --user udo --egress-ip fra-1 --timezone Europe/Berlin
  moorline host start ab12cd
  moorline host stop ab12cd ef34gh --no-wait
  moorline host policy ab12cd --record on
  moorline host rm ab12cd --force

Start, stop, rebuild and create wait until the work is done. Users who are no
administrators see and rebuild their own hosts.";

/// Hosts: machines of users, which are devices or managed containers
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show all hosts, last changed first
    #[command(visible_alias = "ls")]
    List,
    /// Show everything known of a host, and how it is reached
    Show {
        /// Short id, name or UUID
        host: String,
    },
    /// Make a host; its entry password is shown this once
    Create(create::Arguments),
    /// Start hosts
    Start(WorkArguments),
    /// Stop hosts
    Stop(WorkArguments),
    /// Make hosts anew: a device gets other public ports, links and another entry password
    Rebuild(WorkArguments),
    /// Make another entry password; it is shown this once
    RotatePassword {
        /// Short id, name or UUID
        host: String,
    },
    /// Say whether sessions are recorded and direct connections allowed
    Policy {
        /// Short id, name or UUID
        host: String,
        #[command(flatten)]
        policy: PolicyArguments,
    },
    /// Remove hosts; a device is only taken from its user
    Rm {
        /// Short ids, names or UUIDs
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
pub(crate) struct WorkArguments {
    /// Short ids, names or UUIDs
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
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

/// What a policy means, in words.
pub(crate) fn policy_text(recording_required: bool, direct_tcpip_allowed: bool) -> &'static str {
    match (recording_required, direct_tcpip_allowed) {
        (true, _) => "sessions are recorded, every other way is closed",
        (false, true) => "sessions are not recorded, direct connections allowed",
        (false, false) => "sessions are not recorded, no direct connections",
    }
}

#[derive(Serialize)]
struct Queued {
    tasks: Vec<QueuedTask>,
}

#[derive(Serialize)]
struct Done {
    tasks: Vec<TaskInfo>,
}

#[derive(Serialize)]
struct Rotated<'a> {
    new_password: &'a str,
}

#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

const HOSTS: [&str; 3] = ["v1", "admin", "hosts"];
const OWN_HOSTS: [&str; 3] = ["v1", "user", "hosts"];

/// Runs `moorline host`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(session).await,
        Command::Show { host } => show(session, &host).await,
        Command::Create(arguments) => create::run(session, arguments).await,
        Command::Start(arguments) => act(session, &arguments, "start").await,
        Command::Stop(arguments) => act(session, &arguments, "stop").await,
        Command::Rebuild(arguments) => act(session, &arguments, "rebuild").await,
        Command::RotatePassword { host } => rotate_password(session, &host).await,
        Command::Policy { host, policy } => set_policy(session, &host, policy).await,
        Command::Rm { hosts, force, yes } => remove(session, &hosts, force, yes).await,
    }
}

/// Where hosts are for whoever is logged in.
fn root(session: &Session) -> [&'static str; 3] {
    if session.is_admin() { HOSTS } else { OWN_HOSTS }
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let list = finding::hosts(session).await?;
    session.output.data(&list, |output| {
        if list.hosts.is_empty() {
            output.say(if session.is_admin() {
                "no hosts; `moorline host create` makes one"
            } else {
                "no host is assigned to you, ask your administrator"
            });
            return Ok(());
        }
        output.table(host_table(&list.hosts, session.is_admin()))
    })
}

fn host_table(hosts: &[HostInfo], admin: bool) -> Table {
    let mut columns = vec!["HOST", "KIND", "NAME", "STATUS", "EGRESS"];
    if admin {
        columns.insert(1, "USER");
    }
    let mut table = Table::new(&columns).cut();
    for host in hosts {
        let status = match host.status.as_str() {
            "running" => Mark::Good,
            "failed" => Mark::Bad,
            _ => Mark::Dim,
        };
        let rest = |name: &str| host.rest.get(name).and_then(Value::as_str);
        let egress = rest("egress_ip_address").or_else(|| rest("egress_ip"));
        let mut row = vec![
            (finding::host_name(host), Mark::Plain),
            (&host.kind, Mark::Plain),
            (&host.hostname, Mark::Plain),
            (&host.status, status),
            (egress.unwrap_or_default(), Mark::Plain),
        ];
        if admin {
            row.insert(1, (&host.username, Mark::Plain));
        }
        table.row(row);
    }
    table
}

async fn show(session: &Session, host: &str) -> anyhow::Result<()> {
    let id = finding::host(session, host).await?.id;
    let attempt = format!("show host {host}");
    let path = [&root(session)[..], &[&id]].concat();
    let sheet: Value = session.api.get(&attempt, &path, &[]).await?;
    session
        .output
        .data(&sheet, |output| output.table(host_sheet(&sheet)))
}

/// Everything known of a host, one thing a line; `sheet` is that of an administrator or that of its user.
fn host_sheet(sheet: &Value) -> Table {
    let mut table = Table::bare();
    let host = sheet.get("host").unwrap_or(sheet);
    let hardware = |name: &str| match host.get(name) {
        Some(Value::Number(number)) if number.as_f64() != Some(0.0) => number.to_string(),
        _ => String::new(),
    };
    table.pair("host", text(host, "/short_id"));
    table.pair("id", text(host, "/id"));
    table.pair("user", text(sheet, "/user/username"));
    table.pair("kind", text(host, "/kind"));
    table.pair("name", text(host, "/hostname"));
    table.pair("status", text(host, "/status"));
    if text(host, "/kind") == "container" {
        table.pair("slot", text(host, "/slot_key"));
        table.pair("memory MiB", &hardware("memory_limit_mb"));
        table.pair("processors", &hardware("cpu_limit"));
        table.pair("disk GiB", &hardware("disk_limit_gb"));
    }
    table.pair("time zone", text(host, "/timezone"));
    table.pair("ssh", text(sheet, "/connection_info/ssh_command"));
    table.pair("by link", text(sheet, "/connection_info/curl_command"));
    table.pair("desktop", text(sheet, "/connection_info/vnc_url"));
    table.pair("device", text(sheet, "/device/client_id"));
    if let Some(connected) = sheet.pointer("/device/connected").and_then(Value::as_bool) {
        table.pair("connected", if connected { "yes" } else { "no" });
    }
    for forward in list_of(sheet, "/device/forwards") {
        let port = |name: &str| forward.get(name).map(Value::to_string).unwrap_or_default();
        let line = format!(
            "{} on {} to port {} of the device",
            port("public_port"),
            text(forward, "/node"),
            port("local_port")
        );
        table.pair("public port", &line);
    }
    for binding in list_of(sheet, "/bindings") {
        let address = text(binding, "/egress_ip/ip_address");
        let label = text(binding, "/egress_ip/label");
        table.pair("egress IP", &format!("{address} ({label})"));
        table.pair("binding", text(binding, "/binding_id"));
    }
    for egress in list_of(sheet, "/egress_bindings") {
        table.pair("egress IP", text(egress, "/ip_address"));
    }
    table.pair("made", &instant::shown(text(host, "/created_at")));
    table.pair("changed", &instant::shown(text(host, "/updated_at")));
    table
}

fn list_of<'a>(sheet: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let list = sheet.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten()
}

async fn act(session: &Session, arguments: &WorkArguments, action: &str) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for host in &arguments.hosts {
        found.push((host, finding::host(session, host).await?.id));
    }
    let mut wanted = Vec::new();
    for (host, id) in found {
        let attempt = format!("{action} host {host}");
        let root = match action {
            "rebuild" => root(session),
            // Refused to everybody else, in the server's words.
            _ => HOSTS,
        };
        let path = [&root[..], &[&id, action]].concat();
        let queued: QueuedTask = session
            .api
            .submit(&attempt, Method::POST, &path, &json!({}))
            .await?;
        wanted.push(Wanted {
            attempt,
            task: queued.task_id,
        });
    }
    // Only administrators may look at tasks.
    if arguments.no_wait || !session.is_admin() {
        let tasks = wanted.into_iter().map(|wanted| QueuedTask {
            task_id: wanted.task,
        });
        let queued = Queued {
            tasks: tasks.collect(),
        };
        let look = if session.is_admin() {
            "queued; `moorline task list` shows how far it is"
        } else {
            "queued; `moorline host list` shows how it is"
        };
        return session.output.data(&queued, |output| {
            output.say(look);
            Ok(())
        });
    }
    let tasks = waiting::until_ended(session, &wanted, waiting::LONGEST).await?;
    let done = Done { tasks };
    session.output.data(&done, |_| Ok(()))?;
    waiting::judge(session, &wanted, &done.tasks)
}

async fn rotate_password(session: &Session, host: &str) -> anyhow::Result<()> {
    let id = finding::host(session, host).await?.id;
    let attempt = format!("make another entry password of host {host}");
    let path = [&HOSTS[..], &[&id, "rotate-ssh-password"]].concat();
    let made: NewPassword = session
        .api
        .submit(&attempt, Method::POST, &path, &json!({}))
        .await?;
    let new_password = made.new_password.expose();
    session.output.data(&Rotated { new_password }, |output| {
        output.line(new_password)?;
        output.say("the entry password is not shown again");
        Ok(())
    })
}

async fn set_policy(session: &Session, host: &str, policy: PolicyArguments) -> anyhow::Result<()> {
    let id = finding::host(session, host).await?.id;
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
        let on = |name: &str| answer.get(name).and_then(Value::as_bool) == Some(true);
        output.say(&format!(
            "{host}: {}",
            policy_text(on("recording_required"), on("direct_tcpip_allowed"))
        ));
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
        let id = finding::host(session, host).await?.id;
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
