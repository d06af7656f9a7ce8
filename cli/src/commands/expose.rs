//! `moorline expose`.

use moorline_protocol::operator::{ForwardEnvelope, ForwardInfo, ForwardList, NewForward};
use reqwest::Method;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::session::Session;

/// Make a port of a device reachable and print its address; the same again only prints it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name or UUID
    device: String,
    /// Port on the device
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Give it an HTTP name in place of a public port
    #[arg(long)]
    http: bool,
    /// Take it away again
    #[arg(long)]
    remove: bool,
}

const EXAMPLES: &str = "Examples:
  moorline expose cam000001 80 --http
  moorline expose cam000001 5900
  moorline expose cam000001 5900 --remove";

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a ForwardInfo,
}

/// Runs `moorline expose`.
pub(crate) async fn run(session: &Session, arguments: Arguments) -> anyhow::Result<()> {
    if arguments.remove {
        remove(session, &arguments).await
    } else {
        expose(session, &arguments).await
    }
}

async fn expose(session: &Session, arguments: &Arguments) -> anyhow::Result<()> {
    let (device, port) = (&arguments.device, arguments.port);
    let path = ["v1", "admin", "devices", device.as_str(), "forwards"];
    let wanted = NewForward {
        device_port: port,
        http: arguments.http,
    };
    let attempt = format!("expose port {port} of device {device}");
    let exposed = session
        .api
        .submit(&attempt, Method::POST, &path, &wanted)
        .await;
    let answer: ForwardEnvelope = finding::or_suggest_device(session, device, exposed).await?;
    session.output.data(&answer, |output| {
        output.line(&address(&answer.forward))?;
        if !answer.forward.open {
            output.say(&format!(
                "{device} does not hold it yet: it is offline, or its agent is too old"
            ));
        }
        Ok(())
    })
}

async fn remove(session: &Session, arguments: &Arguments) -> anyhow::Result<()> {
    let (device, port) = (&arguments.device, arguments.port);
    let path = ["v1", "admin", "devices", device.as_str(), "forwards"];
    let attempt = format!("take port {port} of device {device} away");
    let answer: ForwardList = session.api.get(&attempt, &path, &[]).await?;
    let fits = |forward: &&ForwardInfo| {
        forward.device_port == port && forward.http_name.is_some() == arguments.http
    };
    let Some(forward) = answer.forwards.iter().rfind(fits) else {
        return Err(
            Failure::new(Exit::NotFound, format!("{attempt}: it is not exposed"))
                .hint(format!("`moorline device show {device}` shows what is"))
                .into(),
        );
    };
    let id = forward.id.to_string();
    let path = [&path[..], &[id.as_str()]].concat();
    session.api.delete(&attempt, &path).await?;
    session
        .output
        .data(&Removed { removed: forward }, |output| {
            output.say(&format!("took {} away", address(forward)));
            Ok(())
        })
}

/// Where to reach it.
pub(crate) fn address(forward: &ForwardInfo) -> String {
    match &forward.http_name {
        Some(name) => format!("http://{name}/"),
        None if forward.server.contains(':') => {
            format!("[{}]:{}", forward.server, forward.public_port)
        }
        None => format!("{}:{}", forward.server, forward.public_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(server: &str, http_name: Option<&str>) -> ForwardInfo {
        ForwardInfo {
            id: 7,
            device_port: 80,
            public_port: 40001,
            server: server.into(),
            bytes: 0,
            http_name: http_name.map(str::to_owned),
            open: true,
        }
    }

    #[test]
    fn an_address_can_be_pasted() {
        let name = "ab12cd34.u.eu1.example.net";
        assert_eq!(
            address(&forward("eu1.example.net", Some(name))),
            format!("http://{name}/")
        );
        assert_eq!(address(&forward("192.0.2.1", None)), "192.0.2.1:40001");
        assert_eq!(
            address(&forward("2001:db8::1", None)),
            "[2001:db8::1]:40001"
        );
    }
}
