//! A device's tunnel: its forwards, its control channel, its end.
//!
//! | module | holds |
//! |---|---|
//! | [`control`] | what its agent tells and is told |
//! | [`forwards`] | which forwards it is granted |
//! | [`carrier`] | the streams to it |
//! | [`signs`] | whether it still answers |
//! | [`ending`] | its end |

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use moorline_protocol::control::{Hello, ToAgent};
use russh::server::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Shared;
use super::socket::Life;
use crate::registry::model::{Device, DeviceId, PublicKey};
use crate::tunnels::Hold;

mod carrier;
mod control;
mod ending;
mod forwards;
mod signs;

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
        info!(device = %link.name, generation, client = link.client, "device connected");
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

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
