//! `moorline node`.

use moorline_protocol::operator::NodeList;

use crate::output::{Mark, Table};
use crate::session::Session;

/// Nodes: the regions that devices connect to
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show all nodes
    #[command(visible_alias = "ls")]
    List,
}

/// Runs `moorline node`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(session).await,
    }
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let path = ["v1", "admin", "nodes"];
    let answer: NodeList = session.api.get("list nodes", &path, &[]).await?;
    session.output.data(&answer, |output| {
        if answer.nodes.is_empty() {
            output.say("no nodes");
            return Ok(());
        }
        let mut table = Table::new(&["NAME", "STATUS", "HOST", "SSH", "PORTS"]);
        for node in &answer.nodes {
            let status = match node.status.as_str() {
                "active" => Mark::Good,
                "down" => Mark::Bad,
                _ => Mark::Dim,
            };
            table.row([
                (node.name.as_str(), Mark::Plain),
                (&node.status, status),
                (&node.host, Mark::Plain),
                (&node.ssh_port.to_string(), Mark::Plain),
                (
                    &format!("{}-{}", node.first_port, node.last_port),
                    Mark::Plain,
                ),
            ]);
        }
        output.table(table)
    })
}
