//! `moorline complete-names`: which names may stand at the end of a command line that is not finished.
//!
//! The shells know the words of the program; only the server knows what its devices, hosts and users are called.
//! Nothing is said when the server is not there or nobody is logged in: a completion is no place for errors.

use std::time::Duration;

use clap::{Arg, Command, CommandFactory as _};
use moorline_protocol::operator::DeviceList;

use crate::api::KeyList;
use crate::finding;
use crate::session::{Context, Session};

/// What the scripts call it.
pub(crate) const NAMES: &str = "complete-names";
/// Most names given.
const MOST: u64 = 200;
/// Whoever pressed Tab does not wait longer.
const LONGEST: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct NamesArguments {
    /// The words after `moorline`, the last of them unfinished
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Whose names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Device,
    DeviceOrHost,
    Host,
    User,
    EgressIp,
    Key,
    Profile,
}

/// Prints the names that may stand in the place of the last word.
pub(crate) async fn names(context: &Context, arguments: &NamesArguments) {
    let Some((last, before)) = arguments.words.split_last() else {
        return;
    };
    let mut root = crate::arguments::Arguments::command();
    root.build();
    let Some((kind, typed)) = place(&root, before, last) else {
        return;
    };
    let found = tokio::time::timeout(LONGEST, known(context, kind, typed)).await;
    let mut text = String::new();
    for name in found.unwrap_or_default() {
        if name.starts_with(typed) && is_plain(&name) {
            text.push_str(&name);
            text.push('\n');
        }
    }
    // Nobody is left to tell when the shell has gone.
    drop(context.output.raw(&text));
}

/// Whether a shell takes `name` for one word and nothing more.
fn is_plain(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-:@+/".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(good)
}

/// What belongs in the place of `last`, which follows the words `before`, and what of it is typed already.
fn place<'a>(root: &Command, before: &[String], last: &'a str) -> Option<(Kind, &'a str)> {
    let mut command = root;
    let mut path = Vec::new();
    let mut positionals = 0;
    let mut pending: Option<&Arg> = None;
    let mut only_positionals = false;
    for word in before {
        if pending.take().is_some() {
            continue;
        }
        if !only_positionals && word == "--" {
            only_positionals = true;
        } else if !only_positionals && word.starts_with('-') && word.len() > 1 {
            pending = option(command, word).filter(|_| !word.contains('='));
        } else if let Some(below) = command.find_subcommand(word).filter(|_| positionals == 0) {
            command = below;
            path.push(below.get_name());
        } else {
            positionals += 1;
        }
    }
    if let Some(option) = pending {
        return Some((kind(&path, option)?, last));
    }
    if last.starts_with('-') {
        let (name, typed) = last.split_once('=')?;
        return Some((kind(&path, option(command, name)?)?, typed));
    }
    let positional = command.get_positionals().nth(positionals).or_else(|| {
        command
            .get_positionals()
            .last()
            .filter(|arg| takes_many(arg))
    })?;
    Some((kind(&path, positional)?, last))
}

fn takes_many(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|count| count.max_values() > 1)
        || matches!(arg.get_action(), clap::ArgAction::Append)
}

/// The option that `word` is, if it takes a value.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let takes_value = |arg: &&Arg| arg.get_action().takes_values() && !arg.is_positional();
    let mut options = command.get_arguments().filter(takes_value);
    match word.strip_prefix("--") {
        Some(long) => {
            let long = long.split('=').next();
            options.find(|arg| arg.get_long() == long)
        }
        None => {
            let short = word.chars().nth(1).filter(|_| word.chars().count() == 2);
            options.find(|arg| short.is_some() && arg.get_short() == short)
        }
    }
}

/// Whose names the argument `arg` of the command at `path` takes.
fn kind(path: &[&str], arg: &Arg) -> Option<Kind> {
    match (path, arg.get_id().as_str()) {
        (["ssh"], "device") => Some(Kind::DeviceOrHost),
        (_, "device" | "devices") => Some(Kind::Device),
        (_, "host" | "hosts") => Some(Kind::Host),
        (["user", "create"], _) => None,
        (_, "user") => Some(Kind::User),
        (_, "egress_ip") => Some(Kind::EgressIp),
        (["key", ..], "key") => Some(Kind::Key),
        (["profile", ..], "name") | (_, "profile") => Some(Kind::Profile),
        _ => None,
    }
}

async fn known(context: &Context, kind: Kind, typed: &str) -> Vec<String> {
    if kind == Kind::Profile {
        let names = context.store.names().unwrap_or_default();
        return names.iter().map(ToString::to_string).collect();
    }
    let Ok(session) = context.session() else {
        return Vec::new();
    };
    let found = match kind {
        Kind::Device => devices(&session, typed).await,
        Kind::DeviceOrHost => {
            let mut names = hosts(&session).await.unwrap_or_default();
            names.extend(devices(&session, typed).await.unwrap_or_default());
            Ok(names)
        }
        Kind::Host => hosts(&session).await,
        Kind::User => finding::users(&session).await.map(|answer| {
            let names = answer.users.into_iter().map(|user| user.username);
            names.collect()
        }),
        Kind::EgressIp => finding::egress_ips(&session).await.map(|answer| {
            let names = answer.egress_ips.into_iter().map(|ip| ip.label);
            names.collect()
        }),
        Kind::Key => keys(&session).await,
        Kind::Profile => Ok(Vec::new()),
    };
    found.unwrap_or_default()
}

async fn devices(session: &Session, typed: &str) -> anyhow::Result<Vec<String>> {
    let query = [("limit", MOST.to_string()), ("prefix", typed.to_owned())];
    let path = ["v1", "admin", "devices"];
    let page: DeviceList = session.api.get("list devices", &path, &query).await?;
    let names = page.devices.into_iter().map(|device| device.name);
    Ok(names.collect())
}

async fn hosts(session: &Session) -> anyhow::Result<Vec<String>> {
    let hosts = finding::hosts(session).await?.hosts;
    let names = hosts.iter().map(|host| finding::host_name(host).to_owned());
    Ok(names.collect())
}

async fn keys(session: &Session) -> anyhow::Result<Vec<String>> {
    let path = ["v1", "user", "ssh-keys"];
    let answer: KeyList = session.api.get("list SSH keys", &path, &[]).await?;
    Ok(answer.keys.into_iter().map(|key| key.label).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_tells_what_is_wanted() {
        let mut root = crate::arguments::Arguments::command();
        root.build();
        for (line, expected) in [
            ("ssh |", Some((Kind::DeviceOrHost, ""))),
            ("ssh cam|", Some((Kind::DeviceOrHost, "cam"))),
            ("--json device show cam|", Some((Kind::Device, "cam"))),
            ("device rm cam1 |", Some((Kind::Device, ""))),
            ("device rename cam1 |", None),
            ("host start ab ef|", Some((Kind::Host, "ef"))),
            ("host create --user an|", Some((Kind::User, "an"))),
            ("host create --user=an|", Some((Kind::User, "an"))),
            (
                "host create --user anna --device |",
                Some((Kind::Device, "")),
            ),
            ("host create |", None),
            ("user show |", Some((Kind::User, ""))),
            ("user create |", None),
            ("egress bind ab |", Some((Kind::EgressIp, ""))),
            ("egress bind |", Some((Kind::Host, ""))),
            ("key rm |", Some((Kind::Key, ""))),
            ("profile use |", Some((Kind::Profile, ""))),
            ("--profile wo|", Some((Kind::Profile, "wo"))),
            ("event list --type |", None),
            ("event list --host |", Some((Kind::Host, ""))),
            ("device list |", None),
            ("dev|", None),
        ] {
            let line = line.strip_suffix('|').unwrap();
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let (last, before) = words.split_last().unwrap();
            assert_eq!(place(&root, before, last), expected, "{line}");
        }
    }

    #[test]
    fn only_plain_names_reach_a_shell() {
        for good in ["cam000001", "anna", "203.0.113.7", "SHA256:x"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "-rf", "$(id)", "a b", "a\nb", "`x`", "a;b", "'"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
