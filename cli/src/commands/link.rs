//! `moorline link`.

use moorline_protocol::operator::{LinkInfo, LinkList};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::session::Session;

/// Open a device's public port for your address, as whoever clicks its link does
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name or UUID
    device: String,
    /// Port on the device, or its public port; without it the first one
    port: Option<u16>,
    /// Print the link in place of opening it, to send it to somebody
    #[arg(long)]
    print: bool,
}

const EXAMPLES: &str = "Examples:
  moorline link cam000001
  moorline link cam000001 22 --print";

/// Runs `moorline link`.
pub(crate) async fn run(session: Session, arguments: Arguments) -> anyhow::Result<()> {
    let device = &arguments.device;
    let attempt = format!("find the links of {device}");
    let path = ["v1", "admin", "devices", device, "links"];
    let links = session.api.get(&attempt, &path, &[]).await;
    let answer: LinkList = finding::or_suggest_device(&session, device, links).await?;
    let chosen = choose(&answer.links, arguments.port).ok_or_else(|| missing(&arguments))?;
    if arguments.print {
        return session.output.data(chosen, |output| {
            let mut table = crate::output::Table::bare();
            table.row([(chosen.link.as_str(), crate::output::Mark::Plain)]);
            output.table(table)
        });
    }
    let path = link_path(&chosen.link).ok_or_else(|| {
        let message = format!("open port {}: its link cannot be read", chosen.public_port);
        Failure::new(Exit::Failed, message)
    })?;
    let attempt = format!("open port {} of {device}", chosen.public_port);
    session.api.visit(&attempt, &path).await?;
    session.output.data(chosen, |output| {
        let protected = if chosen.protected {
            "open for your address for 24 hours"
        } else {
            "open for everybody, its link is not needed"
        };
        output.say(&format!(
            "{}:{} is {protected}",
            chosen.server, chosen.public_port
        ));
        Ok(())
    })
}

fn missing(arguments: &Arguments) -> Failure {
    let message = match arguments.port {
        Some(port) => format!("open port {port} of {}: there is none", arguments.device),
        None => format!("open {}: it has no public port", arguments.device),
    };
    Failure::new(Exit::NotFound, message).hint("`moorline device show` lists the ports")
}

/// The first link, or that of a port: of the device's own ports first, since people know them.
fn choose(links: &[LinkInfo], port: Option<u16>) -> Option<&LinkInfo> {
    let Some(port) = port else {
        return links.first();
    };
    let by_device_port = links.iter().find(|link| link.device_port == port);
    by_device_port.or_else(|| links.iter().find(|link| link.public_port == port))
}

/// `l`, port and token of a link. It is opened at the server of the profile: the link itself is for people, and may
/// name a host that is not reached from here.
fn link_path(link: &str) -> Option<[&str; 3]> {
    let mut parts = link.rsplit('/');
    let (token, port, kind) = (parts.next()?, parts.next()?, parts.next()?);
    (kind == "l").then_some([kind, port, token])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(device_port: u16, public_port: u16) -> LinkInfo {
        LinkInfo {
            device_port,
            public_port,
            server: "eu1.example.net".into(),
            protected: true,
            link: format!("https://api.example.net/l/{public_port}/9fQ2mZr7Lw0KxT3b"),
        }
    }

    #[test]
    fn a_port_is_found_by_either_number() {
        let links = [link(22, 10_001), link(80, 10_002), link(10_001, 10_003)];
        let public = |port| choose(&links, port).map(|link| link.public_port);
        assert_eq!(public(None), Some(10_001));
        assert_eq!(public(Some(80)), Some(10_002));
        assert_eq!(public(Some(10_002)), Some(10_002));
        assert_eq!(public(Some(10_001)), Some(10_003), "its own port first");
        assert_eq!(public(Some(443)), None);
    }

    #[test]
    fn a_link_is_taken_apart() {
        let path = link_path("https://api.example.net/x/l/49482/9fQ2mZr7Lw0KxT3b");
        assert_eq!(path, Some(["l", "49482", "9fQ2mZr7Lw0KxT3b"]));
        assert_eq!(link_path("https://api.example.net/r/x/1"), None);
    }
}
