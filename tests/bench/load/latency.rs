use std::time::{Duration, Instant};

use anyhow::Result;

use super::bulk::Copies;
use super::{exchange, visit};
use crate::service::Wish;

/// Requests before those that count.
const WARM_UP_REQUESTS: u64 = 50;
/// Requests that a measurement makes at least, however slow they are, so that its p99 means something.
const LEAST_REQUESTS: usize = 100;
/// Longest measurement, however few requests were made.
const LONGEST: Duration = Duration::from_secs(4);

/// Time from a request to its reply, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Half of the requests were faster.
    pub(crate) p50: f64,
    /// One in a hundred was slower.
    pub(crate) p99: f64,
}

/// One request after the other on one connection, for about `window`.
pub(crate) fn alone(port: u16, window: Duration) -> Result<Latency> {
    let mut visitor = visit(port, Wish::Echo)?;
    for number in 0..WARM_UP_REQUESTS {
        exchange(&mut visitor, number)?;
    }
    let mut micros = Vec::new();
    let begin = Instant::now();
    loop {
        let start = Instant::now();
        exchange(&mut visitor, micros.len() as u64)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        let took = begin.elapsed();
        if took >= LONGEST || took >= window && micros.len() >= LEAST_REQUESTS {
            break;
        }
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (micros.len() as f64 * share) as usize;
        micros.get(index).or(micros.last()).copied()
    };
    Ok(Latency {
        p50: at(0.50).unwrap_or_default(),
        p99: at(0.99).unwrap_or_default(),
    })
}

/// The same while another visitor downloads as fast as it goes.
pub(crate) fn beside_a_copy(port: u16, window: Duration) -> Result<Latency> {
    let copy = Copies::download(port, 1)?;
    let measured = alone(port, window);
    drop(copy);
    measured
}
