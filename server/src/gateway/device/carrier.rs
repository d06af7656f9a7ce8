//! What a device's connection carries: the streams to it, and what the live table asks of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use moorline_protocol::control::ToAgent;

use super::DeviceLink;
use crate::gateway::channel;
use crate::tunnels::{Carrier, Cut, OpenError, OpenForward, Pulse, Stream};

impl DeviceLink {
    async fn open_channel(
        self: Arc<Self>,
        forward: OpenForward,
        originator: SocketAddr,
    ) -> Result<Stream, OpenError> {
        let opened = self
            .handle
            .channel_open_forwarded_tcpip(
                forward.bind_address,
                u32::from(forward.public_port),
                originator.ip().to_canonical().to_string(),
                u32::from(originator.port()),
            )
            .await;
        let channel = opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(_) => OpenError::Refused(forward.device_port),
            _ => OpenError::Ended,
        })?;
        let (credit, round_trip) = {
            let state = self.state();
            let hello = state.hello.as_ref();
            (
                hello.map(|hello| hello.stream_credit_bytes),
                state.round_trip,
            )
        };
        let credit = credit.filter(|bytes| *bytes > 0);
        let (stream, run) = channel::carry(channel, credit, round_trip);
        let ended = self.ended.clone();
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = run => {}
                () = ended.cancelled() => {}
            }
        });
        Ok(stream)
    }
}

/// The [`Carrier`] of a device is its link, shared.
impl Carrier for Arc<DeviceLink> {
    fn open(
        &self,
        forward: OpenForward,
        originator: SocketAddr,
    ) -> BoxFuture<'static, Result<Stream, OpenError>> {
        self.clone().open_channel(forward, originator).boxed()
    }

    fn cut(&self, cut: Cut) {
        if cut == Cut::Closed && self.try_say(ToAgent::Close) {
            self.close_forwards();
            return;
        }
        if cut == Cut::Renewed {
            self.say(ToAgent::Reprovision);
        }
        self.clone().end(cut);
    }

    fn wanted_open(&self) {
        self.say(ToAgent::Open);
    }

    fn forwards_changed(&self) {
        let link = self.clone();
        let tasks = self.shared.tasks.clone();
        tasks.spawn(async move { link.tell_forwards().await });
    }

    fn come_back_in(&self, pause: Duration) {
        let secs = u32::try_from(pause.as_secs()).unwrap_or(u32::MAX);
        self.say(ToAgent::ComeBackIn { secs });
    }

    fn pulse(&self) -> Pulse {
        self.as_ref().pulse()
    }

    fn client(&self) -> String {
        match &self.state().hello {
            Some(hello) => format!("moorline-agent {}", hello.agent_version),
            None => self.client.clone(),
        }
    }

    fn set_allow_clientless(&self, allow: bool) {
        self.state().allow_clientless = allow;
    }
}
