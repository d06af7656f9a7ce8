//! Opening of streams: the one way to a device, and which ways to it are open.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Carrier, ForwardTarget, Look, OpenError, OpenForward, Recording, Refusals, Stream, TargetPort,
    Tunnels,
};
use crate::registry::model::DeviceId;

/// How long [`Tunnels::open_stream`] waits for a device that is connected but has not asked for its forward yet,
/// as just after a takeover.
const FORWARD_PATIENCE: Duration = Duration::from_secs(3);
/// How long a device may take to open one stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A granted forward and who carries its streams.
type Found = (Arc<dyn Carrier>, OpenForward);

impl Tunnels {
    /// Opens a byte stream to `target` as seen from `device`. Ends with the tunnel that carries it.
    ///
    /// # Errors
    /// [`OpenError`]; a device that just connected is given a moment to ask for its forward. A way that is closed stays
    /// so, and one that is closed later ends the stream.
    pub async fn open_stream(
        &self,
        device: DeviceId,
        target: &ForwardTarget,
    ) -> Result<Stream, OpenError> {
        let (carrier, forward) = self.find(device, target.port).await?;
        self.shared.ways.judge(device, target.way)?;
        let stream = timeout(OPEN_TIMEOUT, carrier.open(forward, target.originator))
            .await
            .unwrap_or(Err(OpenError::TimedOut))?;
        self.shared.ways.admit(device, target.way, &stream)?;
        Ok(stream)
    }

    async fn find(&self, device: DeviceId, port: TargetPort) -> Result<Found, OpenError> {
        let deadline = Instant::now() + FORWARD_PATIENCE;
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = self.lookup(device, port)? {
                return Ok(found);
            }
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return Err(OpenError::NoForward);
            }
        }
    }

    fn lookup(&self, device: DeviceId, port: TargetPort) -> Result<Option<Found>, OpenError> {
        let table = self.table();
        let tunnels = table.get(&device).ok_or(OpenError::NotConnected)?;
        let wanted = |open: &&OpenForward| match port {
            TargetPort::First => open.first,
            TargetPort::Device(port) => open.device_port == port,
            TargetPort::Forward(id) => open.id == id,
        };
        Ok(tunnels.iter().rev().find_map(|tunnel| {
            let forward = tunnel.forwards.iter().find(wanted)?;
            Some((tunnel.carrier.clone(), forward.clone()))
        }))
    }

    /// Begins to look up where recordings are demanded, for [`Self::learn_recordings`].
    #[must_use]
    pub fn begin_look(&self) -> Look {
        self.shared.ways.begin_look()
    }

    /// Notes what a look found: recordings are demanded of those of `devices` that stand in `demanded`. Ends what
    /// passes them by, and opens the other ways of the others again. A device that is not connected is left out.
    pub fn learn_recordings(&self, look: Look, devices: &[DeviceId], demanded: &HashSet<DeviceId>) {
        self.shared.ways.learned(look, devices, demanded);
    }

    /// Whether recordings are demanded of a device, if it is connected.
    #[must_use]
    pub fn recording(&self, device: DeviceId) -> Option<Recording> {
        self.shared.ways.recording(device)
    }

    /// Which ways were refused since the last call; one way to one device is told once an hour.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<Refusals> {
        self.shared.ways.take_refusals(Instant::now())
    }
}
