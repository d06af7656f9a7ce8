//! Holds a tunnel that is logged in: forwards, streams, messages, signs of life.

use std::time::Duration;

use moorline_protocol::control::{DeviceForward, ToAgent, ToServer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::control::{Control, Speaker};
use super::forwards::Forwards;
use super::keepalive::{Due, Keepalive};
use super::session::{Gone, Granted, Opening, Openings, Session};
use super::stream::{self, Flow};
use super::{EndReason, Tunnel, TunnelEnd};
use crate::status::ForwardState;
use crate::wakeups::{self, Wake, Wakeups};

/// Time for the server's answer to our hello.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before asking for a refused forward again.
const FORWARD_RETRY: Duration = Duration::from_secs(60);
/// How often the byte counters are sent at most.
const COUNTERS_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How long a server that told us to come back later may take to end the connection.
const TOLD_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last words may take to leave and to be answered: two round trips of a slow mobile link. Whoever stops us
/// waits at least 4 s.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

const SILENT: &str = "the server does not answer";

/// Whether the forwards are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Open,
    Closed,
}

pub(super) struct Holder<'a> {
    tunnel: Tunnel<'a>,
    session: Session,
    openings: Openings,
    up_since: Instant,
    keepalive: Keepalive,
    flow: Flow,
    wanted: Wanted,
    forwards: Forwards,
    retry_forward_at: Option<Instant>,
    echo_id: u32,
    echo_sent: Option<Instant>,
    counters_sent: Instant,
    streams: JoinSet<()>,
}

impl<'a> Holder<'a> {
    pub(super) fn new(tunnel: Tunnel<'a>, session: Session, openings: Openings) -> Self {
        let now = Instant::now();
        Self {
            keepalive: Keepalive::new(tunnel.pace),
            forwards: Forwards::only(tunnel.provision.forward),
            tunnel,
            session,
            openings,
            up_since: now,
            flow: Flow::Plain,
            wanted: Wanted::Open,
            retry_forward_at: None,
            echo_id: 0,
            echo_sent: None,
            counters_sent: now,
            streams: JoinSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        wakeups: &mut Wakeups,
        stop: &CancellationToken,
    ) -> TunnelEnd {
        let mut speakers = JoinSet::new();
        let set_up = async {
            let control = self.greet(&mut speakers).await?;
            self.ask_for_forwards().await?;
            Ok::<_, Gone>(control)
        };
        let set_up = tokio::select! {
            result = set_up => result,
            () = stop.cancelled() => return TunnelEnd::Stopped,
        };
        let Ok(mut control) = set_up else {
            return self.lost_or_told().await;
        };
        loop {
            let look_at = self.look_at();
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                reason = self.session.ended() => Event::Ended(reason),
                message = next_message(&mut control) => Event::Message(message),
                opening = self.openings.next() => Event::Opening(opening),
                Some(_) = self.streams.join_next() => Event::StreamEnded,
                wake = wakeups.next() => Event::Wake(wake),
                () = sleep_until(look_at) => Event::Look,
            };
            if let Err(end) = self.handle(event, &mut control).await {
                return self.goodbye(end, control).await;
            }
        }
    }

    async fn handle(
        &mut self,
        event: Event,
        control: &mut Option<Control>,
    ) -> Result<(), TunnelEnd> {
        match event {
            Event::Stop => Err(TunnelEnd::Stopped),
            Event::Ended(reason) => Err(self.judge_end(reason)),
            Event::Message(Ok(message)) => self.obey(message, control.as_ref()).await,
            Event::Message(Err(Gone)) => Err(self.lost_or_told().await),
            Event::Opening(opening) => {
                self.begin_stream(opening).await;
                Ok(())
            }
            Event::StreamEnded => {
                self.tunnel.board.streams(self.streams.len());
                Ok(())
            }
            Event::Wake(wake) => self.woken(wake, control.as_ref()).await,
            Event::Look => self.look(control.as_ref()).await,
        }
    }

    /// Opens the control channel and says hello; without one the server gets plain SSH.
    async fn greet(&mut self, speakers: &mut JoinSet<()>) -> Result<Option<Control>, Gone> {
        let Some((reader, writer)) = self.session.control_channel().await? else {
            tracing::info!("the server is not Moorline; plain forwarding without flow control");
            self.tunnel.board.connected(None);
            return Ok(None);
        };
        let (mut control, speaker) = Control::new(reader, writer);
        speakers.spawn(Speaker::run(speaker));
        control.say(ToServer::Hello(self.tunnel.hello.clone()))?;
        let welcome = async {
            loop {
                match control.next().await? {
                    ToAgent::Welcome {
                        generation,
                        stream_credit_bytes,
                    } => return Ok((generation, stream_credit_bytes)),
                    ToAgent::Echo { id } => control.say(ToServer::EchoReply { id })?,
                    _ => {}
                }
            }
        };
        let (generation, theirs) = timeout(WELCOME_TIMEOUT, welcome)
            .await
            .map_err(|_| Gone)??;
        let ours = self.tunnel.hello.stream_credit_bytes;
        self.flow = Flow::Credits { ours, theirs };
        self.tunnel.board.connected(Some(generation));
        Ok(Some(control))
    }

    /// Asks for the forwards that are not open.
    async fn ask_for_forwards(&mut self) -> Result<(), Gone> {
        let node = &self.tunnel.provision.server_host;
        self.forwards.forget_refusals();
        while let Some((remote_port, local_port)) = self.forwards.next_to_ask() {
            let granted = self.session.forward(remote_port).await?;
            let open = matches!(granted, Granted::Yes);
            if open {
                tracing::info!(node, remote_port, local_port, "tunnel is up");
            } else {
                tracing::warn!(
                    node,
                    remote_port,
                    "the server refuses the forward; staying in touch"
                );
            }
            self.forwards.answered(remote_port, open);
        }
        self.tunnel.board.forward(self.forwards.state());
        let refused = self.forwards.any_refused();
        self.retry_forward_at = refused.then(|| Instant::now() + FORWARD_RETRY);
        Ok(())
    }

    /// Holds these forwards and no others.
    async fn hold_forwards(&mut self, forwards: &[DeviceForward]) -> Result<(), Gone> {
        for port in self.forwards.replace(forwards) {
            self.session.cancel_forward(port).await?;
        }
        match self.wanted {
            Wanted::Open => self.ask_for_forwards().await,
            Wanted::Closed => Ok(()),
        }
    }

    async fn obey(&mut self, message: ToAgent, control: Option<&Control>) -> Result<(), TunnelEnd> {
        match message {
            ToAgent::Echo { id } => self.say(control, ToServer::EchoReply { id }),
            ToAgent::EchoReply { id } if id == self.echo_id => {
                if let Some(sent) = self.echo_sent.take() {
                    self.tunnel.board.round_trip(sent.elapsed());
                }
                Ok(())
            }
            ToAgent::ComeBackIn { secs } => Err(self.leave(secs).await),
            ToAgent::Reprovision => Err(TunnelEnd::Reprovision),
            ToAgent::Close => {
                tracing::info!("an operator closed the tunnel; staying in touch");
                self.wanted = Wanted::Closed;
                self.retry_forward_at = None;
                self.streams.shutdown().await;
                self.tunnel.board.forward(ForwardState::Closed);
                for port in self.forwards.close() {
                    let given_back = self.session.cancel_forward(port).await;
                    given_back.map_err(|Gone| self.lost(SILENT))?;
                }
                Ok(())
            }
            ToAgent::Open => {
                self.wanted = Wanted::Open;
                let asked = self.ask_for_forwards().await;
                asked.map_err(|Gone| self.lost(SILENT))
            }
            ToAgent::Forwards { forwards } => {
                let held = self.hold_forwards(&forwards).await;
                held.map_err(|Gone| self.lost(SILENT))
            }
            ToAgent::EchoReply { .. } | ToAgent::Welcome { .. } | ToAgent::Unknown => Ok(()),
        }
    }

    /// The server is about to go: let its streams end with it, then come back when it said.
    async fn leave(&mut self, secs: u32) -> TunnelEnd {
        let told_at = Instant::now();
        let come_back_in = Duration::from_secs(secs.into());
        tracing::info!(secs, "the server asks us to come back later");
        if timeout(TOLD_PATIENCE, self.session.ended()).await.is_err() {
            tracing::debug!("the server did not end the connection");
        }
        TunnelEnd::Told {
            come_back_in: come_back_in.saturating_sub(told_at.elapsed()),
        }
    }

    async fn begin_stream(&mut self, opening: Opening) {
        let local_port = self.forwards.local_port(opening.remote_port);
        let Some(port) = local_port.filter(|_| self.wanted == Wanted::Open) else {
            opening.refuse().await;
            return;
        };
        if self.streams.len() >= self.tunnel.limits.streams {
            tracing::warn!(streams = self.streams.len(), "stream refused: too many");
            opening.refuse_for_now().await;
            return;
        }
        self.keepalive.used();
        let flow = self.flow;
        self.streams.spawn(async move {
            match stream::connect(port).await {
                Ok(program) => {
                    let (reader, writer) = opening.accept().await;
                    stream::carry(reader, writer, program, flow).await;
                }
                Err(error) => {
                    tracing::warn!(port, %error, "nobody answers at the device's port");
                    opening.refuse().await;
                }
            }
        });
        self.tunnel.board.streams(self.streams.len());
    }

    /// When something is to be looked at without anything happening.
    fn look_at(&self) -> Instant {
        let keepalive_at = match self.keepalive.due(self.up_since.elapsed()) {
            Due::At(at) => self.up_since + at,
            Due::Ask | Due::Dead => Instant::now(),
        };
        let retry_at = self.retry_forward_at.unwrap_or(keepalive_at);
        keepalive_at.min(retry_at)
    }

    async fn look(&mut self, control: Option<&Control>) -> Result<(), TunnelEnd> {
        self.listen();
        if self.retry_forward_at.is_some_and(|at| at <= Instant::now()) {
            let asked = self.ask_for_forwards().await;
            asked.map_err(|Gone| self.lost(SILENT))?;
        }
        match self.keepalive.due(self.up_since.elapsed()) {
            Due::At(_) => Ok(()),
            Due::Ask => self.ask(control).await,
            Due::Dead => Err(self.lost("no sign of life from the server")),
        }
    }

    /// Tells the keepalive what was heard on the socket since it last looked.
    fn listen(&mut self) {
        let heard = self.tunnel.meter.read().last_heard;
        let Some(heard) = heard.and_then(|heard| heard.checked_duration_since(self.up_since))
        else {
            return;
        };
        if self.streams.is_empty() {
            self.keepalive.heard_while_quiet(heard);
        } else {
            self.keepalive.used();
            self.keepalive.heard(heard);
        }
    }

    /// The network changed, or the device slept: the link has a short time to prove itself.
    async fn woken(&mut self, wake: Wake, control: Option<&Control>) -> Result<(), TunnelEnd> {
        let local = self.session.local_address();
        if local.is_some_and(|address| !wakeups::has_address(address)) {
            let lived = self.up_since.elapsed();
            return Err(TunnelEnd::Moved { lived });
        }
        let cause = wake.words();
        tracing::info!(
            cause,
            "network changed; asking the server for a sign of life"
        );
        self.keepalive.suspect(self.up_since.elapsed());
        self.ask(control).await
    }

    async fn ask(&mut self, control: Option<&Control>) -> Result<(), TunnelEnd> {
        self.keepalive.asked(self.up_since.elapsed());
        self.echo_id = self.echo_id.wrapping_add(1);
        self.echo_sent = Some(Instant::now());
        if control.is_none() {
            let asked = self.session.ask().await;
            return asked.map_err(|Gone| self.lost(SILENT));
        }
        self.say(control, ToServer::Echo { id: self.echo_id })?;
        if self.counters_sent.elapsed() >= COUNTERS_EVERY {
            self.counters_sent = Instant::now();
            self.say(control, self.counters())?;
        }
        Ok(())
    }

    fn counters(&self) -> ToServer {
        let reading = self.tunnel.meter.read();
        ToServer::Counters {
            received_bytes: reading.received,
            sent_bytes: reading.sent,
        }
    }

    fn say(&self, control: Option<&Control>, message: ToServer) -> Result<(), TunnelEnd> {
        let said = control.map_or(Ok(()), |control| control.say(message));
        said.map_err(|Gone| self.lost("the server does not read"))
    }

    fn lost(&self, reason: &str) -> TunnelEnd {
        TunnelEnd::Lost {
            lived: self.up_since.elapsed(),
            reason: reason.to_owned(),
        }
    }

    /// The channel is gone: the session ends too, most likely, and says why.
    async fn lost_or_told(&mut self) -> TunnelEnd {
        match timeout(GOODBYE_TIMEOUT, self.session.ended()).await {
            Ok(reason) => self.judge_end(reason),
            Err(_) => self.lost("the server closed the control channel"),
        }
    }

    /// What the server's last words mean for the next attempt.
    fn judge_end(&self, reason: EndReason) -> TunnelEnd {
        let words = match reason {
            EndReason::Lost(reason) => return self.lost(&reason),
            EndReason::Told(words) => words,
        };
        match words.as_str() {
            "displaced" => TunnelEnd::Displaced,
            "deleted" | "blocked" | "inactive" => TunnelEnd::Rejected(words),
            "key replaced" => TunnelEnd::Rejected("the device's key was replaced".into()),
            _ => self.lost(&words),
        }
    }

    async fn goodbye(mut self, end: TunnelEnd, mut control: Option<Control>) -> TunnelEnd {
        if !matches!(end, TunnelEnd::Stopped | TunnelEnd::Reprovision) {
            return end;
        }
        let last_words = async {
            if let Some(control) = &mut control {
                self.say_goodbye(control).await?;
            }
            self.session.disconnect().await;
            self.session.ended().await;
            Ok::<_, Gone>(())
        };
        if !matches!(timeout(GOODBYE_TIMEOUT, last_words).await, Ok(Ok(()))) {
            tracing::debug!("the goodbye did not leave in time");
        }
        end
    }

    /// The last words, and a sign that the server has read them.
    async fn say_goodbye(&self, control: &mut Control) -> Result<(), Gone> {
        let id = self.echo_id.wrapping_add(1);
        for message in [self.counters(), ToServer::Bye, ToServer::Echo { id }] {
            control.say(message)?;
        }
        while control.next().await? != (ToAgent::EchoReply { id }) {}
        Ok(())
    }
}

/// What happened to a tunnel.
enum Event {
    Stop,
    Ended(EndReason),
    Message(Result<ToAgent, Gone>),
    Opening(Opening),
    StreamEnded,
    Wake(Wake),
    Look,
}

async fn next_message(control: &mut Option<Control>) -> Result<ToAgent, Gone> {
    match control {
        Some(control) => control.next().await,
        None => std::future::pending().await,
    }
}
