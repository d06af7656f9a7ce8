//! Moorline side by side with plain loopback TCP, OpenSSH `ssh -R` and rathole, in one run on one machine.
//!
//! | module | has |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`measures`] | what is measured |
//! | [`load`] | visitors of a public port: copies, requests, connections, a server that was away |
//! | [`idle`], [`create`] | many idle tunnels, many new devices |
//! | [`fleet`] | many agents that come back, tunnels that take over |
//! | [`peers`] | those who are compared |
//! | [`web`] | the web server on the device |
//! | [`service`] | the program on the device that every peer leads to |
//! | [`processes`] | memory and end of processes |
//! | [`report`] | the table and the JSON |
//!
//! *Invariant:* nothing is asserted. What cannot be measured is said at the foot of the table, and the rest goes on.
//! *Invariant:* rounds go from peer to peer, so that a machine that is slower for a while is so for everybody; only
//! figures of one run may be compared.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::arguments::{Arguments, HELP};
use crate::measures::{Figures, Measure};
use crate::peers::{Peer, guarded};
use crate::report::Report;
use crate::service::Service;

mod arguments;
mod create;
mod fleet;
mod idle;
mod load;
mod measures;
mod peers;
mod processes;
mod report;
mod service;
mod web;

/// No round begins that would probably end later than this.
const BUDGET: Duration = Duration::from_secs(330);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.help {
        print(HELP);
        return Ok(());
    }
    let mut report = Report::default();
    report.condition(machine());
    report.condition(format!("load average before: {}", load_average()));
    let service = Service::start()?;
    let mut peers = start_peers(&arguments, &service, &mut report);
    let start = Instant::now();
    for round in 1..=arguments.rounds {
        for measure in &arguments.measures {
            if round <= measure.most_rounds() {
                for peer in &mut peers {
                    take(
                        *measure,
                        peer.as_mut(),
                        round,
                        &service,
                        &arguments,
                        &mut report,
                    );
                }
            }
        }
        let spent = start.elapsed();
        let next = spent / u32::try_from(round).unwrap_or(u32::MAX);
        if round < arguments.rounds && spent + next > BUDGET {
            report.note(format!(
                "{round} rounds only: the machine is slow and the time was up"
            ));
            break;
        }
    }
    drop(peers);
    report.condition(format!(
        "load average after: {}, {} s",
        load_average(),
        start.elapsed().as_secs()
    ));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench.json");
    let json = serde_json::to_string_pretty(&report.json())?;
    std::fs::write(&file, json).with_context(|| format!("write {}", file.display()))?;
    print(&report.table());
    Ok(())
}

fn start_peers(
    arguments: &Arguments,
    service: &Service,
    report: &mut Report,
) -> Vec<Box<dyn Peer>> {
    let mut peers = Vec::new();
    for name in &arguments.peers {
        progress(&format!("starting {name}"));
        match peers::start(name, service) {
            Ok(peer) => peers.push(peer),
            Err(error) => report.note(format!("{name} is left out: {error:#}")),
        }
    }
    peers
}

fn take(
    measure: Measure,
    peer: &mut dyn Peer,
    round: usize,
    service: &Service,
    arguments: &Arguments,
    report: &mut Report,
) {
    let name = peer.name();
    let what = format!(
        "round {round}/{}: {}, {name}",
        arguments.rounds,
        measure.name()
    );
    service.wait_quiet();
    let measured = guarded(|| measures::measure(measure, peer, service, &arguments.effort));
    let Figures { values, note } = measured.unwrap_or_else(|error| {
        progress(&format!("{what}: {error:#}"));
        Figures {
            values: Vec::new(),
            note: Some(format!("{name}, {}: {error:#}", measure.name())),
        }
    });
    for (metric, value) in values {
        let (title, unit, _) = metric.describe();
        progress(&format!("{what}: {title} {value:.1} {unit}"));
        report.add(metric, name, value);
    }
    if let Some(note) = note {
        report.note(note);
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a run takes minutes")]
fn progress(text: &str) {
    eprintln!("bench: {text}");
}
