//! `moorline device`.

use std::time::SystemTime;

use moorline_protocol::operator::{
    DeviceChange, DeviceEnvelope, DeviceInfo, DeviceList, DeviceState,
};
use reqwest::Method;
use serde::Serialize;

use super::expose;
use crate::commands::host::{PolicyArguments, Switch, policy_text};
use crate::finding;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  moorline device list --prefix cam --online
  moorline device show cam000001
  moorline device rename cam000001 door-7
  moorline device policy cam000001 --record on
  moorline device block cam000001 cam000002
  moorline device rm cam000001 --yes";

/// Devices
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show all devices, oldest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show everything known of a device
    Show {
        /// Name or UUID
        device: String,
    },
    /// Give a device another name; its identity and ports stay
    Rename {
        /// Name or UUID
        device: String,
        /// The new name
        new_name: String,
    },
    /// Set how many new connections a minute one visitor may make to a public port
    Limit {
        /// Name or UUID
        device: String,
        /// 0 to 10000; 0 is no limit
        #[arg(value_name = "PER_MINUTE", value_parser = clap::value_parser!(u32).range(..=10_000))]
        connections: u32,
    },
    /// Say whether sessions are recorded, and whether operators may connect end to end
    Policy {
        /// Name or UUID
        device: String,
        #[command(flatten)]
        policy: PolicyArguments,
    },
    /// Cut devices off and refuse them until they are unblocked
    Block {
        /// Names or UUIDs
        #[arg(required = true, value_name = "DEVICE")]
        devices: Vec<String>,
    },
    /// Let blocked devices in again
    Unblock {
        /// Names or UUIDs
        #[arg(required = true, value_name = "DEVICE")]
        devices: Vec<String>,
    },
    /// Remove devices; their names become free
    Rm {
        /// Names or UUIDs
        #[arg(required = true, value_name = "DEVICE")]
        devices: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Only names that begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only devices in this state: active, blocked or inactive
    #[arg(long, value_parser = parse_state)]
    state: Option<DeviceState>,
    /// Only devices that can be reached now
    #[arg(long)]
    online: bool,
}

fn parse_state(text: &str) -> Result<DeviceState, &'static str> {
    DeviceState::parse(text).ok_or("a state is active, blocked or inactive")
}

#[derive(Serialize)]
struct Devices {
    devices: Vec<DeviceInfo>,
}

#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

/// Runs `moorline device`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(session, &arguments).await,
        Command::Show { device } => show(session, &device).await,
        Command::Rename { device, new_name } => rename(session, &device, new_name).await,
        Command::Limit {
            device,
            connections,
        } => limit(session, &device, connections).await,
        Command::Policy { device, policy } => set_policy(session, &device, policy).await,
        Command::Block { devices } => set_state(session, devices, DeviceState::Blocked).await,
        Command::Unblock { devices } => set_state(session, devices, DeviceState::Active).await,
        Command::Rm { devices, yes } => remove(session, devices, yes).await,
    }
}

async fn list(session: &Session, arguments: &ListArguments) -> anyhow::Result<()> {
    let mut devices = session.devices(arguments.prefix.as_deref()).await?;
    devices.retain(|device| {
        (!arguments.online || device.online)
            && arguments.state.is_none_or(|state| state == device.state)
    });
    let answer = DeviceList {
        total: devices.len() as u64,
        devices,
    };
    session.output.data(&answer, |output| {
        if answer.devices.is_empty() {
            output.say("no devices");
            return Ok(());
        }
        output.table(device_table(&answer.devices, SystemTime::now()))
    })
}

fn device_table(devices: &[DeviceInfo], now: SystemTime) -> Table {
    let mut table =
        Table::new(&["NAME", "STATE", "LINK", "SEEN", "NODE", "PORT", "HOSTNAME"]).cut();
    for device in devices {
        let state = match device.state {
            DeviceState::Active => Mark::Plain,
            DeviceState::Blocked => Mark::Bad,
            DeviceState::Inactive => Mark::Dim,
        };
        let (link, link_mark) = link(device);
        let seen = seen(device, now);
        let port = device.forwards.first();
        let port = port.map_or_else(String::new, |forward| forward.public_port.to_string());
        table.row([
            (device.name.as_str(), Mark::Plain),
            (device.state.as_str(), state),
            (link, link_mark),
            (&seen, Mark::Plain),
            (&device.node, Mark::Plain),
            (&port, Mark::Plain),
            (device.hostname.as_deref().unwrap_or_default(), Mark::Plain),
        ]);
    }
    table
}

/// The state of the link in a word or two, with why it is down where that is known.
fn link(device: &DeviceInfo) -> (&str, Mark) {
    match (device.online, device.offline_reason.as_deref()) {
        (true, _) => ("online", Mark::Good),
        (false, Some(reason)) => (reason, Mark::Dim),
        (false, None) => ("offline", Mark::Dim),
    }
}

fn seen(device: &DeviceInfo, now: SystemTime) -> String {
    match (&device.last_seen_at, device.online) {
        (_, true) => "now".to_owned(),
        (Some(at), false) => instant::ago(at, now),
        (None, false) => String::new(),
    }
}

async fn show(session: &Session, device: &str) -> anyhow::Result<()> {
    let attempt = format!("show device {device}");
    let path = ["v1", "admin", "devices", device];
    let found = session.api.get(&attempt, &path, &[]).await;
    let answer: DeviceEnvelope = finding::or_suggest_device(session, device, found).await?;
    session.output.data(&answer, |output| {
        output.table(sheet(&answer.device, SystemTime::now()))
    })
}

/// Everything known of a device, one thing a line.
fn sheet(device: &DeviceInfo, now: SystemTime) -> Table {
    let mut table = Table::bare();
    table.pair("name", &device.name);
    table.pair("id", &device.id);
    table.pair("number", &device.number.to_string());
    table.pair("state", device.state.as_str());
    let (link, _) = link(device);
    match seen(device, now).as_str() {
        "" | "now" => table.pair("link", link),
        seen => table.pair("link", &format!("{link}, seen {seen}")),
    }
    let wanted = if device.wanted_open { "open" } else { "closed" };
    table.pair("wanted", wanted);
    if let Some(tunnel) = &device.tunnel {
        table.pair("connected from", &tunnel.peer);
        table.pair("connected since", &instant::shown(&tunnel.connected_at));
        table.pair("connected with", &tunnel.client);
        table.pair("tunnel number", &tunnel.generation.to_string());
        if let Some(millis) = tunnel.round_trip_millis {
            table.pair("round trip", &format!("{millis} ms"));
        }
    }
    table.pair("node", &device.node);
    for forward in &device.forwards {
        let text = format!(
            "{} to port {} of the device, {} bytes",
            expose::address(forward),
            forward.device_port,
            forward.bytes
        );
        table.pair("forward", &text);
    }
    table.pair("visitors", &visitor_limit(device));
    table.pair("sessions", policy_of(device));
    table.pair("user name", device.username.as_deref().unwrap_or_default());
    table.pair("hostname", device.hostname.as_deref().unwrap_or_default());
    table.pair(
        "device key",
        device.fingerprint.as_deref().unwrap_or_default(),
    );
    for (name, value) in &device.hardware {
        table.pair(name, value);
    }
    table.pair("made", &instant::shown(&device.created_at));
    let seen = device.last_seen_at.as_deref().map(instant::shown);
    table.pair("last seen", &seen.unwrap_or_default());
    table
}

async fn change(
    session: &Session,
    attempt: &str,
    device: &str,
    change: &DeviceChange,
) -> anyhow::Result<DeviceEnvelope> {
    let path = ["v1", "admin", "devices", device];
    let changed = session
        .api
        .submit(attempt, Method::PATCH, &path, change)
        .await;
    finding::or_suggest_device(session, device, changed).await
}

async fn rename(session: &Session, device: &str, new_name: String) -> anyhow::Result<()> {
    let attempt = format!("rename device {device} to {new_name}");
    let wanted = DeviceChange {
        name: Some(new_name),
        ..DeviceChange::default()
    };
    let answer = change(session, &attempt, device, &wanted).await?;
    session.output.data(&answer, |output| {
        output.say(&format!("{device} is now {}", answer.device.name));
        Ok(())
    })
}

async fn limit(session: &Session, device: &str, connections: u32) -> anyhow::Result<()> {
    let attempt = format!("limit visitors of device {device}");
    let wanted = DeviceChange {
        max_connections_per_minute: Some(connections),
        ..DeviceChange::default()
    };
    let answer = change(session, &attempt, device, &wanted).await?;
    session.output.data(&answer, |output| {
        let name = &answer.device.name;
        let limit = visitor_limit(&answer.device);
        output.say(&format!("{name}: {limit}"));
        Ok(())
    })
}

async fn set_policy(
    session: &Session,
    device: &str,
    policy: PolicyArguments,
) -> anyhow::Result<()> {
    let attempt = format!("set the policy of device {device}");
    let wanted = DeviceChange {
        recording_required: policy.record.map(Switch::is_on),
        direct_tcpip_allowed: policy.jump.map(Switch::is_on),
        ..DeviceChange::default()
    };
    let answer = change(session, &attempt, device, &wanted).await?;
    session.output.data(&answer, |output| {
        let name = &answer.device.name;
        output.say(&format!("{name}: {}", policy_of(&answer.device)));
        Ok(())
    })
}

fn policy_of(device: &DeviceInfo) -> &'static str {
    policy_text(device.recording_required, device.direct_tcpip_allowed)
}

fn visitor_limit(device: &DeviceInfo) -> String {
    match device.max_connections_per_minute {
        0 => "visitors connect without limit".to_owned(),
        limit => format!("{limit} connections a minute for each visitor"),
    }
}

async fn set_state(
    session: &Session,
    devices: Vec<String>,
    state: DeviceState,
) -> anyhow::Result<()> {
    let verb = match state {
        DeviceState::Active => "unblock",
        DeviceState::Blocked | DeviceState::Inactive => "block",
    };
    let wanted = DeviceChange {
        state: Some(state),
        ..DeviceChange::default()
    };
    let mut latest_error = None;
    let mut changed = Vec::new();
    for device in &devices {
        let attempt = format!("{verb} device {device}");
        match change(session, &attempt, device, &wanted).await {
            Ok(answer) => changed.push(answer.device),
            Err(error) => keep_latest(session, &mut latest_error, error),
        }
    }
    let answer = Devices { devices: changed };
    session.output.data(&answer, |output| {
        for device in &answer.devices {
            output.say(&format!("{} is {}", device.name, device.state.as_str()));
        }
        Ok(())
    })?;
    latest_error.map_or(Ok(()), Err)
}

async fn remove(session: &Session, devices: Vec<String>, yes: bool) -> anyhow::Result<()> {
    if !yes {
        let question = format!("remove {} for good?", devices.join(", "));
        if !session.output.confirm(&question)? {
            session.output.say("nothing removed");
            return Ok(());
        }
    }
    let mut latest_error = None;
    let mut removed = Vec::new();
    for device in devices {
        let attempt = format!("remove device {device}");
        let path = ["v1", "admin", "devices", device.as_str()];
        let gone = session.api.delete(&attempt, &path).await;
        match finding::or_suggest_device(session, &device, gone).await {
            Ok(()) => removed.push(device),
            Err(error) => keep_latest(session, &mut latest_error, error),
        }
    }
    let answer = Removed { removed };
    session.output.data(&answer, |output| {
        for device in &answer.removed {
            output.say(&format!("{device} is removed"));
        }
        Ok(())
    })?;
    latest_error.map_or(Ok(()), Err)
}

/// Keeps the latest error for the end, where it decides the exit status, and tells the one before it.
fn keep_latest(session: &Session, latest: &mut Option<anyhow::Error>, error: anyhow::Error) {
    if let Some(before) = latest.replace(error) {
        session.output.error(&before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> DeviceInfo {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_link_is_told_with_its_reason() {
        let now = humantime::parse_rfc3339("2026-11-22T12:00:00Z").unwrap();
        let base = r#""id":"u","number":1,"name":"cam1","state":"active","wanted_open":true,
            "node":"eu","forwards":[],"created_at":"2026-11-22T11:00:00Z""#;
        let online = device(&format!("{{{base},\"online\":true}}"));
        assert_eq!(link(&online), ("online", Mark::Good));
        assert_eq!(seen(&online, now), "now");
        let lost = device(&format!(
            r#"{{{base},"online":false,"offline_reason":"timed out","last_seen_at":"2026-11-22T11:50:00Z"}}"#
        ));
        assert_eq!(link(&lost), ("timed out", Mark::Dim));
        assert_eq!(seen(&lost, now), "10 min ago");
    }
}
