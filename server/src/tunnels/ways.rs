//! Which ways to a device are open: a recording that is demanded closes every one that passes it by.
//!
//! The decision is [`Way::may_pass`], and [`super::Tunnels::open_stream`] asks it for every stream, so that no way in
//! can go without. What is demanded is known here for connected devices; [`crate::presence::learn_recordings`] looks
//! it up.
//!
//! *Invariant:* of a connected device nobody has looked up yet, recordings are taken to be demanded.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::OpenError;
use super::stream::{Stream, StreamEnd};
use crate::registry::model::DeviceId;

/// Time between two events about refusals of one way to one device: visitors of a public port may be many.
const TELL_INTERVAL: Duration = Duration::from_secs(3600);
/// Pairs of device and way whose refusals are counted; those beyond are refused all the same.
const MAX_COUNTED: usize = 10_000;
/// Streams of a device, over and done, that may be kept in mind before they are swept out.
const FIRST_SWEEP: usize = 64;

/// How somebody comes to a device. Whoever opens a stream says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// A session through the gateway that is recorded.
    RecordedSession,
    /// A session through the gateway that is not.
    Session,
    /// A person's `direct-tcpip`: `ssh -J`, `ssh -L`, or from a user's host.
    DirectTcpip,
    /// A visitor of a public port, with or without a link.
    PublicPort,
    /// Another device of the account (openport contract section 10).
    ForwardTunnel,
    /// A visitor of an HTTP name; connections may be upgraded to anything.
    HttpName,
    /// The desktop of a host, in a browser.
    Desktop,
}

/// Whether sessions on a device have to be recorded: it or the host that it is says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// They have to.
    Demanded,
    /// They need not.
    NotDemanded,
}

impl Recording {
    /// By what a policy says.
    #[must_use]
    pub const fn by(required: bool) -> Self {
        if required {
            Self::Demanded
        } else {
            Self::NotDemanded
        }
    }
}

impl Way {
    /// For logs and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RecordedSession => "recorded session",
            Self::Session => "session",
            Self::DirectTcpip => "direct-tcpip",
            Self::PublicPort => "public port",
            Self::ForwardTunnel => "forward tunnel",
            Self::HttpName => "HTTP name",
            Self::Desktop => "desktop",
        }
    }

    /// Whether this way is open: where a recording is demanded, only what is recorded passes.
    ///
    /// # Errors
    /// [`OpenError::RecordingDemanded`].
    pub const fn may_pass(self, recording: Recording) -> Result<(), OpenError> {
        match (self, recording) {
            (Self::RecordedSession, _) | (_, Recording::NotDemanded) => Ok(()),
            (
                Self::Session
                | Self::DirectTcpip
                | Self::PublicPort
                | Self::ForwardTunnel
                | Self::HttpName
                | Self::Desktop,
                Recording::Demanded,
            ) => Err(OpenError::RecordingDemanded),
        }
    }
}

/// A look at what the registry demands: of two that overlap the one that began later counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Look(u64);

/// How often a way to a device was refused since that was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// The device.
    pub device: DeviceId,
    /// The way.
    pub way: Way,
    /// How often.
    pub times: u64,
}

/// The ways to the connected devices.
#[derive(Default)]
pub(super) struct Ways(Mutex<Table>);

#[derive(Default)]
struct Table {
    devices: HashMap<DeviceId, State>,
    refused: HashMap<(DeviceId, Way), Counted>,
    last_look: u64,
}

struct State {
    recording: Recording,
    look: Look,
    /// Streams that pass recordings by.
    streams: Vec<StreamEnd>,
    sweep_at: usize,
}

#[derive(Default)]
struct Counted {
    times: u64,
    told: Option<Instant>,
}

impl Ways {
    /// The device is connected. Nothing changes when it already was.
    pub(super) fn connected(&self, device: DeviceId) {
        self.table().devices.entry(device).or_insert(State {
            recording: Recording::Demanded,
            look: Look(0),
            streams: Vec::new(),
            sweep_at: FIRST_SWEEP,
        });
    }

    /// The device has no tunnel left.
    pub(super) fn disconnected(&self, device: DeviceId) {
        self.table().devices.remove(&device);
    }

    pub(super) fn begin_look(&self) -> Look {
        let mut table = self.table();
        table.last_look += 1;
        Look(table.last_look)
    }

    /// Notes what a look found for `devices`, and ends what may not go on.
    pub(super) fn learned(&self, look: Look, devices: &[DeviceId], demanded: &HashSet<DeviceId>) {
        for device in devices {
            let recording = Recording::by(demanded.contains(device));
            let ended = {
                let mut table = self.table();
                let Some(state) = table.devices.get_mut(device) else {
                    continue;
                };
                if state.look > look {
                    continue;
                }
                state.look = look;
                state.recording = recording;
                match recording {
                    Recording::Demanded => std::mem::take(&mut state.streams),
                    Recording::NotDemanded => Vec::new(),
                }
            };
            let ended = ended.iter().filter(|stream| stream.cut()).count();
            if ended > 0 {
                info!(%device, ended, "streams ended: recording is demanded now");
            }
        }
    }

    pub(super) fn recording(&self, device: DeviceId) -> Option<Recording> {
        let table = self.table();
        table.devices.get(&device).map(|state| state.recording)
    }

    /// Whether a stream may be opened that way.
    pub(super) fn judge(&self, device: DeviceId, way: Way) -> Result<(), OpenError> {
        let mut table = self.table();
        let state = table.devices.get(&device).ok_or(OpenError::NotConnected)?;
        let judged = way.may_pass(state.recording);
        if judged.is_err() {
            table.count(device, way);
        }
        judged
    }

    /// Judges once more, now that the stream is open, and keeps it in mind for when the answer changes.
    pub(super) fn admit(
        &self,
        device: DeviceId,
        way: Way,
        stream: &Stream,
    ) -> Result<(), OpenError> {
        let mut table = self.table();
        let state = table.devices.get_mut(&device).ok_or(OpenError::Ended)?;
        if let Err(refused) = way.may_pass(state.recording) {
            table.count(device, way);
            return Err(refused);
        }
        if way.may_pass(Recording::Demanded).is_ok() {
            return Ok(());
        }
        if state.streams.len() >= state.sweep_at {
            state.streams.retain(|stream| !stream.is_over());
            state.sweep_at = FIRST_SWEEP.max(2 * state.streams.len());
        }
        state.streams.push(stream.end());
        Ok(())
    }

    /// What has to be told now: the first refusal at once, later ones together.
    pub(super) fn take_refusals(&self, now: Instant) -> Vec<Refusals> {
        let mut taken = Vec::new();
        self.table().refused.retain(|(device, way), counted| {
            if counted.told.is_some_and(|told| now < told + TELL_INTERVAL) {
                return true;
            }
            let times = std::mem::take(&mut counted.times);
            if times > 0 {
                counted.told = Some(now);
                taken.push(Refusals {
                    device: *device,
                    way: *way,
                    times,
                });
            }
            times > 0
        });
        taken
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count(&mut self, device: DeviceId, way: Way) {
        let full = self.refused.len() >= MAX_COUNTED;
        if full && !self.refused.contains_key(&(device, way)) {
            return;
        }
        self.refused.entry((device, way)).or_default().times += 1;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::stream::stream;
    use super::*;

    const EVERY_WAY: [Way; 7] = [
        Way::RecordedSession,
        Way::Session,
        Way::DirectTcpip,
        Way::PublicPort,
        Way::ForwardTunnel,
        Way::HttpName,
        Way::Desktop,
    ];

    fn device() -> DeviceId {
        DeviceId(Uuid::from_u128(7))
    }

    fn learn(ways: &Ways, look: Look, recording: Recording) {
        let demanded = match recording {
            Recording::Demanded => HashSet::from([device()]),
            Recording::NotDemanded => HashSet::new(),
        };
        ways.learned(look, &[device()], &demanded);
    }

    #[test]
    fn a_demanded_recording_leaves_one_way_open() {
        let open = |recording| EVERY_WAY.map(|way| way.may_pass(recording).is_ok());
        assert_eq!(open(Recording::NotDemanded), [true; 7]);
        let mut only_recorded = [false; 7];
        only_recorded[0] = true;
        assert_eq!(open(Recording::Demanded), only_recorded);
    }

    #[tokio::test]
    async fn what_is_demanded_ends_what_passes_it_by_and_nothing_else() {
        let ways = Ways::default();
        let refused = ways.judge(device(), Way::PublicPort);
        assert_eq!(refused, Err(OpenError::NotConnected));
        ways.connected(device());
        let refused = ways.judge(device(), Way::PublicPort);
        assert_eq!(refused, Err(OpenError::RecordingDemanded));

        learn(&ways, ways.begin_look(), Recording::NotDemanded);
        let (by_port, mut port_end) = stream(1024);
        let (recorded, mut recorded_end) = stream(1024);
        let (opening, _opening_end) = stream(1024);
        ways.admit(device(), Way::PublicPort, &by_port).unwrap();
        ways.admit(device(), Way::RecordedSession, &recorded)
            .unwrap();
        learn(&ways, ways.begin_look(), Recording::Demanded);
        assert!(port_end.cut.is_cancelled() && !recorded_end.cut.is_cancelled());
        let late = ways.admit(device(), Way::HttpName, &opening);
        assert_eq!(late, Err(OpenError::RecordingDemanded));
        // A new tunnel of a device that is there changes nothing.
        ways.connected(device());
        assert_eq!(ways.recording(device()), Some(Recording::Demanded));

        learn(&ways, ways.begin_look(), Recording::NotDemanded);
        ways.connected(device());
        ways.admit(device(), Way::HttpName, &opening).unwrap();
        ways.disconnected(device());
        assert_eq!(ways.recording(device()), None);
        drop((by_port, recorded));
        assert!(port_end.outbound.recv().await.is_none());
        assert!(recorded_end.outbound.recv().await.is_none());
    }

    #[test]
    fn the_look_that_began_later_counts() {
        let ways = Ways::default();
        ways.connected(device());
        let (slow, quick) = (ways.begin_look(), ways.begin_look());
        learn(&ways, quick, Recording::Demanded);
        learn(&ways, slow, Recording::NotDemanded);
        assert_eq!(ways.recording(device()), Some(Recording::Demanded));
    }

    #[test]
    fn streams_that_are_over_are_not_kept_in_mind() {
        let ways = Ways::default();
        ways.connected(device());
        learn(&ways, ways.begin_look(), Recording::NotDemanded);
        for _ in 0..10 * FIRST_SWEEP {
            let (stream, _end) = stream(1);
            ways.admit(device(), Way::PublicPort, &stream).unwrap();
        }
        assert!(ways.table().devices[&device()].streams.len() <= FIRST_SWEEP);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_told_at_once_and_then_hourly_together() {
        let ways = Ways::default();
        ways.connected(device());
        let refuse = |times: u64| {
            for _ in 0..times {
                ways.judge(device(), Way::PublicPort).unwrap_err();
            }
        };
        let told = || -> Vec<u64> {
            let taken = ways.take_refusals(Instant::now());
            taken.iter().map(|refusals| refusals.times).collect()
        };
        refuse(2);
        assert_eq!(told(), [2]);
        refuse(3);
        assert_eq!(told(), [0_u64; 0]);
        tokio::time::advance(TELL_INTERVAL).await;
        assert_eq!(told(), [3]);
        tokio::time::advance(TELL_INTERVAL).await;
        assert_eq!(told(), [0_u64; 0]);
        assert!(ways.table().refused.is_empty());
    }
}
