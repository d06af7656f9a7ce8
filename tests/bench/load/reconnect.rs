use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{exchange, visit};
use crate::peers::Peer;
use crate::service::Wish;

/// How long the server stays away.
const AWAY: Duration = Duration::from_secs(2);
/// Longest wait for the tunnel to be back.
const LONGEST: Duration = Duration::from_secs(45);
/// Pause between two tries of the visitor.
const PAUSE: Duration = Duration::from_millis(2);

/// Milliseconds from the start of the server to the first request that is served, after it was killed with -9 and
/// stayed away for two seconds. `None` when there is no server.
pub(crate) fn time(peer: &mut dyn Peer) -> Result<Option<f64>> {
    let port = peer.port();
    if !peer.kill_server() {
        return Ok(None);
    }
    std::thread::sleep(AWAY);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let visitor = scope.spawn(move || first_served(port, start));
        peer.launch_server();
        visitor
            .join()
            .ok()
            .context("the visitor panicked")?
            .map(Some)
    })
}

fn first_served(port: u16, start: Instant) -> Result<f64> {
    loop {
        let served = visit(port, Wish::Echo).and_then(|mut visitor| {
            visitor.set_read_timeout(Some(Duration::from_millis(500)))?;
            exchange(&mut visitor, 1)
        });
        let took = start.elapsed();
        if served.is_ok() {
            return Ok(took.as_secs_f64() * 1e3);
        }
        ensure!(took < LONGEST, "the tunnel is not back after {LONGEST:?}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until requests are served again, so that what comes next finds a tunnel.
pub(crate) fn wait_served(port: u16) -> Result<()> {
    first_served(port, Instant::now()).map(|_| ())
}
