//! The end of tunnels from this side: cut by what happened to their device, or drained with the server.

use std::time::Duration;

use super::{Cut, Hold, Tunnel, Tunnels};
use crate::registry::model::{DeviceId, ForwardId};

/// How long [`Tunnels::cut`] waits for the connection to be gone.
const CUT_TIMEOUT: Duration = Duration::from_secs(10);
/// Devices sent away by a drain return at this rate; two cores take about 800 handshakes a second.
const RETURNS_PER_SECOND: u32 = 200;

impl Tunnels {
    /// Ends every tunnel of `device`; true when they are gone within 10 s, and at once when there was none. With
    /// [`Cut::Closed`] their forwards are what must be gone.
    pub async fn cut(&self, device: DeviceId, cut: Cut) -> bool {
        self.cut_those(device, cut, |_| true).await
    }

    /// Ends the tunnel that has this forward of `device`; else as [`Self::cut`].
    pub async fn cut_forward(&self, device: DeviceId, forward: ForwardId, cut: Cut) -> bool {
        self.cut_those(device, cut, |tunnel| {
            tunnel.forwards.iter().any(|open| open.id == forward)
        })
        .await
    }

    /// As [`Self::cut_forward`] for a forward that is removed: a tunnel that holds the whole device goes on without it.
    pub async fn end_removed(&self, device: DeviceId, forward: ForwardId, cut: Cut) -> bool {
        self.forwards_changed(device);
        self.cut_those(device, cut, |tunnel| {
            tunnel.hold == Hold::Sessions && tunnel.forwards.iter().any(|open| open.id == forward)
        })
        .await
    }

    async fn cut_those(
        &self,
        device: DeviceId,
        cut: Cut,
        chosen: impl Fn(&Tunnel) -> bool,
    ) -> bool {
        let (generations, carriers): (Vec<u64>, Vec<_>) = {
            let table = self.table();
            let tunnels = table.get(&device).into_iter().flatten();
            tunnels
                .filter(|tunnel| chosen(tunnel))
                .map(|tunnel| (tunnel.generation, tunnel.carrier.clone()))
                .unzip()
        };
        for carrier in carriers {
            carrier.cut(cut);
        }
        let still = |tunnel: &Tunnel| {
            generations.contains(&tunnel.generation)
                && (cut != Cut::Closed || !tunnel.forwards.is_empty())
        };
        let gone = |tunnels: &Self| {
            let table = tunnels.table();
            !table.get(&device).into_iter().flatten().any(still)
        };
        self.wait_until(CUT_TIMEOUT, gone).await
    }

    /// Sends every device away, each with its own moment to come back, so that they do not come all at once.
    pub fn drain(&self) {
        let carriers: Vec<_> = self
            .table()
            .values()
            .flatten()
            .map(|tunnel| tunnel.carrier.clone())
            .collect();
        for (index, carrier) in carriers.into_iter().enumerate() {
            let slot = u32::try_from(index).unwrap_or(u32::MAX) / RETURNS_PER_SECOND;
            carrier.come_back_in(Duration::from_secs(1) + Duration::from_secs(slot.into()));
            carrier.cut(Cut::Drained);
        }
    }
}
