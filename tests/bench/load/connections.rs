use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{exchange, visit};
use crate::service::Wish;

/// Visitors at once.
const VISITORS: usize = 8;
/// Connections of one measurement at most: every one of them holds a local port for a minute after its end.
const MOST_CONNECTIONS: u64 = 4_000;

/// New connections a second by eight visitors at once; each makes one request and waits for the reply.
pub(crate) fn rate(port: u16, window: Duration) -> Result<f64> {
    let begun = AtomicU64::new(0);
    let start = Instant::now();
    let visitor = || -> Result<u64> {
        let mut served = 0;
        while start.elapsed() < window && begun.fetch_add(1, Ordering::Relaxed) < MOST_CONNECTIONS {
            let mut connection = visit(port, Wish::Echo)?;
            exchange(&mut connection, served)?;
            served += 1;
        }
        Ok(served)
    };
    let served = std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS).map(|_| scope.spawn(visitor)).collect();
        let mut served = 0;
        for visitor in visitors {
            served += visitor.join().ok().context("a visitor panicked")??;
        }
        anyhow::Ok(served)
    })?;
    let took = start.elapsed();
    ensure!(served > 0, "nobody was served");
    Ok(served as f64 / took.as_secs_f64())
}
