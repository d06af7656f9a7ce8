//! `moorline task`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  moorline task list
  moorline task list --limit 5 --json";

/// Tasks: asynchronous work on hosts
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show the latest tasks, last changed first
    #[command(visible_alias = "ls")]
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
}

#[derive(Debug, Deserialize, Serialize)]
struct Task {
    task_id: String,
    host_id: Option<String>,
    kind: String,
    status: String,
    requested_by: String,
    error_code: String,
    error_message: String,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Tasks {
    tasks: Vec<Task>,
}

/// Runs `moorline task`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    let Command::List { limit } = command;
    let path = ["v1", "admin", "tasks"];
    let mut answer: Tasks = session.api.get("list tasks", &path, &[]).await?;
    answer.tasks.truncate(limit);
    session.output.data(&answer, |output| {
        if answer.tasks.is_empty() {
            output.say("no tasks");
            return Ok(());
        }
        let now = SystemTime::now();
        let columns = ["TASK", "STATUS", "CHANGED", "BY", "HOST", "WHY"];
        let mut table = Table::new(&columns).cut();
        for task in &answer.tasks {
            let status = match task.status.as_str() {
                "succeeded" => Mark::Good,
                "failed" => Mark::Bad,
                _ => Mark::Dim,
            };
            table.row([
                (task.kind.as_str(), Mark::Plain),
                (&task.status, status),
                (&instant::ago(&task.updated_at, now), Mark::Plain),
                (&task.requested_by, Mark::Plain),
                (task.host_id.as_deref().unwrap_or_default(), Mark::Plain),
                (&task.error_message, Mark::Plain),
            ]);
        }
        output.table(table)
    })
}
