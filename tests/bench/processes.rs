use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::run;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

/// The name of the user who runs the bench.
pub(crate) fn me() -> String {
    run(Command::new("id").arg("-un")).ok().trim().to_owned()
}

/// The process `id` and everything that it started.
pub(crate) fn family(id: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let Some(child) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(parent) = parent(child) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = vec![id];
    let mut waiting = vec![id];
    while let Some(parent) = waiting.pop() {
        let more = children.remove(&parent).unwrap_or_default();
        found.extend(&more);
        waiting.extend(more);
    }
    found
}

fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold blanks and brackets; after the last bracket come the state and the parent.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

/// Kill -9.
pub(crate) fn kill(ids: &[u32]) {
    for id in ids {
        let id = Pid::from_raw(i32::try_from(*id).unwrap_or_default());
        // One that has gone by itself is as good.
        send(id, Signal::SIGKILL).unwrap_or_default();
    }
}

/// Memory of these processes together; what several share counts once (PSS).
pub(crate) fn memory_bytes(ids: &[u32]) -> Result<u64> {
    let mut kibibytes = 0;
    for id in ids {
        let path = format!("/proc/{id}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        kibibytes += number
            .context("no Pss line")?
            .parse::<u64>()
            .context("read Pss")?;
    }
    Ok(kibibytes * 1024)
}

/// Waits until the memory of the process has not grown for a second; ten seconds at most.
pub(crate) fn wait_settled(id: u32) -> Result<()> {
    let mut before = memory_bytes(&[id])?;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(1));
        let now = memory_bytes(&[id])?;
        if now <= before {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}
