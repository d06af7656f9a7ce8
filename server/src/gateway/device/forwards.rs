//! The forwards of a device's connection: which it is granted, and their public ports.

use tracing::{debug, info, warn};

use super::DeviceLink;
use crate::forward::PublicForward;
use crate::gateway::login::{Refusal, judge_state};
use crate::registry::model::{Device, Forward, ForwardKind, Wanted};
use crate::tunnels::OpenForward;

const NOT_RESERVED: &str = "port is not reserved for this device";

impl DeviceLink {
    /// Whether a forward was granted and not cancelled.
    pub(in crate::gateway) fn has_forward(&self) -> bool {
        !self.state().open_ports.is_empty()
    }

    /// A `tcpip-forward` of the device: granted for the ports that are reserved for it, and only while it is wanted
    /// open.
    pub(in crate::gateway) async fn forward(&self, address: &str, port: u32) -> bool {
        match self.grant(address, port).await {
            Ok(()) => true,
            Err(reason) => {
                info!(device = %self.name, port, reason, "forward refused");
                false
            }
        }
    }

    async fn grant(&self, address: &str, port: u32) -> Result<(), &'static str> {
        let (device, forward) = self.wanted(port).await?;
        let first = device
            .forwards
            .first()
            .is_some_and(|first| first.id == forward.id);
        let open = OpenForward {
            id: forward.id,
            device_port: forward.device_port,
            bind_address: address.to_owned(),
            public_port: forward.public_port,
            first,
        };
        let public = PublicForward::of(&device, &forward);
        let generation = self.generation();
        self.state().open_ports.push(public.port);
        self.open_public_port(public, forward.kind).await;
        if !self
            .shared
            .tunnels
            .open_forward(self.device, generation, open)
        {
            self.state()
                .open_ports
                .retain(|open| *open != forward.public_port);
            self.shared.ports.close(forward.public_port, generation);
            return Err("a newer tunnel has taken over");
        }
        // It may have been killed, closed or taken away meanwhile, when there was nothing to cut yet.
        let still = self.wanted(port).await;
        let still = still.and_then(|(_, now)| match now.id == forward.id {
            true => Ok(()),
            false => Err(NOT_RESERVED),
        });
        still.inspect_err(|_| self.cancel_forward(port))?;
        debug!(device = %self.name, port, "forward open");
        Ok(())
    }

    /// The forward of that public port, if it may be open now.
    async fn wanted(&self, port: u32) -> Result<(Device, Forward), &'static str> {
        let device = self.shared.registry.device(self.device).await;
        let device = device.map_err(|error| {
            warn!(%error, "look up device for its forward");
            "registry does not answer"
        })?;
        let device = device.ok_or("device is deleted")?;
        if !self.is_by_key_of(&device) {
            return Err(Refusal::WrongKey.reason());
        }
        judge_state(device.state).map_err(Refusal::reason)?;
        if device.wanted == Wanted::Closed {
            return Err("closed by the operator");
        }
        let forward = device
            .forwards
            .iter()
            .find(|forward| {
                u32::from(forward.public_port) == port && forward.node == self.shared.config.node
            })
            .cloned()
            .ok_or(NOT_RESERVED)?;
        if forward.killed {
            return Err("session was killed");
        }
        Ok((device, forward))
    }

    /// Listens on the public port before the tunnel counts as open: who sees it open may connect at once. What is
    /// reached by an HTTP name has no public port.
    async fn open_public_port(&self, public: PublicForward, kind: ForwardKind) {
        let (port, generation) = (public.port, self.generation());
        match kind {
            ForwardKind::Http => self.shared.ports.withdraw(port, generation),
            ForwardKind::Tcp => {
                if let Err(error) = self.shared.ports.open(public, generation).await {
                    // The gateway still reaches the device; only the public port is missing.
                    warn!(device = %self.name, port, %error, "listen on public port");
                }
            }
        }
    }

    /// A `cancel-tcpip-forward` of the device.
    pub(in crate::gateway) fn cancel_forward(&self, port: u32) {
        let Ok(port) = u16::try_from(port) else {
            return;
        };
        self.shared
            .tunnels
            .close_forwards(self.device, self.generation(), Some(port));
        self.shared.ports.close(port, self.generation());
        self.state().open_ports.retain(|open| *open != port);
    }

    /// Gives the public ports back, but for those that a newer tunnel has by now.
    pub(super) fn close_ports(&self) {
        let ports = std::mem::take(&mut self.state().open_ports);
        for port in ports {
            self.shared.ports.close(port, self.generation());
        }
    }

    /// Closes every forward but keeps the connection: the agent stays in touch.
    pub(super) fn close_forwards(&self) {
        self.close_ports();
        self.shared
            .tunnels
            .close_forwards(self.device, self.generation(), None);
    }
}
