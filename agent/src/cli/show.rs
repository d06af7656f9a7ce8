//! The only place that prints results.

use std::io::Write as _;

use serde::Serialize;
use serde_json::json;

use super::Exit;
use crate::doctor::{Finding, Verdict};
use crate::state::StateFolder;
use crate::status::{self, Activity, ForwardState, Status};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Prints one line; a closed pipe is the reader's choice.
pub(super) fn line(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").unwrap_or_default();
}

fn json_line(value: &impl Serialize) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// `enrol` while an agent runs: it is doing just that.
pub(super) fn identity_of_running(state: &StateFolder) -> Exit {
    match state.identity() {
        Ok(Some(identity)) => {
            line(&format!(
                "enrolled as {} ({})",
                identity.name, identity.client_id
            ));
            Exit::Ok
        }
        Ok(None) | Err(_) => {
            super::complain(
                "the running agent is enrolling this device",
                "`moorline-agent status` says how far it is",
            );
            Exit::Failed
        }
    }
}

/// `status`.
pub(super) async fn status(state: &StateFolder, form: Form) -> Exit {
    let running = status::ask(state.path()).await;
    let identity = state.identity().ok().flatten();
    let Some(status) = running else {
        let name = identity.as_ref().map(|identity| identity.name.clone());
        match (form, &name) {
            (Form::Json, _) => {
                let client_id = identity.as_ref().map(|identity| &identity.client_id);
                json_line(
                    &json!({"activity": "not_running", "name": name, "client_id": client_id}),
                );
            }
            (Form::Text, Some(name)) => line(&format!("not running; enrolled as {name}")),
            (Form::Text, None) => line("not running; not enrolled"),
        }
        return match name {
            Some(_) => Exit::Failed,
            None => Exit::NotEnrolled,
        };
    };
    match form {
        Form::Json => json_line(&status),
        Form::Text => status_lines(&status).iter().for_each(|text| line(text)),
    }
    match status.activity {
        Activity::Connected => Exit::Ok,
        Activity::Refused => Exit::Refused,
        Activity::Starting | Activity::Enrolling => Exit::NotEnrolled,
        Activity::Waiting if status.client_id.is_none() => Exit::NotEnrolled,
        Activity::Connecting | Activity::Waiting => Exit::Unreachable,
    }
}

fn status_lines(status: &Status) -> Vec<String> {
    let mut lines = vec![headline(status)];
    if let Some(reason) = &status.reason {
        lines.push(format!("reason:    {reason}"));
    }
    if let Some(secs) = status.next_attempt_in_secs {
        lines.push(format!("next try:  in {secs} s"));
    }
    if let (Some(name), Some(id)) = (&status.name, &status.client_id) {
        lines.push(format!("device:    {name} ({id})"));
    }
    if let Some(server) = &status.server {
        lines.push(format!("node:      {server}"));
    }
    if let (Some(remote), Some(local)) = (status.remote_port, status.local_port) {
        let state = match status.forward {
            Some(ForwardState::Open) => "open",
            Some(ForwardState::Refused) => "refused by the server",
            Some(ForwardState::Closed) => "closed by an operator",
            None => "not open",
        };
        lines.push(format!(
            "forward:   port {remote} there to port {local} here, {state}"
        ));
    }
    if let Some(millis) = status.round_trip_millis {
        lines.push(format!("roundtrip: {millis} ms"));
    }
    let heard = status
        .last_heard_secs_ago
        .map_or_else(String::new, |secs| format!(", last heard {secs} s ago"));
    lines.push(format!(
        "traffic:   {} bytes in, {} bytes out, {} streams open{heard}",
        status.received_bytes, status.sent_bytes, status.streams
    ));
    lines
}

fn headline(status: &Status) -> String {
    let since = format!("for {} s", status.for_secs);
    match status.activity {
        Activity::Starting => "starting".into(),
        Activity::Enrolling => format!("enrolling {since}"),
        Activity::Connecting => format!("connecting {since}"),
        Activity::Connected => format!("connected {since}"),
        Activity::Waiting => format!("not connected {since}; will try again"),
        Activity::Refused => format!("refused {since}; someone must act"),
    }
}

/// `doctor`.
pub(super) fn findings(findings: &[Finding], form: Form) -> Exit {
    match form {
        Form::Json => {
            let healthy = findings
                .iter()
                .all(|finding| finding.verdict != Verdict::Bad);
            json_line(&json!({"healthy": healthy, "findings": findings}));
        }
        Form::Text => {
            for finding in findings {
                let mark = match finding.verdict {
                    Verdict::Good => "ok  ",
                    Verdict::Doubtful => "note",
                    Verdict::Bad => "FAIL",
                    Verdict::Skipped => "skip",
                };
                line(&format!("{mark}  {:<10} {}", finding.what, finding.says));
                if let Some(hint) = &finding.hint {
                    line(&format!("      hint:      {hint}"));
                }
            }
        }
    }
    let worst = findings
        .iter()
        .find(|finding| finding.verdict == Verdict::Bad);
    worst.map_or(Exit::Ok, |finding| finding.exit)
}
