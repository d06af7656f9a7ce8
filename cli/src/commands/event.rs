//! `moorline event`.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use crate::api::{EventInfo, EventList, HostInfo, UserInfo};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::finding;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

/// Events: what happened
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show events, newest first
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show the latest events and then each one as it happens, oldest first, until interrupted
    Follow(FollowArguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    filter: Filter,
    /// Not newer than that: 2027-01-31T12:00:00Z, or so long ago: 1h
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// How many to leave out first
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FollowArguments {
    #[command(flatten)]
    filter: Filter,
    /// How many earlier ones to show first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=200))]
    last: u64,
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Only this type, such as auth.failed
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only of this user: name, short id or UUID
    #[arg(long)]
    user: Option<String>,
    /// Only of this host: short id, name or UUID
    #[arg(long)]
    host: Option<String>,
    /// Not older than that: 2027-01-31T12:00:00Z, or so long ago: 24h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

const EXAMPLES: &str = "Examples:
  moorline event list --type auth.failed --since 24h
  moorline event list --host ab12cd --limit 20 --offset 20
  moorline event list --user udo --since 7d --until 1d --json
  moorline event follow --last 20";
const EVENTS: [&str; 3] = ["v1", "admin", "events"];
/// Most that the server gives at once.
const PAGE: u64 = 200;
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Events are written by several hands: one that is this much older than the newest may still come.
const OVERLAP: Duration = Duration::from_secs(10);
/// Most events taken up in one look; the rest are skipped with a warning.
const MAX_AT_ONCE: usize = 10_000;

/// Runs `moorline event`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(arguments) => list(session, arguments).await,
        Command::Follow(arguments) => follow(session, arguments).await,
    }
}

impl Filter {
    fn since(&self) -> Result<Option<String>, Failure> {
        let since = self.since.as_deref();
        let parse = |text| instant::parse_since(text, SystemTime::now());
        since.map(parse).transpose()
    }

    async fn query(&self, session: &Session) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut query = Vec::new();
        if let Some(kind) = &self.kind {
            query.push(("type", kind.clone()));
        }
        if let Some(user) = &self.user {
            query.push(("user_id", id_of(user, finding::user(session, user).await)?));
        }
        if let Some(host) = &self.host {
            query.push(("host_id", id_of(host, finding::host(session, host).await)?));
        }
        Ok(query)
    }
}

/// The id of what was found. Events outlive what they name: an id that nothing has any more is asked for all the same.
fn id_of<T: Identified>(asked: &str, found: anyhow::Result<T>) -> anyhow::Result<String> {
    match found {
        Ok(found) => Ok(found.id()),
        Err(error) if failure::exit_of(&error) == Exit::NotFound && finding::is_uuid(asked) => {
            Ok(asked.to_owned())
        }
        Err(error) => Err(error),
    }
}

/// What has an id.
trait Identified {
    fn id(self) -> String;
}

impl Identified for UserInfo {
    fn id(self) -> String {
        self.id
    }
}

impl Identified for HostInfo {
    fn id(self) -> String {
        self.id
    }
}

/// Up to `limit` events after the `skipped` newest, newest first, page by page.
async fn events(
    session: &Session,
    query: &[(&'static str, String)],
    (skipped, limit): (u64, u64),
) -> anyhow::Result<EventList> {
    let mut events: Vec<EventInfo> = Vec::new();
    loop {
        let left = limit.saturating_sub(events.len() as u64).min(PAGE);
        let mut query = query.to_vec();
        query.push(("limit", left.max(1).to_string()));
        let offset = skipped.saturating_add(events.len() as u64);
        query.push(("offset", offset.to_string()));
        let page: EventList = session.api.get("list events", &EVENTS, &query).await?;
        let full = page.events.len() as u64 >= left;
        events.extend(page.events);
        if !full || events.len() as u64 >= limit {
            events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            return Ok(EventList {
                events,
                total: page.total,
            });
        }
    }
}

async fn list(session: &Session, arguments: ListArguments) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let until = arguments
        .until
        .map(|text| instant::parse_since(&text, now))
        .transpose()?;
    let since = arguments.filter.since()?;
    let mut query = arguments.filter.query(session).await?;
    for (name, value) in [("since", since), ("until", until)] {
        if let Some(value) = value {
            query.push((name, value));
        }
    }
    let page = (arguments.offset, arguments.limit);
    let answer = events(session, &query, page).await?;
    session.output.data(&answer, |output| {
        if answer.events.is_empty() {
            output.say("no events");
            return Ok(());
        }
        let mut table = Table::new(&["TYPE", "LEVEL", "WHEN", "MESSAGE"]).cut();
        for event in &answer.events {
            table.row([
                (event.r#type.as_str(), Mark::Plain),
                (&event.level, mark(&event.level)),
                (&instant::ago(&event.created_at, now), Mark::Plain),
                (&event.message, Mark::Plain),
            ]);
        }
        output.table(table)?;
        let shown = answer.events.len() as u64;
        if shown < answer.total {
            output.say(&format!("{shown} of {} events", answer.total));
        }
        Ok(())
    })
}

fn mark(level: &str) -> Mark {
    match level {
        "error" | "warn" => Mark::Bad,
        _ => Mark::Dim,
    }
}

async fn follow(session: &Session, arguments: FollowArguments) -> anyhow::Result<()> {
    let mut seen = Seen::default();
    let since = arguments.filter.since()?;
    let mut query = arguments.filter.query(session).await?;
    if let Some(since) = since {
        query.push(("since", since));
    }
    // One more than asked for, so that even none tells where to go on from.
    let first = events(session, &query, (0, arguments.last.max(1))).await?;
    let mut fresh = seen.fresh(first.events);
    let last = usize::try_from(arguments.last).unwrap_or(usize::MAX);
    print(session, fresh.split_off(fresh.len().saturating_sub(last)))?;
    let mut troubled = false;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let query = from_newest(&query, &seen);
        match events(session, &query, (0, MAX_AT_ONCE as u64)).await {
            Ok(answer) => {
                troubled = false;
                if answer.total > MAX_AT_ONCE as u64 {
                    session
                        .output
                        .warn("too many events at once, some are skipped");
                }
                print(session, seen.fresh(answer.events))?;
            }
            // The server will be back; a refusal will not change.
            Err(error) if failure::exit_of(&error) == Exit::Unreachable => {
                if !troubled {
                    session.output.error(&error);
                    session.output.say("still trying");
                }
                troubled = true;
            }
            Err(error) => return Err(error),
        }
    }
}

/// `query`, from a little before the newest event on.
fn from_newest(query: &[(&'static str, String)], seen: &Seen) -> Vec<(&'static str, String)> {
    let mut query = query.to_vec();
    if let Some(since) = seen.look_from() {
        query.retain(|(name, _)| *name != "since");
        query.push(("since", since));
    }
    query
}

fn print(session: &Session, events: Vec<EventInfo>) -> anyhow::Result<()> {
    for event in events {
        session.output.data(&event, |output| {
            output.line(&format!(
                "{} {:5} {} {}",
                event.created_at, event.level, event.r#type, event.message
            ))
        })?;
    }
    Ok(())
}

/// Which events were shown.
#[derive(Default)]
struct Seen {
    newest: Option<SystemTime>,
    /// Those that a look may give again.
    ids: HashSet<String>,
}

impl Seen {
    /// Those of `events`, which are newest first, that were not seen yet: oldest first.
    fn fresh(&mut self, events: Vec<EventInfo>) -> Vec<EventInfo> {
        let times = events.iter().filter_map(time);
        self.newest = times.chain(self.newest).max();
        let mut fresh: Vec<EventInfo> = Vec::new();
        let mut again = HashSet::new();
        for event in events {
            // A page shifts when something happens between two of them.
            if again.insert(event.id.clone()) && !self.ids.contains(&event.id) {
                fresh.push(event);
            }
        }
        // A look that gives nothing says nothing about what the next one gives.
        if !again.is_empty() {
            self.ids = again;
        }
        fresh.reverse();
        fresh
    }

    fn look_from(&self) -> Option<String> {
        let from = self.newest?.checked_sub(OVERLAP)?;
        Some(humantime::format_rfc3339_micros(from).to_string())
    }
}

fn time(event: &EventInfo) -> Option<SystemTime> {
    humantime::parse_rfc3339(&event.created_at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, at: &str) -> EventInfo {
        let text = format!(
            r#"{{"id":"{id}","level":"info","type":"t","message":"m","created_at":"2026-11-22T12:00:{at}Z"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn ids(events: Vec<EventInfo>) -> Vec<String> {
        events.into_iter().map(|event| event.id).collect()
    }

    #[test]
    fn each_event_is_shown_once_and_in_order() {
        let mut seen = Seen::default();
        assert_eq!(seen.look_from(), None);
        let first = seen.fresh(vec![event("b", "17.5"), event("a", "17")]);
        assert_eq!(ids(first), ["a", "b"]);
        assert_eq!(seen.look_from().unwrap(), "2026-11-22T12:00:07.500000Z");
        let again = seen.fresh(vec![event("b", "17.5"), event("a", "17")]);
        assert_eq!(ids(again), Vec::<String>::new());
        // One that was written late.
        let late = seen.fresh(vec![
            event("d", "19"),
            event("c", "16.9"),
            event("b", "17.5"),
        ]);
        assert_eq!(ids(late), ["c", "d"]);
        assert_eq!(seen.look_from().unwrap(), "2026-11-22T12:00:09.000000Z");
    }
}
