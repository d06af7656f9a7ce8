//! `moorline task`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::api::{HostInfo, TaskInfo, TaskList};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;
use crate::waiting::{self, Wanted};

const EXAMPLES: &str = "Examples:
  moorline task list
  moorline task list --host ab12cd --limit 5 --json
  moorline task show 0f8fad5b-d9cb-469f-a165-70867728950e
  moorline task wait 0f8fad5b-d9cb-469f-a165-70867728950e --timeout 60s";

/// Tasks: asynchronous work on hosts
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show the latest tasks, last changed first
    #[command(visible_alias = "ls")]
    List {
        /// Only of this host: short id, name or UUID
        #[arg(long)]
        host: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show everything known of a task
    Show {
        /// UUID, or how it begins
        task: String,
    },
    /// Wait until tasks have ended; the exit status is 1 if one did not succeed
    Wait {
        /// UUIDs, or how they begin
        #[arg(required = true, value_name = "TASK")]
        tasks: Vec<String>,
        /// How long at most
        #[arg(long, value_name = "TIME", default_value = "12m", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
}

#[derive(Serialize)]
struct Shown<'a> {
    task: &'a TaskInfo,
}

/// Letters of a UUID that are shown in lists.
const SHORT: usize = 8;

/// Runs `moorline task`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { host, limit } => list(session, host.as_deref(), limit).await,
        Command::Show { task } => show(session, &task).await,
        Command::Wait { tasks, timeout } => wait(session, &tasks, timeout).await,
    }
}

/// What hosts are called, by UUID.
async fn host_names(session: &Session) -> anyhow::Result<HashMap<String, String>> {
    Ok(names_of(&finding::hosts(session).await?.hosts))
}

fn names_of(hosts: &[HostInfo]) -> HashMap<String, String> {
    let named = |host: &HostInfo| (host.id.clone(), finding::host_name(host).to_owned());
    hosts.iter().map(named).collect()
}

async fn list(session: &Session, host: Option<&str>, limit: usize) -> anyhow::Result<()> {
    let mut answer = waiting::tasks(session).await?;
    let hosts = finding::hosts(session).await?.hosts;
    let names = names_of(&hosts);
    if let Some(host) = host {
        let id = finding::chosen_host(hosts, host)?.id;
        answer
            .tasks
            .retain(|task| task.host_id.as_deref() == Some(id.as_str()));
    }
    answer.tasks.truncate(limit);
    session.output.data(&answer, |output| {
        if answer.tasks.is_empty() {
            output.say("no tasks");
            return Ok(());
        }
        output.table(task_table(&answer.tasks, &names, SystemTime::now()))
    })
}

fn task_table(tasks: &[TaskInfo], names: &HashMap<String, String>, now: SystemTime) -> Table {
    let columns = ["TASK", "WORK", "HOST", "STATUS", "CHANGED", "WHY"];
    let mut table = Table::new(&columns).cut();
    for task in tasks {
        let short: String = task.task_id.chars().take(SHORT).collect();
        table.row([
            (short.as_str(), Mark::Plain),
            (&task.kind, Mark::Plain),
            (host_of(task, names), Mark::Plain),
            (&task.status, mark(task)),
            (&instant::ago(&task.updated_at, now), Mark::Plain),
            (&task.error_message, Mark::Plain),
        ]);
    }
    table
}

fn mark(task: &TaskInfo) -> Mark {
    match task.status.as_str() {
        "succeeded" => Mark::Good,
        "failed" => Mark::Bad,
        _ => Mark::Dim,
    }
}

/// What the host of a task is called.
fn host_of<'a>(task: &'a TaskInfo, names: &'a HashMap<String, String>) -> &'a str {
    match &task.host_id {
        Some(id) => names.get(id).map_or("gone", String::as_str),
        None => "gone",
    }
}

/// The task whose UUID is `asked`, or begins so where only one does.
fn find<'a>(tasks: &'a TaskList, asked: &str) -> Result<&'a TaskInfo, Failure> {
    let asked = asked.to_lowercase();
    let like = |task: &&TaskInfo| !asked.is_empty() && task.task_id.starts_with(&asked);
    let mut found = tasks.tasks.iter().filter(like);
    match (found.next(), found.count()) {
        (Some(task), 0) => Ok(task),
        (None, _) => {
            let message = format!("find task {asked}: task not found");
            Err(Failure::new(Exit::NotFound, message).hint("`moorline task list` shows the latest"))
        }
        (Some(_), others) => {
            let message = format!("find task {asked}: {} begin so", others + 1);
            Err(Failure::new(Exit::Usage, message).hint("give more of it"))
        }
    }
}

async fn show(session: &Session, asked: &str) -> anyhow::Result<()> {
    let tasks = waiting::tasks(session).await?;
    let task = find(&tasks, asked)?;
    let names = host_names(session).await?;
    session.output.data(&Shown { task }, |output| {
        let mut table = Table::bare();
        table.pair("task", &task.task_id);
        table.pair("work", &task.kind);
        table.pair("host", host_of(task, &names));
        table.pair("status", &task.status);
        table.pair("asked for by", &task.requested_by);
        table.pair("error", &task.error_code);
        table.pair("why", &task.error_message);
        table.pair("made", &instant::shown(&task.created_at));
        table.pair("changed", &instant::shown(&task.updated_at));
        output.table(table)
    })
}

async fn wait(session: &Session, asked: &[String], timeout: Duration) -> anyhow::Result<()> {
    let tasks = waiting::tasks(session).await?;
    let names = host_names(session).await?;
    let mut wanted = Vec::new();
    for asked in asked {
        let task = find(&tasks, asked)?;
        let work = task.kind.replace('_', " ");
        wanted.push(Wanted {
            attempt: format!("{work} {}", host_of(task, &names)),
            task: task.task_id.clone(),
        });
    }
    let tasks = waiting::until_ended(session, &wanted, timeout).await?;
    let answer = TaskList { tasks };
    session.output.data(&answer, |_| Ok(()))?;
    waiting::judge(session, &wanted, &answer.tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_how_it_begins() {
        let task = |id: &str| -> TaskInfo {
            let text = format!(
                r#"{{"task_id":"{id}","host_id":null,"kind":"start_host","status":"pending"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let tasks = TaskList {
            tasks: vec![task("0f8fad5b-1"), task("0f8fad5b-2"), task("ab")],
        };
        assert_eq!(find(&tasks, "AB").unwrap().task_id, "ab");
        assert_eq!(find(&tasks, "0f8fad5b-2").unwrap().task_id, "0f8fad5b-2");
        assert_eq!(find(&tasks, "0f8").unwrap_err().exit(), Exit::Usage);
        assert_eq!(find(&tasks, "77").unwrap_err().exit(), Exit::NotFound);
        assert_eq!(find(&tasks, "").unwrap_err().exit(), Exit::NotFound);
    }
}
