//! `moorline host create`.

use moorline_protocol::operator::DeviceEnvelope;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::api::NewHost;
use crate::finding;
use crate::output::Table;
use crate::session::Session;
use crate::waiting::{self, Wanted};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Whose: name, short id or UUID
    #[arg(long)]
    user: String,
    /// The device it is, by name or UUID; a container without
    #[arg(long)]
    device: Option<String>,
    /// Egress IP that a container is bound to: label, address or UUID
    #[arg(long, value_name = "EGRESS_IP", conflicts_with = "device")]
    egress_ip: Option<String>,
    /// Slot of a container, unique for the user [default: primary]
    #[arg(long, conflicts_with = "device")]
    slot: Option<String>,
    /// Node that a container runs on
    #[arg(long, conflicts_with = "device")]
    region: Option<String>,
    /// Time zone of a container [default: America/Los_Angeles]
    #[arg(long, value_name = "ZONE", conflicts_with = "device")]
    timezone: Option<String>,
    /// Memory of a container in MiB, 256 to 1048576 [default: 4096]
    #[arg(long, value_name = "MIB", conflicts_with = "device")]
    memory: Option<u32>,
    /// Processors of a container, 0.1 to 256 [default: 2]
    #[arg(long, value_name = "N", conflicts_with = "device")]
    cpus: Option<f64>,
    /// Disk of a container in GiB, 1 to 65536 [default: 20]
    #[arg(long, value_name = "GIB", conflicts_with = "device")]
    disk: Option<u32>,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
}

/// Makes a host.
pub(super) async fn run(session: &Session, arguments: Arguments) -> anyhow::Result<()> {
    let attempt = format!("make a host of {}", arguments.user);
    let no_wait = arguments.no_wait;
    let wish = wish(session, arguments, &attempt).await?;
    let made: NewHost = session
        .api
        .submit(&attempt, Method::POST, &super::HOSTS, &wish)
        .await?;
    // Before anything else: nobody gets the password a second time.
    session.output.data(&made, |output| {
        let mut table = Table::bare();
        table.pair("host", &made.short_id);
        table.pair("entry password", &made.entry_password);
        output.table(table)?;
        output.say("the entry password is not shown again");
        Ok(())
    })?;
    if no_wait {
        return Ok(());
    }
    let wanted = [Wanted {
        attempt: format!("make host {}", made.short_id),
        task: made.task_id,
    }];
    let ended = waiting::until_ended(session, &wanted, waiting::LONGEST).await?;
    waiting::judge(session, &wanted, &ended)
}

/// The body of the call.
async fn wish(
    session: &Session,
    arguments: Arguments,
    attempt: &str,
) -> anyhow::Result<Map<String, Value>> {
    let mut wish = Map::new();
    let owner = finding::user(session, &arguments.user).await?;
    wish.insert("user_id".into(), owner.id.into());
    if let Some(name) = &arguments.device {
        let path = ["v1", "admin", "devices", name.as_str()];
        let found = session.api.get(attempt, &path, &[]).await;
        let found: DeviceEnvelope = finding::or_suggest_device(session, name, found).await?;
        wish.insert("device_id".into(), found.device.id.into());
    }
    if let Some(name) = &arguments.egress_ip {
        let found = finding::egress_ip(session, name).await?;
        wish.insert("egress_ip_id".into(), found.id.into());
    }
    for (name, value) in [
        ("slot_key", arguments.slot.map(Value::from)),
        ("region", arguments.region.map(Value::from)),
        ("timezone", arguments.timezone.map(Value::from)),
        ("memory_limit_mb", arguments.memory.map(Value::from)),
        ("cpu_limit", arguments.cpus.map(Value::from)),
        ("disk_limit_gb", arguments.disk.map(Value::from)),
    ] {
        if let Some(value) = value {
            wish.insert(name.into(), value);
        }
    }
    Ok(wish)
}
