use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::measures::{Effort, Measure};
use crate::peers::NAMES;

/// What `--help` says.
pub(crate) const HELP: &str = "\
make bench [ARGS=\"…\"]

  --rounds N        rounds, 5 unless told; what takes long is repeated three times at most
  --only MEASURE    download, upload, latency, connections, http, reconnect, fleet, takeover,
                    memory or create; may be repeated
  --peer NAME       direct, openssh, rathole, rathole-noise or moorline; may be repeated
  --quick           one round with short windows and 100 idle tunnels

MOORLINE_IDLE_TUNNELS sets the number of idle tunnels, and of the agents of the fleet, 1000 unless told.
The table goes to standard output, the same figures to target/bench.json.";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// Only tell how to use it.
    pub(crate) help: bool,
    /// Rounds.
    pub(crate) rounds: usize,
    /// In the order of [`Measure::ALL`].
    pub(crate) measures: Vec<Measure>,
    /// In the order of [`NAMES`].
    pub(crate) peers: Vec<&'static str>,
    /// How long and how much.
    pub(crate) effort: Effort,
}

impl Arguments {
    /// Reads `words`; cargo adds a `--bench` of its own.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut help, mut quick, mut rounds) = (false, false, None);
        let (mut only, mut peers) = (Vec::new(), Vec::new());
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} wants a value"))
            };
            match word.as_str() {
                "--bench" => {}
                "--help" | "-h" => help = true,
                "--quick" => quick = true,
                "--rounds" => rounds = Some(value()?.parse().context("--rounds wants a number")?),
                "--only" => only.push(known(&value()?, &Measure::ALL.map(Measure::name))?),
                "--peer" => peers.push(known(&value()?, &NAMES)?),
                other => bail!("unknown argument {other}; --help tells more"),
            }
        }
        let idle_tunnels = match std::env::var("MOORLINE_IDLE_TUNNELS") {
            Ok(number) => number.parse().context("MOORLINE_IDLE_TUNNELS")?,
            Err(_) => {
                if quick {
                    100
                } else {
                    1000
                }
            }
        };
        let (millis, creates) = if quick { (400, 1000) } else { (1000, 6000) };
        Ok(Self {
            help,
            rounds: rounds.unwrap_or(if quick { 1 } else { 5 }),
            measures: Measure::ALL
                .into_iter()
                .filter(|measure| only.is_empty() || only.contains(&measure.name()))
                .collect(),
            peers: NAMES
                .into_iter()
                .filter(|name| peers.is_empty() || peers.contains(name))
                .collect(),
            effort: Effort {
                window: Duration::from_millis(millis),
                idle_tunnels,
                creates,
            },
        })
    }
}

fn known(word: &str, words: &[&'static str]) -> Result<&'static str> {
    let found = words.iter().find(|known| **known == word).copied();
    found.with_context(|| format!("{word} is none of {}", words.join(", ")))
}
