//! What carries the streams of a device, and what may be asked of it.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;

use super::stream::Stream;
use super::ways::Way;
use crate::registry::model::ForwardId;

/// Which port of the device a stream shall lead to, and who asks.
#[derive(Clone, Debug)]
pub struct ForwardTarget {
    /// The port.
    pub port: TargetPort,
    /// Shown to the device as the originator (RFC 4254 section 7.2).
    pub originator: SocketAddr,
    /// How they come.
    pub way: Way,
}

/// A port of a device, by what the caller knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// That of the first forward: the device's sshd.
    First,
    /// This port on the device.
    Device(u16),
    /// That of this forward.
    Forward(ForwardId),
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// No tunnel.
    #[error("device is not connected")]
    NotConnected,
    /// A tunnel without such a forward.
    #[error("device has no open forward for that port")]
    NoForward,
    /// The device said no: its port is closed, most likely.
    #[error("device refused the connection to its port {0}")]
    Refused(u16),
    /// The device did not answer within `OPEN_TIMEOUT`.
    #[error("device did not answer in time")]
    TimedOut,
    /// The tunnel ended meanwhile.
    #[error("tunnel ended")]
    Ended,
    /// The way is closed: sessions have to be recorded, and this is none, or none that is recorded.
    #[error("recording is required for this device")]
    RecordingDemanded,
}

/// Why a tunnel is ended by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The device was deleted.
    Deleted,
    /// It was blocked.
    Blocked,
    /// It was taken out of service, or its account suspended.
    Inactive,
    /// It has another key now.
    Rekeyed,
    /// An operator wants its forwards closed; an agent stays in touch.
    Closed,
    /// A newer tunnel of the same device.
    Displaced,
    /// It stopped answering.
    TimedOut,
    /// Its session was killed.
    Killed,
    /// Its forwards have other public ports now; an agent is told to ask for them.
    Renewed,
    /// The server goes down.
    Drained,
}

impl Cut {
    /// For logs, for the record of the device and for the device itself.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Blocked => "blocked",
            Self::Inactive => "inactive",
            Self::Rekeyed => "key replaced",
            Self::Closed => "closed by the operator",
            Self::Displaced => "displaced",
            Self::TimedOut => "timed out",
            Self::Killed => "session killed",
            Self::Renewed => "forwards changed",
            Self::Drained => "server went down",
        }
    }
}

/// What carries the streams of one device: one connection of it.
pub trait Carrier: Send + Sync {
    /// Opens a stream to the device port of `forward`.
    fn open(
        &self,
        forward: OpenForward,
        originator: SocketAddr,
    ) -> BoxFuture<'static, Result<Stream, OpenError>>;
    /// Begins to end the connection, or for [`Cut::Closed`] to close its forwards.
    fn cut(&self, cut: Cut);
    /// Tells the device that its forwards are wanted again.
    fn wanted_open(&self);
    /// Forwards of the device were added or taken away in the registry: gives up those that are gone, and tells a
    /// device that can be told.
    fn forwards_changed(&self) {}
    /// Tells the device when to reconnect after an end that is near.
    fn come_back_in(&self, pause: Duration);
    /// Whether the tunnel is kept when the device stops answering.
    fn set_allow_clientless(&self, allow: bool);
    /// When the device last gave a sign of life, how long it may be silent, and the last round trip.
    fn pulse(&self) -> Pulse;
    /// What holds the tunnel: our agent with its version, or the SSH version text of another client.
    fn client(&self) -> String;
}

/// Signs of life of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// Since the device last gave a sign of life.
    pub silent_for: Duration,
    /// How long it may be silent and still counts as answering.
    pub keepalive: Duration,
    /// Last echo there and back.
    pub round_trip: Option<Duration>,
}

/// A forward that the device asked for and was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenForward {
    /// Its number.
    pub id: ForwardId,
    /// Port on the device.
    pub device_port: u16,
    /// Address text of the request; repeated to the device.
    pub bind_address: String,
    /// Public port.
    pub public_port: u16,
    /// The first forward of the device leads to its sshd.
    pub first: bool,
}
