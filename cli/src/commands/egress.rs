//! `moorline egress`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::{EgressIpEnvelope, EgressIpInfo, EgressTest};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

mod binding;

const EXAMPLES: &str = "Examples:
  moorline egress create --label fra-1 --address 203.0.113.7 --endpoint 203.0.113.7:51820
  moorline egress create --label fra-2 --address 203.0.113.8 --proxy-config outbound.json
  moorline egress test fra-1
  moorline egress set fra-1 --status disabled
  moorline egress bind ab12cd fra-1
  moorline egress unbind ab12cd fra-1";

/// Egress IPs: ways out for hosts
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Make an egress IP: WireGuard, or a proxy with --proxy-config
    Create(CreateArguments),
    /// Show all egress IPs, newest first, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// Show everything known of an egress IP but its secrets
    Show {
        /// Label, address or UUID
        egress_ip: String,
    },
    /// Change what is given, leave the rest
    Set(SetArguments),
    /// Test an egress IP through its own tunnel
    Test {
        /// Label, address or UUID
        egress_ip: String,
    },
    /// Let a container host, which must not run, leave by an egress IP
    Bind {
        /// Short id, name or UUID
        host: String,
        /// Label, address or UUID
        egress_ip: String,
    },
    /// Take an egress IP from a host, which must not run
    Unbind {
        /// Short id, name or UUID of the host; or UUID of the binding
        host: String,
        /// Label, address or UUID; needed where the host has several
        egress_ip: Option<String>,
    },
    /// Remove an egress IP that no host is bound to
    Rm {
        /// Label, address or UUID
        egress_ip: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArguments {
    /// A word for it
    #[arg(long)]
    label: String,
    /// The address that hosts are seen with
    #[arg(long, value_name = "IP")]
    address: String,
    #[command(flatten)]
    tunnel: TunnelArguments,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetArguments {
    /// Label, address or UUID
    egress_ip: String,
    /// A word for it
    #[arg(long)]
    label: Option<String>,
    /// The address that hosts are seen with
    #[arg(long, value_name = "IP")]
    address: Option<String>,
    /// available or disabled
    #[arg(long, value_parser = ["available", "disabled"])]
    status: Option<String>,
    #[command(flatten)]
    tunnel: TunnelArguments,
}

/// Secrets come from files only.
#[derive(Debug, clap::Args)]
struct TunnelArguments {
    /// Who it comes from
    #[arg(long)]
    provider: Option<String>,
    /// host:port of the WireGuard peer
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// Key of the WireGuard peer
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// What goes through the tunnel, 0.0.0.0/0 unless given
    #[arg(long, value_name = "NETS")]
    allowed_ips: Option<String>,
    /// Resolver behind the tunnel
    #[arg(long, value_name = "IP")]
    dns_server: Option<String>,
    /// Our own address inside the tunnel
    #[arg(long, value_name = "NET")]
    peer_address: Option<String>,
    /// File with our own WireGuard key; without it the server makes one
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// File with the key that is shared with the WireGuard peer
    #[arg(long, value_name = "FILE")]
    preshared_key_file: Option<PathBuf>,
    /// File with a sing-box outbound, JSON
    #[arg(long, value_name = "FILE")]
    proxy_config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a str,
}

/// Largest file read, in bytes.
const MAX_FILE: u64 = 256 * 1024;
const IPS: [&str; 3] = ["v1", "admin", "egress-ips"];

/// Runs `moorline egress`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(arguments) => create(session, arguments).await,
        Command::List => list(session).await,
        Command::Show { egress_ip } => show(session, &egress_ip).await,
        Command::Set(arguments) => set(session, arguments).await,
        Command::Test { egress_ip } => test(session, &egress_ip).await,
        Command::Bind { host, egress_ip } => binding::bind(session, &host, &egress_ip).await,
        Command::Unbind { host, egress_ip } => {
            binding::unbind(session, &host, egress_ip.as_deref()).await
        }
        Command::Rm { egress_ip, yes } => remove(session, &egress_ip, yes).await,
    }
}

impl TunnelArguments {
    /// The members of a body that these arguments mean.
    fn members(self) -> anyhow::Result<Map<String, Value>> {
        let mut members = Map::new();
        for (name, text) in [
            ("provider", self.provider),
            ("wg_endpoint", self.endpoint),
            ("wg_public_key", self.public_key),
            ("wg_allowed_ips", self.allowed_ips),
            ("wg_dns_server", self.dns_server),
            ("wg_peer_address", self.peer_address),
        ] {
            if let Some(text) = text {
                members.insert(name.to_owned(), text.into());
            }
        }
        for (name, file) in [
            ("wg_private_key", self.private_key_file),
            ("wg_preshared_key", self.preshared_key_file),
        ] {
            if let Some(file) = file {
                members.insert(name.to_owned(), read(&file)?.trim().into());
            }
        }
        if let Some(file) = self.proxy_config {
            let config: Value = serde_json::from_str(&read(&file)?).map_err(|error| {
                let message = format!("read {}: not JSON", file.display());
                Failure::new(Exit::Usage, message).because(error)
            })?;
            members.insert("tunnel_type".to_owned(), "proxy".into());
            members.insert("proxy_config".to_owned(), config);
        }
        Ok(members)
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_FILE).read_to_string(&mut text))
        .map_err(|error| {
            let message = format!("read {}", file.display());
            Failure::new(Exit::Usage, message).because(error)
        })?;
    Ok(text)
}

async fn create(session: &Session, arguments: CreateArguments) -> anyhow::Result<()> {
    let attempt = format!("make egress IP {}", arguments.label);
    let mut wanted = arguments.tunnel.members()?;
    wanted.insert("label".to_owned(), arguments.label.into());
    wanted.insert("ip_address".to_owned(), arguments.address.into());
    let answer: EgressIpEnvelope = session
        .api
        .submit(&attempt, Method::POST, &IPS, &wanted)
        .await?;
    session
        .output
        .data(&answer, |output| output.table(sheet(&answer.egress_ip)))
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let answer = finding::egress_ips(session).await?;
    session.output.data(&answer, |output| {
        if answer.egress_ips.is_empty() {
            output.say("no egress IPs");
            return Ok(());
        }
        let columns = ["LABEL", "ADDRESS", "TUNNEL", "STATUS", "PROVIDER"];
        let mut table = Table::new(&columns).cut();
        for ip in &answer.egress_ips {
            let status = match ip.status.as_str() {
                "available" => Mark::Good,
                _ => Mark::Dim,
            };
            table.row([
                (ip.label.as_str(), Mark::Plain),
                (&ip.ip_address, Mark::Plain),
                (&ip.tunnel_type, Mark::Plain),
                (&ip.status, status),
                (provider(ip), Mark::Dim),
            ]);
        }
        output.table(table)
    })
}

async fn show(session: &Session, name: &str) -> anyhow::Result<()> {
    let egress_ip = finding::egress_ip(session, name).await?;
    let answer = EgressIpEnvelope { egress_ip };
    session
        .output
        .data(&answer, |output| output.table(sheet(&answer.egress_ip)))
}

fn provider(ip: &EgressIpInfo) -> &str {
    let provider = ip.rest.get("provider").and_then(Value::as_str);
    provider.unwrap_or_default()
}

/// Everything known of an egress IP, one thing a line.
fn sheet(ip: &EgressIpInfo) -> Table {
    let mut table = Table::bare();
    table.pair("label", &ip.label);
    table.pair("id", &ip.id);
    table.pair("address", &ip.ip_address);
    table.pair("tunnel", &ip.tunnel_type);
    table.pair("status", &ip.status);
    for (name, value) in &ip.rest {
        let text = match value {
            Value::String(text) if name.ends_with("_at") => instant::shown(text),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        table.pair(&name.replacen("wg_", "", 1).replace('_', " "), &text);
    }
    table
}

async fn set(session: &Session, arguments: SetArguments) -> anyhow::Result<()> {
    let mut wanted = arguments.tunnel.members()?;
    for (name, text) in [
        ("label", arguments.label),
        ("ip_address", arguments.address),
        ("status", arguments.status),
    ] {
        if let Some(text) = text {
            wanted.insert(name.to_owned(), text.into());
        }
    }
    if wanted.is_empty() {
        let message = "change egress IP: nothing to change";
        return Err(Failure::new(Exit::Usage, message)
            .hint("`moorline egress set --help` shows what can be changed")
            .into());
    }
    let ip = finding::egress_ip(session, &arguments.egress_ip).await?;
    let attempt = format!("change egress IP {}", ip.label);
    let path = ["v1", "admin", "egress-ips", ip.id.as_str()];
    let answer: EgressIpEnvelope = session
        .api
        .submit(&attempt, Method::PUT, &path, &wanted)
        .await?;
    session
        .output
        .data(&answer, |output| output.table(sheet(&answer.egress_ip)))
}

async fn test(session: &Session, name: &str) -> anyhow::Result<()> {
    let ip = finding::egress_ip(session, name).await?;
    let attempt = format!("test egress IP {}", ip.label);
    let path = ["v1", "admin", "egress-ips", ip.id.as_str(), "test"];
    let answer: EgressTest = session
        .api
        .submit(&attempt, Method::POST, &path, &json!({}))
        .await?;
    session.output.data(&answer, |output| {
        let mut table = Table::bare();
        table.pair("status", &answer.status);
        table.pair("message", answer.message.as_deref().unwrap_or_default());
        for (check, result) in &answer.results {
            let part = |name: &str| result.get(name).and_then(Value::as_str);
            let status = part("status").unwrap_or_default();
            let line = match part("error") {
                Some(error) => format!("{status}: {error}"),
                None => status.to_owned(),
            };
            table.pair(&check.replace('_', " "), &line);
        }
        output.table(table)
    })?;
    if answer.status == "passed" {
        return Ok(());
    }
    let message = format!("{attempt}: {}", answer.status);
    Err(Failure::new(Exit::Failed, message).into())
}

async fn remove(session: &Session, name: &str, yes: bool) -> anyhow::Result<()> {
    let ip = finding::egress_ip(session, name).await?;
    if !yes {
        let question = format!(
            "remove egress IP {} ({}) for good?",
            ip.label, ip.ip_address
        );
        if !session.output.confirm(&question)? {
            session.output.say("nothing removed");
            return Ok(());
        }
    }
    let attempt = format!("remove egress IP {}", ip.label);
    let path = ["v1", "admin", "egress-ips", ip.id.as_str()];
    session.api.delete(&attempt, &path).await?;
    let removed = Removed { removed: &ip.label };
    session.output.data(&removed, |output| {
        output.say(&format!("{} is removed", ip.label));
        Ok(())
    })
}
