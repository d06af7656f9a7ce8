//! `moorline ssh-config`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::gateway::{Route, is_device_name};
use crate::private_file::{self, PRIVATE};
use crate::session::{Context, Session};

/// Let plain ssh, scp, sftp and rsync reach devices by name
///
/// Writes a config with a Host for each device, and an Include line into ~/.ssh/config. Run it again when
/// devices were added or renamed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print the config and change no ssh config
    #[arg(long, conflicts_with = "remove")]
    print: bool,

    /// Take the config and the Include line out again
    #[arg(long)]
    remove: bool,

    /// Only devices whose names begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// The ssh config to include from, in place of ~/.ssh/config
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Do not ask before ~/.ssh/config is changed
    #[arg(long, short)]
    yes: bool,
}

const EXAMPLES: &str = "Examples:
  moorline ssh-config
  moorline ssh-config --print --prefix cam
  moorline ssh-config --remove";

#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
    included_from: &'a Path,
    devices: usize,
}

#[derive(Serialize)]
struct Printed<'a> {
    config: &'a str,
    devices: usize,
}

#[derive(Serialize)]
struct Removed<'a> {
    file: &'a Path,
    was_there: bool,
}

/// Stands above the Include line, so that a reader knows whose it is.
const REASON: &str = "# Devices by name; `moorline ssh-config --remove` takes this out.";

/// Runs `moorline ssh-config`.
pub(crate) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let user_file = match &arguments.file {
        Some(file) => file.clone(),
        None => directories::BaseDirs::new()
            .context("find ~/.ssh/config: no home folder")?
            .home_dir()
            .join(".ssh/config"),
    };
    if arguments.remove {
        return remove(context, &user_file, arguments.yes);
    }
    let mut session = context.session()?;
    let (config, devices) = render(&mut session, arguments.prefix.as_deref()).await?;
    if arguments.print {
        let config = config.as_str();
        return session
            .output
            .data(&Printed { config, devices }, |output| output.raw(config));
    }
    let file = context.store.ssh_config(&session.name);
    private_file::write(&file, config.as_bytes(), PRIVATE)?;
    include(context, &user_file, arguments.yes)?;
    let answer = Written {
        file: &file,
        included_from: &user_file,
        devices,
    };
    session.output.data(&answer, |output| {
        output.say(&format!("wrote {} with {devices} devices", file.display()));
        Ok(())
    })
}

/// The config, and for how many devices it is.
async fn render(session: &mut Session, prefix: Option<&str>) -> anyhow::Result<(String, usize)> {
    let gateway = session.gateway().await?;
    let devices = session.devices(prefix).await?;
    let mut names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    names.retain(|name| is_device_name(name));
    names.sort_unstable();
    names.dedup();
    let known_hosts = session.store.known_hosts(&session.name);
    let identities = session.identities();
    let route = Route {
        gateway: &gateway,
        profile: &session.name,
        operator: &session.profile.username,
        known_hosts: &known_hosts,
        identities: &identities,
    };
    Ok((route.config(&names), names.len()))
}

/// The Include line: every profile's config at once.
fn include_line(context: &Context) -> anyhow::Result<String> {
    let folder = context.store.folder().join("ssh");
    let path = folder
        .to_str()
        .filter(|path| !path.contains(['"', '\n', '*', '?', '[', '%', '$']))
        .with_context(|| format!("include {}: ssh cannot read such a path", folder.display()))?;
    Ok(format!("Include \"{path}/*.conf\""))
}

fn include(context: &Context, user_file: &Path, yes: bool) -> anyhow::Result<()> {
    let line = include_line(context)?;
    let old = private_file::read(user_file)?.unwrap_or_default();
    let Some(new) = with_include(&old, &line) else {
        return Ok(());
    };
    if !yes && !allowed(context, user_file)? {
        let message = format!(
            "include the devices from {}: not allowed",
            user_file.display()
        );
        return Err(Failure::new(Exit::Failed, message)
            .hint(format!("put this line at its top yourself: {line}"))
            .into());
    }
    rewrite(user_file, &new)
}

fn allowed(context: &Context, user_file: &Path) -> anyhow::Result<bool> {
    let question = format!("add an Include line to {}?", user_file.display());
    context.output.confirm(&question)
}

/// `old` with the Include line at its top, where it is in no Host block; nothing if it has it already.
fn with_include(old: &str, line: &str) -> Option<String> {
    let has_it = old.lines().any(|existing| existing.trim() == line);
    (!has_it).then(|| {
        let gap = if old.is_empty() { "" } else { "\n" };
        format!("{REASON}\n{line}\n{gap}{old}")
    })
}

/// `old` without what [`with_include`] put there; nothing if it has none of it.
fn without_include(old: &str, line: &str) -> Option<String> {
    let whole = format!("{REASON}\n{line}\n");
    if let Some(rest) = old.strip_prefix(&whole) {
        return Some(rest.strip_prefix('\n').unwrap_or(rest).to_owned());
    }
    let mut new = String::new();
    let mut found = false;
    for existing in old.split_inclusive('\n') {
        let text = existing.trim();
        if text == line || text == REASON {
            found = true;
        } else {
            new.push_str(existing);
        }
    }
    found.then_some(new)
}

/// Replaces `file` whole, with its mode, behind a link if it is one.
fn rewrite(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mode = std::fs::metadata(&target)
        .map_or(PRIVATE, |metadata| metadata.permissions().mode() & 0o777);
    private_file::write(&target, text.as_bytes(), mode)
}

fn remove(context: &Context, user_file: &Path, yes: bool) -> anyhow::Result<()> {
    let name = context.store.choose(context.asked.as_ref())?;
    let file = context.store.ssh_config(&name);
    let was_there = private_file::remove(&file)?;
    let folder = context.store.folder().join("ssh");
    let others = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if !others {
        let line = include_line(context)?;
        let old = private_file::read(user_file)?.unwrap_or_default();
        if let Some(new) = without_include(&old, &line) {
            let question = format!("take the Include line out of {}?", user_file.display());
            if yes || context.output.confirm(&question)? {
                rewrite(user_file, &new)?;
            }
        }
    }
    let answer = Removed {
        file: &file,
        was_there,
    };
    context.output.data(&answer, |output| {
        let what = if was_there { "removed" } else { "there was no" };
        output.say(&format!("{what} {}", file.display()));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LINE: &str = "Include \"/c/ssh/*.conf\"";

    #[test]
    fn the_include_comes_first_once_and_goes_without_a_trace() {
        for old in [
            "",
            "Host *\n    User me\n",
            "\n# mine\nHost a",
            "no newline at end",
        ] {
            let new = with_include(old, LINE).unwrap();
            assert!(new.lines().nth(1) == Some(LINE), "{new}");
            assert_eq!(with_include(&new, LINE), None);
            assert_eq!(without_include(&new, LINE).unwrap(), old);
        }
        assert_eq!(without_include("Host a\n", LINE), None);
    }

    #[test]
    fn an_include_that_was_moved_is_found_too() {
        let old = format!("# top\n{REASON}\n{LINE}\nHost a\n");
        assert_eq!(without_include(&old, LINE).unwrap(), "# top\nHost a\n");
    }

    #[test]
    fn a_linked_config_stays_a_link_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("dotfiles");
        let link = folder.path().join("config");
        std::fs::write(&real, "old").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        rewrite(&link, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }
}
