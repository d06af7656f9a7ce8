//! What is measured, and one measurement of it.

use std::time::Duration;

use anyhow::Result;

use crate::create;
use crate::fleet::Source;
use crate::load::{bulk, connections, http, latency, reconnect};
use crate::peers::{OURS, Peer};
use crate::service::Service;

/// A kind of measurement; some give more than one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bulk copies from the device to visitors, one and eight at once.
    Download,
    /// A bulk copy from a visitor to the device.
    Upload,
    /// Request and response, alone and beside a bulk copy.
    Latency,
    /// Eight visitors that connect over and over.
    Connections,
    /// HTTP requests and bodies, by HTTP names where a peer has such.
    Http,
    /// The server killed and started again.
    Reconnect,
    /// The same with many agents, from one address and from everywhere.
    Fleet,
    /// A second login of a device that has a tunnel.
    Takeover,
    /// A server that holds many idle tunnels.
    Memory,
    /// New devices over the API.
    Create,
}

impl Measure {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Self; 10] = [
        Self::Download,
        Self::Upload,
        Self::Latency,
        Self::Connections,
        Self::Http,
        Self::Reconnect,
        Self::Fleet,
        Self::Takeover,
        Self::Memory,
        Self::Create,
    ];

    /// As the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Latency => "latency",
            Self::Connections => "connections",
            Self::Http => "http",
            Self::Reconnect => "reconnect",
            Self::Fleet => "fleet",
            Self::Takeover => "takeover",
            Self::Memory => "memory",
            Self::Create => "create",
        }
    }

    /// The slow ones are not repeated in every round.
    pub(crate) const fn most_rounds(self) -> usize {
        match self {
            Self::Memory => 1,
            Self::Reconnect | Self::Fleet | Self::Takeover | Self::Create => 3,
            _ => usize::MAX,
        }
    }
}

/// Whether a larger figure is a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// It is.
    More,
    /// It is not.
    Less,
}

/// A line of figures in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// One stream down.
    DownloadOne,
    /// Eight streams down.
    DownloadEight,
    /// One stream up.
    UploadOne,
    /// Request and response alone.
    AloneP50,
    /// The slowest of a hundred.
    AloneP99,
    /// Request and response beside a bulk copy.
    BesideP50,
    /// The slowest of a hundred.
    BesideP99,
    /// New connections.
    Connections,
    /// Small HTTP requests.
    HttpRequests,
    /// A large HTTP body down.
    HttpDownload,
    /// A large HTTP body up.
    HttpUpload,
    /// Back after the server's end.
    Reconnect,
    /// Half of the agents behind one address back.
    FleetHalf,
    /// All of them.
    FleetAll,
    /// All agents from addresses of their own.
    FleetEverywhere,
    /// A login that takes over.
    TakeoverP50,
    /// The slowest of a hundred.
    TakeoverP99,
    /// Server memory in all.
    ServerMemory,
    /// Server memory a tunnel.
    TunnelMemory,
    /// New devices.
    Create,
}

impl Metric {
    /// Title, unit and direction.
    pub(crate) const fn describe(self) -> (&'static str, &'static str, Better) {
        use Better::{Less, More};
        match self {
            Self::DownloadOne => ("throughput, one stream down", "MB/s", More),
            Self::DownloadEight => ("throughput, eight streams down", "MB/s", More),
            Self::UploadOne => ("throughput, one stream up", "MB/s", More),
            Self::AloneP50 => ("request and response, p50", "us", Less),
            Self::AloneP99 => ("request and response, p99", "us", Less),
            Self::BesideP50 => ("request and response beside a bulk copy, p50", "us", Less),
            Self::BesideP99 => ("request and response beside a bulk copy, p99", "us", Less),
            Self::Connections => ("new connections, eight at once", "1/s", More),
            Self::HttpRequests => ("HTTP requests, eight visitors", "1/s", More),
            Self::HttpDownload => ("HTTP body of 64 MB down", "MB/s", More),
            Self::HttpUpload => ("HTTP body of 64 MB up", "MB/s", More),
            Self::Reconnect => ("served again after the server's kill -9", "ms", Less),
            Self::FleetHalf => ("half of all agents back, from one address", "ms", Less),
            Self::FleetAll => ("all agents back, from one address", "ms", Less),
            Self::FleetEverywhere => ("all agents back, from everywhere", "ms", Less),
            Self::TakeoverP50 => ("login that takes a tunnel over, p50", "ms", Less),
            Self::TakeoverP99 => ("login that takes a tunnel over, p99", "ms", Less),
            Self::ServerMemory => ("server memory with all idle tunnels", "MiB", Less),
            Self::TunnelMemory => ("server memory of an idle tunnel", "KiB", Less),
            Self::Create => ("create_new_client, 64 in flight", "1/s", More),
        }
    }
}

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Of a bulk copy.
    pub(crate) window: Duration,
    /// Tunnels of the memory measure.
    pub(crate) idle_tunnels: usize,
    /// Devices that one round creates.
    pub(crate) creates: u16,
}

/// Figures of one measurement, and what else is to be told.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// In the units of [`Metric::describe`].
    pub(crate) values: Vec<(Metric, f64)>,
    /// A line for the foot of the table.
    pub(crate) note: Option<String>,
}

/// Measures once; no figures when the measure makes no sense for this peer.
pub(crate) fn measure(
    measure: Measure,
    peer: &mut dyn Peer,
    service: &Service,
    effort: &Effort,
) -> Result<Figures> {
    let port = peer.port();
    let window = effort.window;
    let values = match measure {
        Measure::Download => vec![
            (Metric::DownloadOne, bulk::download(port, 1, window)?),
            (Metric::DownloadEight, bulk::download(port, 8, window)?),
        ],
        Measure::Upload => vec![(Metric::UploadOne, bulk::upload(service, port, window)?)],
        Measure::Latency => {
            let alone = latency::alone(port, window / 2)?;
            let beside = latency::beside_a_copy(port, window)?;
            vec![
                (Metric::AloneP50, alone.p50),
                (Metric::AloneP99, alone.p99),
                (Metric::BesideP50, beside.p50),
                (Metric::BesideP99, beside.p99),
            ]
        }
        Measure::Connections => vec![(Metric::Connections, connections::rate(port, window)?)],
        Measure::Http => match peer.door() {
            Some(door) => vec![
                (Metric::HttpRequests, http::requests(&door, window)?),
                (Metric::HttpDownload, http::download(&door)?),
                (Metric::HttpUpload, http::upload(&door)?),
            ],
            None => Vec::new(),
        },
        Measure::Reconnect => reconnect::time(peer)?
            .map(|millis| (Metric::Reconnect, millis))
            .into_iter()
            .collect(),
        Measure::Fleet => return returns(peer, effort.idle_tunnels),
        Measure::Takeover => peer.takeovers()?.map_or_else(Vec::new, |took| {
            let at = |part: usize| took.get(took.len() * part / 100).copied();
            let figures = [(Metric::TakeoverP50, at(50)), (Metric::TakeoverP99, at(99))];
            let known = figures.into_iter();
            known
                .filter_map(|(metric, millis)| Some((metric, millis?)))
                .collect()
        }),
        Measure::Memory => return memory(peer, effort.idle_tunnels),
        Measure::Create => return create_rate(peer, effort.creates),
    };
    Ok(Figures { values, note: None })
}

fn returns(peer: &dyn Peer, agents: usize) -> Result<Figures> {
    let Some(one) = peer.fleet(agents, Source::OneAddress)? else {
        return Ok(Figures::default());
    };
    let mut figures = Figures {
        values: vec![
            (Metric::FleetHalf, one.half_ms),
            (Metric::FleetAll, one.all_ms),
        ],
        note: None,
    };
    let mut failed = one.failed;
    if let Some(everywhere) = peer.fleet(agents, Source::Everywhere)? {
        figures
            .values
            .push((Metric::FleetEverywhere, everywhere.all_ms));
        failed += everywhere.failed;
    }
    figures.note = Some(format!(
        "{}: {agents} agents after kill -9 of the server, {failed} logins that were begun came to nothing",
        peer.name()
    ));
    Ok(figures)
}

fn memory(peer: &dyn Peer, wanted: usize) -> Result<Figures> {
    let Some(memory) = peer.idle_memory(wanted)? else {
        return Ok(Figures::default());
    };
    let grown = memory.after_bytes.saturating_sub(memory.before_bytes);
    let mut figures = Figures {
        values: vec![(
            Metric::TunnelMemory,
            grown as f64 / memory.tunnels as f64 / 1024.0,
        )],
        note: Some(format!(
            "{}: memory with {} idle tunnels, {:.1} MiB before the first one",
            peer.name(),
            memory.tunnels,
            mebibytes(memory.before_bytes)
        )),
    };
    if memory.tunnels == wanted {
        let all = (Metric::ServerMemory, mebibytes(memory.after_bytes));
        figures.values.push(all);
    }
    Ok(figures)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn create_rate(peer: &dyn Peer, count: u16) -> Result<Figures> {
    if peer.name() != OURS {
        return Ok(Figures::default());
    }
    let rate = create::rate(count)?;
    Ok(Figures {
        values: vec![(Metric::Create, rate.per_second)],
        note: Some(format!(
            "create_new_client is durable: of {} answered clients {} were there after kill -9 of the server",
            rate.answered, rate.survived
        )),
    })
}
