//! Moorline beside plain TCP, OpenSSH's `ssh -R` and rathole, measured in one run on this machine. Prints tables and
//! asserts nothing: compare figures within one table only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints its tables and ends by panicking when a part of it does not work"
)]

mod creation;
mod idle;
mod measure;
mod paths;
mod service;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use table::{Better, Table};

/// Rounds of every measurement; each round measures every path once.
const ROUNDS: usize = 3;
/// How often each path loses its server.
const RECONNECTS: usize = 3;

/// What is measured of a path in one round: title, which way is better, and how.
type Measurement = (&'static str, Better, fn(u16) -> f64);

const MEASUREMENTS: [Measurement; 6] = [
    ("throughput, 1 stream, MB/s", Better::More, |port| {
        measure::throughput(port, 1)
    }),
    ("throughput, 8 streams, MB/s", Better::More, |port| {
        measure::throughput(port, 8)
    }),
    (
        "request and response alone, us (p50)",
        Better::Less,
        |port| measure::latency(port, Beside::Nothing),
    ),
    (
        "request and response beside a bulk copy, us (p50)",
        Better::Less,
        |port| measure::latency(port, Beside::Copy),
    ),
    ("the same, us (p99)", Better::Less, |port| {
        measure::worst_latency(port)
    }),
    (
        "new connections per second, 8 at once",
        Better::More,
        measure::connections,
    ),
];

/// What else goes through the tunnel while it is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Copy,
}

fn main() {
    let service = service::start();
    let mut paths = paths::all(service);
    let names: Vec<&str> = paths.iter().map(|path| path.name()).collect();
    println!(
        "\nEach figure is min / median / max of {ROUNDS} rounds, then the ratio of medians to Moorline's."
    );

    for (title, better, how) in MEASUREMENTS {
        let mut figures = BTreeMap::<&str, Vec<f64>>::new();
        for _ in 0..ROUNDS {
            for path in &paths {
                figures
                    .entry(path.name())
                    .or_default()
                    .push(how(path.port()));
            }
        }
        Table::new(title, better).print(&names, &figures);
    }

    let mut figures = BTreeMap::<&str, Vec<f64>>::new();
    for _ in 0..RECONNECTS {
        for path in &mut paths {
            if let Some(took) = path.reconnect(Duration::from_secs(2)) {
                figures
                    .entry(path.name())
                    .or_default()
                    .push(took.as_secs_f64() * 1000.0);
            }
        }
    }
    Table::new(
        "served again after the server was away for 2 s, ms",
        Better::Less,
    )
    .print(&names, &figures);
    drop(paths);

    let (mut memory, mut handshakes) = (BTreeMap::new(), BTreeMap::new());
    let ours = idle::moorline(1000);
    memory.insert("moorline", vec![ours.kib_each]);
    handshakes.insert("moorline", vec![ours.per_second]);
    memory.insert("ssh -R", vec![idle::openssh(service, 30)]);
    memory.insert("rathole", vec![idle::rathole(service, 1000)]);
    Table::new(
        "server memory per idle tunnel, KiB PSS (1,000; OpenSSH 30)",
        Better::Less,
    )
    .print(&names, &memory);
    Table::new("tunnels brought up per second, 1,000 devices", Better::More)
        .print(&names, &handshakes);

    let figures = BTreeMap::from([(
        "moorline",
        (0..ROUNDS).map(|_| creation::per_second()).collect(),
    )]);
    Table::new(
        "create_new_client per second, HTTP, SQLite, durable",
        Better::More,
    )
    .print(&names, &figures);
}
