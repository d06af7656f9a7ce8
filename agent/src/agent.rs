//! `run`: enrols, then holds the tunnel for the life of the device.
//!
//! *Invariant:* no fault of network, server or disk ends it.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use moorline_protocol::control::Hello;
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, KeySource};
use crate::enrol::{self, EnrolError, Enrolled};
use crate::reconnect::{AskApi, Ended, Next, Reconnect, Wakes};
use crate::state::{Identity, StateError, StateFolder, StateLock};
use crate::status::{Activity, StatusBoard};
use crate::tunnel::keepalive::{Keepalive, Pace};
use crate::tunnel::meter::Meter;
use crate::tunnel::{ConnectError, Limits, Tunnel, TunnelEnd};
use crate::wakeups::{self, Wakeups};
use crate::{gateway_key, inventory, supervisor};

/// Time after which the gateway's key is tried again where the disk took it not.
const GATEWAY_KEY_RETRY: Duration = Duration::from_secs(10);

/// Why the agent does not even start.
#[derive(Debug, Error)]
pub enum RunError {
    /// Another agent holds the state folder.
    #[error(transparent)]
    InUse(StateError),
    /// The device is not enrolled and cannot become so.
    #[error("the device is not enrolled and {0}")]
    Unconfigured(&'static str),
}

/// Runs until stopped.
///
/// # Errors
/// [`RunError`], only before anything was done.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let state = StateFolder::find(config.state_dir.as_deref());
    check_configured(&config, &state)?;
    let meter = Meter::default();
    let board = StatusBoard::new(meter.clone());
    let (watcher, wakeups) = wakeups::watch();
    let mut agent = Agent {
        config,
        state,
        board,
        meter,
        wakeups,
        stop: stop.child_token(),
        reconnect: Reconnect::default(),
    };
    let mut beside = JoinSet::new();
    beside.spawn(watcher.run(agent.stop.clone()));
    beside.spawn(supervisor::report(agent.board.clone(), agent.stop.clone()));
    let Some(_lock) = agent.take_state_folder().await? else {
        return Ok(());
    };
    let state_path = agent.state.path().to_owned();
    beside.spawn(agent.board.clone().serve(state_path, agent.stop.clone()));
    if let Some(enrolled) = agent.enrol().await {
        agent.hold_tunnel(enrolled).await;
    }
    agent.stop.cancel();
    while beside.join_next().await.is_some() {}
    Ok(())
}

/// A device that cannot enrol for want of settings is told so at once: only new settings can help, and those are
/// read at the next start.
///
/// # Errors
/// [`RunError::Unconfigured`].
pub fn check_configured(config: &Config, state: &StateFolder) -> Result<(), RunError> {
    if !matches!(state.identity(), Ok(None)) {
        return Ok(());
    }
    if config.api_url.is_none() {
        return Err(RunError::Unconfigured("api_url is not set"));
    }
    let kept_key = !matches!(state.api_key(), Ok(None));
    if matches!(config.api_key, KeySource::None) && !kept_key {
        return Err(RunError::Unconfigured(
            "neither api_key nor api_key_file is set",
        ));
    }
    Ok(())
}

struct Agent {
    config: Config,
    state: StateFolder,
    board: StatusBoard,
    meter: Meter,
    wakeups: Wakeups,
    stop: CancellationToken,
    reconnect: Reconnect,
}

/// Whether to go on after a wait.
#[derive(PartialEq, Eq)]
enum After {
    GoOn,
    Stop,
}

impl Agent {
    /// Makes and locks the state folder; waits while the disk is not there yet. `None` when stopped.
    async fn take_state_folder(&mut self) -> Result<Option<StateLock>, RunError> {
        loop {
            let taken = self.state.create().and_then(|()| self.state.lock());
            let error = match taken {
                Ok(lock) => return Ok(Some(lock)),
                Err(error @ StateError::InUse(_)) => return Err(RunError::InUse(error)),
                Err(error) => EnrolError::State(error),
            };
            if self.wait_after_enrol_error(&error).await == After::Stop {
                return Ok(None);
            }
        }
    }

    /// Takes the steps of first boot until they are all taken. `None` when stopped.
    async fn enrol(&mut self) -> Option<Enrolled> {
        loop {
            self.board.begin(Activity::Enrolling);
            let result = tokio::select! {
                result = enrol::enrol(&self.config, &self.state) => result,
                () = self.stop.cancelled() => return None,
            };
            match result {
                Ok(enrolled) => {
                    self.reconnect = Reconnect::default();
                    return Some(enrolled);
                }
                Err(error) => {
                    if self.wait_after_enrol_error(&error).await == After::Stop {
                        return None;
                    }
                }
            }
        }
    }

    async fn wait_after_enrol_error(&mut self, error: &EnrolError) -> After {
        let ended = error.ended();
        let next = self.reconnect.after(&ended, dice());
        let reason = with_causes(error);
        self.wait("not enrolled", &reason, &ended, next).await
    }

    /// Holds the tunnel until stopped.
    async fn hold_tunnel(&mut self, mut enrolled: Enrolled) {
        loop {
            self.describe(&enrolled);
            self.board.begin(Activity::Connecting);
            let (ended, reason) = match self.hold_once(&enrolled).await {
                Ok(TunnelEnd::Stopped) => return,
                Ok(TunnelEnd::Reprovision) => {
                    tracing::info!("the server asks us to fetch the client script again");
                    match self.renew(&mut enrolled).await {
                        Renewed::Stopped => return,
                        Renewed::Changed
                        | Renewed::Same
                        | Renewed::Refused(_)
                        | Renewed::Failed => {}
                    }
                    self.reconnect.came_up();
                    let lived = Duration::from_secs(1);
                    (Ended::Lost { lived }, "the forwards changed".to_owned())
                }
                Ok(end) => {
                    if matches!(end, TunnelEnd::Moved { .. }) {
                        self.reconnect.woken();
                    }
                    judge(end)
                }
                Err(error) => judge_failure(&error),
            };
            let next = self.reconnect.after(&ended, dice());
            let mut reason = reason;
            if next.ask == AskApi::Yes {
                tracing::warn!(reason, "tunnel is down; asking the API where the node is");
                match self.renew(&mut enrolled).await {
                    Renewed::Stopped => return,
                    Renewed::Changed => continue,
                    Renewed::Refused(words) => reason = format!("{reason}; {words}"),
                    Renewed::Same | Renewed::Failed => {}
                }
            }
            if self.wait("tunnel is down", &reason, &ended, next).await == After::Stop {
                return;
            }
        }
    }

    async fn hold_once(&mut self, enrolled: &Enrolled) -> Result<TunnelEnd, ConnectError> {
        let limits = Limits::for_memory(inventory::memory_kib());
        let pace = Pace::of(self.config.profile);
        let tunnel = Tunnel {
            provision: &enrolled.provision,
            key: &enrolled.key,
            hello: hello(limits, pace),
            pace,
            limits,
            meter: &self.meter,
            board: &self.board,
        };
        // A future of this size belongs on the heap, not in every frame above.
        let held = Box::pin(tunnel.hold(&mut self.wakeups, &self.stop));
        let let_in = let_gateway_in(&self.config, enrolled);
        tokio::select! {
            // The key is there before the tunnel that leads to it.
            biased;
            never = let_in => match never {},
            ended = held => ended,
        }
    }

    /// Asks the API for the script again.
    async fn renew(&self, enrolled: &mut Enrolled) -> Renewed {
        let result = tokio::select! {
            result = enrol::renew(&self.config, &self.state, enrolled) => result,
            () = self.stop.cancelled() => return Renewed::Stopped,
        };
        match result {
            Ok(provision) => {
                let changed = provision.leads_elsewhere(&enrolled.provision);
                enrolled.provision = provision;
                if changed {
                    let node = &enrolled.provision.server_host;
                    tracing::info!(node, "the API gave a new way to the node");
                    Renewed::Changed
                } else {
                    Renewed::Same
                }
            }
            Err(EnrolError::NoCredential(_)) => {
                tracing::info!("the API is not asked where the node is: the key was forgotten");
                Renewed::Failed
            }
            Err(error) if error.ended() == Ended::Rejected => Renewed::Refused(error.to_string()),
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "ask the API where the node is");
                Renewed::Failed
            }
        }
    }

    /// Shows and logs why there is nothing, and waits for the next attempt.
    async fn wait(&mut self, what: &'static str, reason: &str, ended: &Ended, next: Next) -> After {
        let retry_in_secs = next.wait.as_secs_f32();
        let activity = match ended {
            Ended::Rejected | Ended::Displaced => {
                tracing::error!(reason, retry_in_secs, "{what}: someone must act");
                Activity::Refused
            }
            Ended::Lost { .. } | Ended::Told { .. } => {
                tracing::warn!(reason, retry_in_secs, "{what}");
                Activity::Waiting
            }
        };
        self.board.wait(activity, reason, next.wait);
        let woken = async {
            match next.wakes {
                Wakes::Yes => self.wakeups.next().await,
                Wakes::No => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => return After::Stop,
            () = sleep(next.wait) => {}
            wake = woken => {
                tracing::info!(cause = wake.words(), "trying again now");
                self.reconnect.woken();
            }
        }
        After::GoOn
    }

    fn describe(&self, enrolled: &Enrolled) {
        let (provision, Identity { client_id, .. }) = (&enrolled.provision, &enrolled.identity);
        self.board.describe(|status| {
            status.client_id = Some(client_id.clone());
            status.name = Some(provision.client_name.clone());
            let (host, port) = (&provision.server_host, provision.server_port);
            status.server = Some(format!("{host}:{port}"));
            status.remote_port = Some(provision.forward.remote_port);
            status.local_port = Some(provision.forward.local_port);
        });
    }
}

/// Puts the gateway's key where the configuration wants it, again and again while the disk takes nothing; then idles.
async fn let_gateway_in(config: &Config, enrolled: &Enrolled) -> Infallible {
    let Some(path) = &config.authorized_keys else {
        return std::future::pending().await;
    };
    let Some(key) = &enrolled.provision.gateway_key else {
        tracing::warn!("the client script names no gateway key to put into authorized_keys");
        return std::future::pending().await;
    };
    let mut failed = false;
    while let Err(error) = gateway_key::put(path, Some(key)) {
        // Once is enough: nothing changes until the disk does.
        if !failed {
            tracing::warn!(path = %path.display(), %error, "put the gateway's key");
        }
        failed = true;
        sleep(GATEWAY_KEY_RETRY).await;
    }
    if failed {
        tracing::info!(path = %path.display(), "the gateway's key is in place");
    }
    std::future::pending().await
}

/// What asking the API again brought.
enum Renewed {
    Changed,
    Same,
    Refused(String),
    Failed,
    Stopped,
}

/// What an ended tunnel means for the next attempt, and why it ended.
fn judge(end: TunnelEnd) -> (Ended, String) {
    match end {
        TunnelEnd::Lost { lived, reason } => (Ended::Lost { lived }, reason),
        TunnelEnd::Moved { lived } => (
            Ended::Lost { lived },
            "the address that the tunnel hung on is gone".into(),
        ),
        TunnelEnd::Displaced => (
            Ended::Displaced,
            "another tunnel with this device's key took over; is this device cloned?".into(),
        ),
        TunnelEnd::Rejected(words) => (Ended::Rejected, format!("the server says: {words}")),
        TunnelEnd::Told { come_back_in } => (
            Ended::Told { come_back_in },
            "the server asked us to come back later".into(),
        ),
        TunnelEnd::Reprovision | TunnelEnd::Stopped => (
            Ended::Lost {
                lived: Duration::ZERO,
            },
            String::new(),
        ),
    }
}

fn judge_failure(error: &ConnectError) -> (Ended, String) {
    let ended = match error {
        ConnectError::HostKey { .. } | ConnectError::KeyRefused { .. } => Ended::Rejected,
        ConnectError::Dial(_) | ConnectError::Lost(_) => Ended::Lost {
            lived: Duration::ZERO,
        },
    };
    (ended, error.to_string())
}

/// What is known before the tunnel is up.
fn hello(limits: Limits, pace: Pace) -> Hello {
    Hello {
        agent_version: env!("CARGO_PKG_VERSION").into(),
        boot_id: inventory::boot_id(),
        hostname: inventory::hostname(),
        hardware: inventory::hardware(Path::new("/")),
        sshd_host_keys: Vec::new(),
        stream_credit_bytes: limits.stream_credit_bytes,
        keepalive_secs: Keepalive::longest_silence_secs(pace),
    }
}

/// A random number; a device whose random pool fails still spreads by the clock.
fn dice() -> u32 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos()),
    }
}

/// An error with what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
