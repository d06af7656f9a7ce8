//! Waiting for work that the server does by and by, with something to see on a terminal.

use std::time::{Duration, Instant};

use crate::api::{TaskInfo, TaskList};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::session::Session;

/// Longest wait: the server fails what nobody touched for ten minutes, and looks every minute.
pub(crate) const LONGEST: Duration = Duration::from_secs(12 * 60);
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const TASKS: [&str; 3] = ["v1", "admin", "tasks"];

/// A task, and what it is called in front of the operator: `start host ab12cd`.
pub(crate) struct Wanted {
    /// What was attempted, and on what.
    pub(crate) attempt: String,
    /// UUID of the task.
    pub(crate) task: String,
}

/// The latest tasks, last changed first.
pub(crate) async fn tasks(session: &Session) -> anyhow::Result<TaskList> {
    session.api.get("list tasks", &TASKS, &[]).await
}

/// Waits until every task of `wanted` has ended, at most for `limit`; gives them in their order. Each end is told as
/// it comes. A server that is away for a while is waited for.
///
/// # Errors
/// When the time is over, when the server refuses, or when it no longer lists a task.
pub(crate) async fn until_ended(
    session: &Session,
    wanted: &[Wanted],
    limit: Duration,
) -> anyhow::Result<Vec<TaskInfo>> {
    let began = Instant::now();
    let output = &session.output;
    let mut ended: Vec<Option<TaskInfo>> = wanted.iter().map(|_| None).collect();
    let spinner = output.spinner();
    let attempts: Vec<&str> = wanted.iter().map(|one| one.attempt.as_str()).collect();
    spinner.set_message(attempts.join(", "));
    loop {
        let mut still = Vec::new();
        match tasks(session).await {
            Ok(answer) => {
                for (wanted, slot) in wanted.iter().zip(&mut ended) {
                    if slot.is_some() {
                        continue;
                    }
                    let task = answer.tasks.iter().find(|task| task.task_id == wanted.task);
                    let task = task.ok_or_else(|| gone(wanted))?;
                    if task.has_ended() {
                        spinner.suspend(|| tell(session, wanted, task, began.elapsed()));
                        *slot = Some(task.clone());
                    } else {
                        still.push(format!("{}: {}", wanted.attempt, task.status));
                    }
                }
                if still.is_empty() {
                    spinner.finish_and_clear();
                    return Ok(ended.into_iter().flatten().collect());
                }
                spinner.set_message(still.join(", "));
            }
            Err(error) if failure::exit_of(&error) == Exit::Unreachable => {
                spinner.set_message("the server does not answer, still trying");
            }
            Err(error) => return Err(error),
        }
        if began.elapsed() >= limit {
            let message = match still.first() {
                Some(first) => format!("{first} after {} s", limit.as_secs()),
                None => "wait for tasks: the server does not answer".to_owned(),
            };
            return Err(Failure::new(Exit::Failed, message)
                .hint("it goes on; `moorline task list` shows how far it is")
                .into());
        }
        tokio::time::sleep(LOOK_INTERVAL.min(limit.saturating_sub(began.elapsed()))).await;
    }
}

fn gone(wanted: &Wanted) -> Failure {
    let message = format!("{}: task {} not found", wanted.attempt, wanted.task);
    Failure::new(Exit::NotFound, message).hint("the server lists the 1000 latest tasks only")
}

fn tell(session: &Session, wanted: &Wanted, task: &TaskInfo, took: Duration) {
    if task.status == "succeeded" {
        let seconds = took.as_secs();
        let line = format!("{}: succeeded after {seconds} s", wanted.attempt);
        session.output.say(&line);
    }
}

/// The failure of the tasks that did not succeed; all but the last are told at once.
pub(crate) fn judge(
    session: &Session,
    wanted: &[Wanted],
    ended: &[TaskInfo],
) -> anyhow::Result<()> {
    let mut latest = None;
    for (wanted, task) in wanted.iter().zip(ended) {
        if task.status == "succeeded" {
            continue;
        }
        if let Some(before) = latest.replace(anyhow::Error::from(failed(wanted, task))) {
            session.output.error(&before);
        }
    }
    latest.map_or(Ok(()), Err)
}

fn failed(wanted: &Wanted, task: &TaskInfo) -> Failure {
    let why = match task.error_message.as_str() {
        "" => task.status.clone(),
        message => format!("{message} ({})", task.error_code),
    };
    let failure = Failure::new(Exit::Failed, format!("{}: {why}", wanted.attempt));
    match task.error_code.as_str() {
        "egress_binding_missing" => {
            failure.hint("bind one with `moorline egress bind HOST EGRESS_IP`")
        }
        "ssh_not_ready" => {
            failure.hint("is the device switched on? `moorline device list` shows its link")
        }
        "stale_timeout" => failure.hint("is the node of the host up? `moorline node list` shows"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_task_tells_what_was_attempted_why_and_what_to_do() {
        let wanted = Wanted {
            attempt: "start host ab12cd".to_owned(),
            task: "t".to_owned(),
        };
        let task = |status: &str, code: &str, message: &str| -> TaskInfo {
            let text = format!(
                r#"{{"task_id":"t","host_id":null,"kind":"start_host","status":"{status}","error_code":"{code}","error_message":"{message}"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let unbound = failed(
            &wanted,
            &task("failed", "egress_binding_missing", "no egress IP is bound"),
        );
        let shown = unbound.to_string();
        assert_eq!(
            shown,
            "start host ab12cd: no egress IP is bound (egress_binding_missing)"
        );
        let error = anyhow::Error::from(unbound);
        assert!(failure::hint_of(&error).unwrap().contains("egress bind"));
        let canceled = failed(&wanted, &task("canceled", "", ""));
        assert_eq!(canceled.to_string(), "start host ab12cd: canceled");
        assert!(task("canceled", "", "").has_ended() && !task("pending", "", "").has_ended());
    }
}
