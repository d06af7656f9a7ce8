//! A device's tunnel: its forwards, its control channel, its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use moorline_protocol::control::{
    DeviceForward, Hello, MAX_FORWARDS, MAX_LINE_BYTES, ToAgent, ToServer,
};
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, Disconnect};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Shared;
use super::channel;
use super::control::{Echoes, Lines, speak};
use super::socket::Life;
use super::window::STREAM_CREDIT_BYTES;
use crate::registry::error::RegistryError;
use crate::registry::model::{Device, DeviceId, Forward, PublicKey, Timestamp};
use crate::tunnels::{Carrier, Cut, Hold, OpenError, OpenForward, Pulse, Stream};

mod forwards;

/// Messages to the agent that wait to be sent.
const CONTROL_QUEUE: usize = 16;
/// How long a goodbye may take to leave before the connection is ended anyway.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);
/// What an agent's keepalive interval may be beside its own word, for answers on their way.
const KEEPALIVE_SLACK: Duration = Duration::from_secs(10);
/// Longest keepalive interval an agent may name.
const MAX_KEEPALIVE: Duration = Duration::from_secs(3600);
/// How often the watch looks at a connection.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// Largest inventory that is kept, in bytes (provisioning contract section 3, `hardware`).
const MAX_HARDWARE_BYTES: usize = 4096;
/// Host keys of a device's sshd that are kept.
const MAX_HOST_KEYS: usize = 8;

/// One authenticated connection of a device.
pub(super) struct DeviceLink {
    shared: Arc<Shared>,
    device: DeviceId,
    /// The key that it logged in with.
    key: Option<PublicKey>,
    name: String,
    peer: SocketAddr,
    handle: Handle,
    life: Arc<Life>,
    client: String,
    generation: OnceLock<u64>,
    state: Mutex<State>,
    ended: CancellationToken,
    spoken: CancellationToken,
}

#[derive(Default)]
struct State {
    hello: Option<Hello>,
    control: Option<mpsc::Sender<ToAgent>>,
    round_trip: Option<Duration>,
    allow_clientless: bool,
    end: Option<&'static str>,
    open_ports: Vec<u16>,
}

impl DeviceLink {
    /// Registers the connection as the device's newest tunnel, that stands for what `hold` says, and begins to watch
    /// it.
    pub(super) fn register(
        shared: Arc<Shared>,
        device: &Device,
        peer: SocketAddr,
        handle: Handle,
        life: Arc<Life>,
        client: String,
        hold: Hold,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            device: device.id,
            key: device.public_key.clone(),
            name: device.name.clone(),
            peer,
            handle,
            life,
            client,
            generation: OnceLock::new(),
            state: Mutex::new(State {
                allow_clientless: device.allow_clientless,
                ..State::default()
            }),
            ended: CancellationToken::new(),
            spoken: CancellationToken::new(),
            shared,
        });
        let generation =
            link.shared
                .tunnels
                .register(device.id, Arc::new(link.clone()), peer, hold);
        link.generation.get_or_init(|| generation);
        info!(device = %link.name, generation, client = %link.client, "device connected");
        link.shared.tasks.spawn(link.clone().watch());
        link
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) const fn device(&self) -> DeviceId {
        self.device
    }

    /// Whether `device` still has the key that this connection proved; it may have got another one while the
    /// connection was logging in, when there was nothing to cut yet.
    pub(super) fn is_by_key_of(&self, device: &Device) -> bool {
        let canonical = |key: &PublicKey| key.canonical.clone();
        self.key.as_ref().map(canonical) == device.public_key.as_ref().map(canonical)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Runs `task` as long as the connection, at most.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = ended.cancelled() => {}
            }
        });
    }

    fn generation(&self) -> u64 {
        self.generation.get().copied().unwrap_or_default()
    }

    /// Runs the control channel until the agent closes it.
    pub(super) fn control(self: Arc<Self>, channel: Channel<Msg>) {
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
    async fn tell_forwards(&self) {
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
    fn say(&self, message: ToAgent) {
        if !self.try_say(message) {
            debug!(device = %self.name, "agent was not told");
        }
    }

    fn try_say(&self, message: ToAgent) -> bool {
        let control = self.state().control.clone();
        control.is_some_and(|control| control.try_send(message).is_ok())
    }

    /// Ends a connection that stopped answering.
    async fn watch(self: Arc<Self>) {
        let mut looks = tokio::time::interval(WATCH_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                _ = looks.tick() => {}
            }
            let Pulse {
                silent_for,
                keepalive,
                ..
            } = self.pulse();
            if silent_for > keepalive && !self.state().allow_clientless {
                info!(device = %self.name, ?silent_for, "device stopped answering");
                self.cut(Cut::TimedOut);
                return;
            }
        }
    }

    /// Takes the tunnel out of service; called once, when the connection is gone.
    pub(super) async fn gone(&self) {
        self.ended.cancel();
        let generation = self.generation();
        self.close_ports();
        let newest = self.shared.tunnels.unregister(self.device, generation);
        let reason = self.state().end.unwrap_or("connection lost");
        info!(device = %self.name, generation, reason, "device disconnected");
        if newest && let Err(error) = self.record_end(reason).await {
            warn!(device = %self.name, %error, "record end of tunnel");
        }
    }

    async fn record_end(&self, reason: &str) -> Result<(), RegistryError> {
        let now = Timestamp::now();
        let silent = i64::try_from(self.life.silent_for().as_micros()).unwrap_or(i64::MAX);
        let last_sign = Timestamp(now.0.saturating_sub(silent));
        self.shared
            .registry
            .record_seen(vec![(self.device, last_sign)])
            .await?;
        self.shared
            .registry
            .record_end(self.device, reason, now)
            .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    fn end(self: Arc<Self>, cut: Cut) {
        self.state().end.get_or_insert(cut.reason());
        let tasks = self.shared.tasks.clone();
        tasks.spawn(async move {
            // What was said before reaches the agent before the goodbye.
            if self.state().control.take().is_some()
                && timeout(GOODBYE_TIMEOUT, self.spoken.cancelled())
                    .await
                    .is_err()
            {
                debug!(device = %self.name, "agent does not read its control channel");
            }
            let goodbye = self.handle.disconnect(
                Disconnect::ByApplication,
                cut.reason().to_owned(),
                String::new(),
            );
            if timeout(GOODBYE_TIMEOUT, goodbye).await.is_ok() {
                // It was handed to the session; give it the time to reach the socket.
                let gone = timeout(GOODBYE_TIMEOUT, self.ended.cancelled()).await;
                if gone.is_ok() {
                    return;
                }
            }
            self.life.kill();
        });
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

impl DeviceLink {
    fn pulse(&self) -> Pulse {
        let state = self.state();
        let keepalive = match &state.hello {
            Some(hello) => {
                let own = Duration::from_secs(hello.keepalive_secs.into());
                own.min(MAX_KEEPALIVE) + KEEPALIVE_SLACK
            }
            None => self.shared.config.keepalive_interval * 2,
        };
        Pulse {
            silent_for: self.life.silent_for(),
            keepalive,
            round_trip: state.round_trip,
        }
    }
}
