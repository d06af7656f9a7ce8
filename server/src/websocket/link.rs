//! A tunnel over WebSocket: reading, writing, signs of life, end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::frame::{Frame, Operation};
use super::open::Open;
use super::visitor::{Delivered, Visitor};
use super::{GOODBYE_TIMEOUT, WebSockets};
use crate::api::Peer;
use crate::forward::PublicForward;
use crate::presence;
use crate::registry::model::{Device, DeviceId, Forward, ForwardKind, Timestamp};
use crate::tunnels::{Carrier, Cut, Hold, OpenError, OpenForward, Pulse, Stream};

/// Messages that wait to be written. Short, so that nobody's bytes lie long before those of others.
const QUEUE: usize = 32;
/// Questions for a sign of life without an answer that end a tunnel (openport contract section 11).
const UNANSWERED_LIMIT: u32 = 2;

/// One tunnel.
pub(super) struct Link {
    sockets: WebSockets,
    device: DeviceId,
    pub(super) name: String,
    pub(super) device_port: u16,
    public_port: u16,
    client: String,
    generation: OnceLock<u64>,
    queue: mpsc::Sender<Message>,
    open: Mutex<Open<Arc<Visitor>>>,
    life: Mutex<Life>,
    /// Set once, with [`Self::cut`].
    end: OnceLock<Cut>,
    cut: CancellationToken,
    /// The tunnel is gone.
    pub(super) ended: CancellationToken,
}

struct Life {
    last_sign: Instant,
    unanswered: u32,
    asked: Option<Instant>,
    round_trip: Option<Duration>,
    allow_clientless: bool,
}

impl Link {
    /// Holds the tunnel of a session until its end.
    pub(super) async fn serve(
        sockets: WebSockets,
        socket: WebSocket,
        peer: Peer,
        client: String,
        device: &Device,
        forward: &Forward,
    ) {
        let (queue, messages) = mpsc::channel(QUEUE);
        let link = Arc::new(Self {
            device: device.id,
            name: device.name.clone(),
            device_port: forward.device_port,
            public_port: forward.public_port,
            client,
            generation: OnceLock::new(),
            queue,
            open: Mutex::default(),
            life: Mutex::new(Life {
                last_sign: Instant::now(),
                unanswered: 0,
                asked: None,
                round_trip: None,
                allow_clientless: device.allow_clientless,
            }),
            end: OnceLock::new(),
            cut: CancellationToken::new(),
            ended: CancellationToken::new(),
            sockets,
        });
        let (sink, mut stream) = socket.split();
        let mut writing = std::pin::pin!(write(sink, messages));
        let holding = async {
            if link.register(peer, device, forward).await {
                link.hold(&mut stream).await;
            }
        };
        let connected = tokio::select! {
            () = &mut writing => false,
            () = holding => true,
        };
        link.gone().await;
        if connected {
            let goodbye = async {
                // The writer ends behind it.
                tokio::join!(link.say_goodbye(), writing);
                // Until the client has closed too, what it sent may reset the connection and with it the goodbye.
                while let Some(Ok(_)) = stream.next().await {}
            };
            if timeout(GOODBYE_TIMEOUT, goodbye).await.is_err() {
                debug!(device = %link.name, "WebSocket did not close in time");
            }
        }
    }

    /// Makes it the tunnel of its session; false when a newer one has come meanwhile.
    async fn register(self: &Arc<Self>, peer: Peer, device: &Device, forward: &Forward) -> bool {
        let parts = &self.sockets.0.parts;
        let carrier = Arc::new(self.clone());
        let generation = parts
            .tunnels
            .register(self.device, carrier, peer.0, Hold::Sessions);
        self.generation.get_or_init(|| generation);
        info!(device = %self.name, generation, client = self.client, "device connected");
        presence::learn_recording(&parts.registry, &parts.tunnels, self.device).await;
        if forward.kind == ForwardKind::Tcp {
            // The public port first: who sees the tunnel open may connect at once.
            let public = PublicForward::of(device, forward);
            if let Err(error) = parts.ports.open(public, generation).await {
                // The gateway still reaches the device; only the public port is missing.
                warn!(device = %self.name, port = forward.public_port, %error, "listen on public port");
            }
        }
        let open = OpenForward {
            id: forward.id,
            device_port: forward.device_port,
            bind_address: String::new(),
            public_port: forward.public_port,
            first: forward.first,
        };
        if !parts.tunnels.open_forward(self.device, generation, open) {
            self.end.get_or_init(|| Cut::Displaced);
            return false;
        }
        self.look_again(forward).await
    }

    /// Whether its session may be up, once more: it may have been killed or taken away meanwhile, when there was
    /// nothing to cut yet.
    async fn look_again(&self, forward: &Forward) -> bool {
        let found = self.sockets.0.parts.registry.device(self.device).await;
        let Ok(found) = found.inspect_err(|error| warn!(%error, "look up device once more")) else {
            return true;
        };
        let forwards = found.into_iter().flat_map(|device| device.forwards);
        let mut sessions = forwards.filter(|one| one.id == forward.id);
        let there = sessions.any(|one| !one.killed && one.public_port == self.public_port);
        if !there {
            self.end.get_or_init(|| Cut::Killed);
        }
        there
    }

    /// Reads until the tunnel is to end.
    async fn hold(&self, stream: &mut SplitStream<WebSocket>) {
        let every = self.sockets.0.parts.keepalive_interval;
        let mut asks = interval_at(Instant::now() + every, every);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                () = self.cut.cancelled() => return,
                _ = asks.tick() => {
                    if self.ask() { continue; }
                    info!(device = %self.name, "device stopped answering");
                    self.end.get_or_init(|| Cut::TimedOut);
                    return;
                }
            };
            let Some(Ok(message)) = message else { return };
            self.heard();
            match message {
                Message::Binary(bytes) => {
                    tokio::select! {
                        () = self.obey(bytes) => {}
                        () = self.cut.cancelled() => return,
                    }
                }
                Message::Pong(_) => self.answered(),
                Message::Close(_) => return,
                Message::Text(_) | Message::Ping(_) => {}
            }
        }
    }

    async fn obey(&self, message: Bytes) {
        let Some(Frame { name, operation }) = Frame::parse(message) else {
            return;
        };
        match operation {
            Operation::Open => {}
            Operation::Close => {
                // Bound first, so that the table is free again.
                let visitor = self.open().remove(&name);
                if let Some(visitor) = visitor {
                    visitor.end();
                }
            }
            Operation::Data(data) => {
                let visitor = self.open().get(&name).cloned();
                if let Some(visitor) = visitor
                    && visitor.deliver(data).await == Delivered::Over
                {
                    visitor.end();
                }
            }
        }
    }

    /// Asks for a sign of life; false when too many of these questions were not answered.
    fn ask(&self) -> bool {
        let mut life = self.life();
        if life.unanswered >= UNANSWERED_LIMIT && !life.allow_clientless {
            return false;
        }
        life.unanswered = life.unanswered.saturating_add(1);
        drop(life);
        // A queue that is full is on its way to a client that does not read; the answer stays away then.
        if self.queue.try_send(Message::Ping(Bytes::new())).is_ok() {
            self.life().asked = Some(Instant::now());
        }
        true
    }

    fn heard(&self) {
        let mut life = self.life();
        life.last_sign = Instant::now();
        life.unanswered = 0;
    }

    fn answered(&self) {
        let mut life = self.life();
        if let Some(asked) = life.asked.take() {
            life.round_trip = Some(asked.elapsed());
        }
    }

    /// Queues a message; waits for its turn.
    pub(super) async fn say(&self, frame: Frame) -> Result<(), ()> {
        let message = Message::Binary(frame.encode());
        self.queue.send(message).await.map_err(drop)
    }

    async fn say_goodbye(&self) {
        let end = self.end.get().copied();
        let frame = CloseFrame {
            code: close_code_of(end),
            reason: end.map_or("", Cut::reason).into(),
        };
        // A writer that is gone has nobody to tell.
        drop(self.queue.send(Message::Close(Some(frame))).await);
    }

    /// Takes the tunnel out of service.
    async fn gone(&self) {
        self.ended.cancel();
        let parts = &self.sockets.0.parts;
        let generation = self.generation.get().copied().unwrap_or_default();
        parts.ports.close(self.public_port, generation);
        let last = parts.tunnels.unregister(self.device, generation);
        let reason = self.end.get().map_or("connection lost", |cut| cut.reason());
        info!(device = %self.name, generation, reason, "device disconnected");
        if !last {
            return;
        }
        let now = Timestamp::now();
        let silent = i64::try_from(self.life().last_sign.elapsed().as_micros());
        let last_sign = Timestamp(now.0.saturating_sub(silent.unwrap_or(i64::MAX)));
        let recorded = async {
            let seen = vec![(self.device, last_sign)];
            parts.registry.record_seen(seen).await?;
            parts.registry.record_end(self.device, reason, now).await
        };
        if let Err(error) = recorded.await {
            warn!(device = %self.name, %error, "record end of tunnel");
        }
    }

    /// Runs beside the tunnel.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.sockets.0.tasks.spawn(task);
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Open<Arc<Visitor>>> {
        // No code panics while it holds the lock, here and below.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is queued, a goodbye last. Each time everything that waits, so that small messages share a packet.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut queue: mpsc::Receiver<Message>) {
    while let Some(mut message) = queue.recv().await {
        loop {
            let last = matches!(message, Message::Close(_));
            if sink.feed(message).await.is_err() {
                return;
            }
            if last {
                drop(sink.close().await);
                return;
            }
            match queue.try_recv() {
                Ok(next) => message = next,
                Err(_) => break,
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

/// Openport contract section 11: 1000 for a tunnel that a newer one ended. A client asks for its session again after
/// any of them.
const fn close_code_of(end: Option<Cut>) -> u16 {
    match end {
        None | Some(Cut::Displaced | Cut::Closed | Cut::TimedOut | Cut::Renewed) => {
            close_code::NORMAL
        }
        Some(Cut::Drained) => close_code::AWAY,
        Some(Cut::Deleted | Cut::Blocked | Cut::Inactive | Cut::Rekeyed | Cut::Killed) => {
            close_code::POLICY
        }
    }
}

/// The [`Carrier`] of a device is its link, shared.
impl Carrier for Arc<Link> {
    fn open(
        &self,
        forward: OpenForward,
        originator: SocketAddr,
    ) -> BoxFuture<'static, Result<Stream, OpenError>> {
        let opened = self.clone().open_visitor(originator, forward.id);
        std::future::ready(opened).boxed()
    }

    fn cut(&self, cut: Cut) {
        self.end.get_or_init(|| cut);
        self.cut.cancel();
    }

    fn wanted_open(&self) {
        // The client asks again by itself; the protocol has no word for it.
    }

    fn come_back_in(&self, _pause: Duration) {
        // As above.
    }

    fn set_allow_clientless(&self, allow: bool) {
        self.life().allow_clientless = allow;
    }

    fn pulse(&self) -> Pulse {
        let life = self.life();
        Pulse {
            silent_for: life.last_sign.elapsed(),
            keepalive: self.sockets.0.parts.keepalive_interval * UNANSWERED_LIMIT,
            round_trip: life.round_trip,
        }
    }

    fn client(&self) -> String {
        self.client.clone()
    }
}
