//! Who reached what, when, from where, and which way: noted when it begins and when it ends, recorded where that is
//! demanded.
//!
//! *Invariant:* nothing is served that could not be noted.

use tracing::warn;
use uuid::Uuid;

use super::super::Shared;
use super::OperatorLogin;
use super::reach::{NO_ANSWER, Target};
use crate::gateway::tap::Tap;
use crate::live_sessions::{Hold, LiveSession};
use crate::recording::{Recorder, Recordings, Title};
use crate::registry::model::{NewEvent, OperatorSession, SessionEnd, Timestamp};
use crate::tunnels::Recording;

/// Which way somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum WayIn {
    /// By the name of a device.
    Gateway,
    /// `ssh -J`, to the device's sshd.
    Jump,
    /// `direct-tcpip` to a port.
    DirectTcpip,
    /// By the short id of a host.
    Proxy,
}

impl WayIn {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Jump => "jump",
            Self::DirectTcpip => "direct-tcpip",
            Self::Proxy => "proxy",
        }
    }

    /// What the events are called.
    const fn events(self) -> (&'static str, &'static str) {
        match self {
            Self::Gateway | Self::Proxy => ("device.session.opened", "device.session.closed"),
            Self::Jump | Self::DirectTcpip => ("device.jump.opened", "device.jump.closed"),
        }
    }

    const fn is_recorded(self) -> bool {
        matches!(self, Self::Gateway | Self::Proxy)
    }
}

/// Something that is under way and noted.
pub(super) struct Audited {
    id: Uuid,
    way: WayIn,
    recorded: bool,
    pub(super) tap: Tap,
    /// Ended when the device may not be reached any more.
    live: LiveSession,
}

impl Audited {
    /// Goes on with `work` until the device may not be reached any more; then tells why.
    pub(super) async fn until_cut(&self, work: impl Future<Output = ()>) -> Option<&'static str> {
        tokio::select! {
            () = work => None,
            reason = self.live.ended() => Some(reason),
        }
    }
}

impl OperatorLogin {
    /// Notes what begins, and begins its recording.
    pub(super) async fn begin(&self, target: &Target, way: WayIn) -> Result<Audited, String> {
        let live = self.hold_on_to(target).await?;
        let id = Uuid::new_v4();
        let now = Timestamp::now();
        let recorded = way.is_recorded() && target.policy.recording_required;
        let recorder = if recorded {
            Some(self.recorder(id, target, now).await?)
        } else {
            None
        };
        let session = OperatorSession {
            id,
            account: target.device.account,
            user: self.user.id,
            username: self.user.username.clone(),
            device: Some(target.device.id),
            host: target.host.as_ref().map(|host| host.id),
            target: target.device.name.clone(),
            way_in: way.as_str().to_owned(),
            node: self.shared.config.node.clone(),
            peer: self.peer.ip().to_canonical().to_string(),
            began_at: now,
            ended_at: None,
            received_bytes: 0,
            sent_bytes: 0,
            ending: None,
            recording_file: recorded.then(|| Recordings::name(id)),
        };
        if let Err(error) = self.shared.registry.begin_session(&session).await {
            warn!(%error, "note session");
            return Err("the session could not be noted".to_owned());
        }
        self.record(target, way.events().0).await;
        let tap = Tap::new(recorder);
        Ok(Audited {
            id,
            way,
            recorded,
            tap,
            live,
        })
    }

    /// Binds what begins to the device as it was found. It may have gone to somebody else since: a device takes its time
    /// to answer.
    async fn hold_on_to(&self, target: &Target) -> Result<LiveSession, String> {
        let Shared { live, registry, .. } = &*self.shared;
        let held = live.register(Hold::on_device(&target.device, &self.user));
        match live.judge(registry, &held).await {
            Ok(None) => Ok(held),
            Ok(Some(reason)) => Err(reason.to_owned()),
            Err(error) => {
                warn!(%error, "look up what is reached once more");
                Err(NO_ANSWER.to_owned())
            }
        }
    }

    async fn recorder(
        &self,
        id: Uuid,
        target: &Target,
        now: Timestamp,
    ) -> Result<Recorder, String> {
        let title = Title {
            began_at: now.unix_seconds(),
            text: format!("{} on {}", self.user.username, target.device.name),
        };
        let begun = self.shared.config.recordings.create(id, title).await;
        begun.map_err(|error| {
            warn!(%error, "begin recording");
            "the session has to be recorded, and cannot be".to_owned()
        })
    }

    /// Notes how it ended.
    pub(super) async fn end(&self, target: &Target, audited: Audited) {
        let whole = audited.tap.finish().await;
        let (received_bytes, sent_bytes) = audited.tap.bytes();
        let cut = self.live.reason().or_else(|| audited.live.reason());
        let ending = match cut {
            Some(reason) => reason,
            None if !whole => "recording could not go on",
            None if self.is_closed_to(target, &audited) => "recording is required now",
            None => "closed",
        };
        let end = SessionEnd {
            ending: ending.to_owned(),
            received_bytes,
            sent_bytes,
        };
        if let Err(error) = self.shared.registry.end_session(audited.id, end).await {
            warn!(%error, "note end of session");
        }
        self.record(target, audited.way.events().1).await;
    }

    /// Whether what goes on unrecorded was ended because recordings are demanded now.
    pub(super) fn is_closed_to(&self, target: &Target, audited: &Audited) -> bool {
        let recording = self.shared.tunnels.recording(target.device.id);
        !audited.recorded && recording == Some(Recording::Demanded)
    }

    async fn record(&self, target: &Target, kind: &'static str) {
        let device = &target.device;
        let event = NewEvent {
            account: Some(device.account),
            device: Some(device.id),
            user: Some(self.user.id),
            host: target.host.as_ref().map(|host| host.id),
            task: None,
            level: "info",
            kind,
            message: format!("{} by {} over SSH", device.name, self.user.username),
            metadata: serde_json::json!({ "peer": self.peer.ip().to_canonical().to_string() }),
        };
        if let Err(error) = self.shared.registry.record_event(event).await {
            warn!(%error, "record session");
        }
    }
}
