//! The control channel of a device: what its agent tells, and what it is told.

use std::sync::Arc;

use moorline_protocol::control::{
    DeviceForward, Hello, MAX_FORWARDS, MAX_LINE_BYTES, ToAgent, ToServer,
};
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::DeviceLink;
use crate::gateway::control::{Echoes, Lines, speak};
use crate::gateway::window::STREAM_CREDIT_BYTES;
use crate::registry::model::Forward;

/// Messages to the agent that wait to be sent.
const CONTROL_QUEUE: usize = 16;
/// Largest inventory that is kept, in bytes (provisioning contract section 3, `hardware`).
const MAX_HARDWARE_BYTES: usize = 4096;
/// Host keys of a device's sshd that are kept.
const MAX_HOST_KEYS: usize = 8;

impl DeviceLink {
    /// Runs the control channel until the agent closes it.
    pub(in crate::gateway) fn control(self: Arc<Self>, channel: Channel<Msg>) {
        let (sender, receiver) = mpsc::channel(CONTROL_QUEUE);
        self.state().control = Some(sender);
        let (read, write) = channel.split();
        self.shared.tasks.spawn(speak(
            receiver,
            write,
            self.ended.clone(),
            self.spoken.clone(),
        ));
        let shared = self.shared.clone();
        shared.tasks.spawn(self.listen(read));
    }

    async fn listen(self: Arc<Self>, mut read: ChannelReadHalf) {
        let mut lines = Lines::default();
        let mut echoes = Echoes::default();
        while let Some(message) = read.wait().await {
            let ChannelMsg::Data { data } = message else {
                continue;
            };
            let Some(messages) = lines.push(&data) else {
                warn!(device = %self.name, limit = MAX_LINE_BYTES, "control line is too long");
                self.life.kill();
                return;
            };
            for message in messages {
                self.heard(message, &mut echoes).await;
            }
        }
    }

    async fn heard(&self, message: ToServer, echoes: &mut Echoes) {
        match message {
            ToServer::Hello(hello) => {
                self.remember(&hello).await;
                let keepalive_secs = hello.keepalive_secs;
                self.state().hello = Some(hello);
                debug!(device = %self.name, keepalive_secs, "agent said hello");
                self.say(ToAgent::Welcome {
                    generation: self.generation(),
                    stream_credit_bytes: STREAM_CREDIT_BYTES,
                });
                self.say(echoes.ask());
                self.tell_forwards().await;
            }
            ToServer::Echo { id } => self.say(ToAgent::EchoReply { id }),
            ToServer::EchoReply { id } => {
                if let Some(round_trip) = echoes.answered(id) {
                    self.state().round_trip = Some(round_trip);
                }
            }
            ToServer::Counters {
                received_bytes,
                sent_bytes,
            } => {
                debug!(device = %self.name, received_bytes, sent_bytes, "agent counters");
            }
            ToServer::Bye => self.state().end = Some("clean stop"),
            ToServer::Unknown => debug!(device = %self.name, "unknown control message"),
        }
    }

    /// Gives up what is no forward of the device any more, and tells its agent which ones it is to hold.
    pub(super) async fn tell_forwards(&self) {
        let device = match self.shared.registry.device(self.device).await {
            Ok(Some(device)) => device,
            Ok(None) => return,
            Err(error) => return warn!(device = %self.name, %error, "look up forwards of device"),
        };
        let here = |forward: &&Forward| forward.node == self.shared.config.node;
        let ports: Vec<u16> = device
            .forwards
            .iter()
            .filter(here)
            .map(|one| one.public_port)
            .collect();
        let gone: Vec<u16> = {
            let mut state = self.state();
            state
                .open_ports
                .extract_if(.., |port| !ports.contains(port))
                .collect()
        };
        for port in gone {
            self.cancel_forward(port.into());
        }
        let for_agent = device
            .forwards
            .iter()
            .filter(here)
            .filter(|one| one.is_for_agent());
        let forwards = for_agent.take(MAX_FORWARDS).map(|forward| DeviceForward {
            remote_port: forward.public_port,
            local_port: forward.device_port,
        });
        self.say(ToAgent::Forwards {
            forwards: forwards.collect(),
        });
    }

    /// Keeps what the agent told about the device.
    async fn remember(&self, hello: &Hello) {
        let registry = &self.shared.registry;
        let hardware = serde_json::to_string(&hello.hardware)
            .ok()
            .filter(|text| !hello.hardware.is_empty() && text.len() <= MAX_HARDWARE_BYTES);
        let hostname = Some(hello.hostname.clone()).filter(|name| {
            !name.is_empty() && name.len() <= 253 && !name.contains(char::is_control)
        });
        if hardware.is_some() || hostname.is_some() {
            let refreshed = registry
                .refresh_device(self.device, hostname, hardware)
                .await;
            if let Err(error) = refreshed {
                warn!(device = %self.name, %error, "keep inventory of device");
            }
        }
        let keys: Vec<_> = hello
            .sshd_host_keys
            .iter()
            .take(MAX_HOST_KEYS)
            .cloned()
            .collect();
        if !keys.is_empty()
            && let Err(error) = registry.set_sshd_host_keys(self.device, keys).await
        {
            warn!(device = %self.name, %error, "keep host keys of device");
        }
    }

    /// Sends a message to the agent, if there is one. A queue that is full belongs to an agent that does not read;
    /// the watch ends it.
    pub(super) fn say(&self, message: ToAgent) {
        if !self.try_say(message) {
            debug!(device = %self.name, "agent was not told");
        }
    }

    pub(super) fn try_say(&self, message: ToAgent) -> bool {
        let control = self.state().control.clone();
        control.is_some_and(|control| control.try_send(message).is_ok())
    }
}
