//! Those who are compared: ways from a public port to a program on a device.
//!
//! *Invariant:* every peer leads to the same [`Service`], listens on loopback and is set up as its manual says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};

use crate::fleet;
use crate::service::Service;

mod direct;
mod moorline;
mod openssh;
mod rathole;

/// The one that the others are compared with.
pub(crate) const OURS: &str = "moorline";
/// Everybody, in the order of the table.
pub(crate) const NAMES: [&str; 5] = ["direct", "openssh", "rathole", "rathole-noise", OURS];

/// A way to the service.
pub(crate) trait Peer {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Where visitors connect.
    fn port(&self) -> u16;

    /// Where visitors ask for pages of the device's web server; `None` for a peer that knows no HTTP.
    fn door(&self) -> Option<Door> {
        None
    }

    /// Kill -9 of everything that runs on the server's side; false when there is no server.
    fn kill_server(&mut self) -> bool {
        false
    }

    /// Starts the server's side again.
    fn launch_server(&mut self) {}

    /// Memory of a fresh server with `count` idle tunnels, `None` when there is no such thing.
    fn idle_memory(&self, _count: usize) -> Result<Option<IdleMemory>> {
        Ok(None)
    }

    /// Agents that come back to a server that was killed, `None` when there is no such thing.
    fn fleet(&self, _count: usize, _source: fleet::Source) -> Result<Option<fleet::Return>> {
        Ok(None)
    }

    /// Milliseconds that logins took which took over a tunnel, sorted; `None` when there is no such thing.
    fn takeovers(&self) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }
}

/// Where HTTP requests go.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Port on this machine.
    pub(crate) port: u16,
    /// What to ask for there.
    pub(crate) host: String,
}

/// What idle tunnels cost their server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleMemory {
    /// Tunnels that were up.
    pub(crate) tunnels: usize,
    /// Before the first one.
    pub(crate) before_bytes: u64,
    /// With all of them.
    pub(crate) after_bytes: u64,
}

/// Starts the peer called `name` in front of `service`.
pub(crate) fn start(name: &str, service: &Service) -> Result<Box<dyn Peer>> {
    guarded(|| {
        let peer: Box<dyn Peer> = match name {
            "direct" => Box::new(direct::Direct::start(service)?),
            "openssh" => Box::new(openssh::OpenSsh::start(service)?),
            "rathole" => Box::new(rathole::Rathole::start(service, rathole::Transport::Tcp)?),
            "rathole-noise" => {
                Box::new(rathole::Rathole::start(service, rathole::Transport::Noise)?)
            }
            OURS => Box::new(moorline::Moorline::start(service)?),
            other => return Err(anyhow!("there is no peer {other}")),
        };
        Ok(peer)
    })
}

/// Runs `part`; the harness panics where something is wrong, and one peer's trouble is not that of the others.
pub(crate) fn guarded<T>(part: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        // The first line is the reason; a log may follow it.
        let reason = text.and_then(|text| text.lines().next());
        Err(anyhow!("{}", reason.unwrap_or("it panicked")))
    })
}
