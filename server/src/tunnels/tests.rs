use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::registry::model::ForwardId;

/// Notes what is done to it; opens streams whose far end is dropped at once.
#[derive(Default)]
struct Recorder {
    cuts: Mutex<Vec<Cut>>,
}

impl Carrier for Arc<Recorder> {
    fn open(
        &self,
        _forward: OpenForward,
        _originator: SocketAddr,
    ) -> BoxFuture<'static, Result<Stream, OpenError>> {
        async { Ok(stream::stream(1).0) }.boxed()
    }

    fn cut(&self, cut: Cut) {
        self.cuts.lock().unwrap().push(cut);
    }

    fn wanted_open(&self) {}

    fn come_back_in(&self, _pause: Duration) {}

    fn set_allow_clientless(&self, _allow: bool) {}

    fn pulse(&self) -> Pulse {
        let second = Duration::from_secs(1);
        Pulse {
            silent_for: second,
            keepalive: second * 2,
            round_trip: None,
        }
    }

    fn client(&self) -> String {
        String::new()
    }
}

fn device() -> DeviceId {
    DeviceId(Uuid::from_u128(7))
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7))
}

fn forward(public_port: u16) -> OpenForward {
    OpenForward {
        id: ForwardId(i64::from(public_port)),
        device_port: 22,
        bind_address: String::new(),
        public_port,
        first: true,
    }
}

fn target() -> ForwardTarget {
    ForwardTarget {
        port: TargetPort::First,
        originator: peer(),
        way: Way::RecordedSession,
    }
}

#[tokio::test]
async fn the_newest_tunnel_wins_and_late_events_of_the_old_one_do_nothing() {
    let tunnels = Tunnels::default();
    let (old, new) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let first = tunnels.register(device(), Arc::new(old.clone()), peer(), Hold::Device);
    assert!(tunnels.open_forward(device(), first, forward(10_000)));
    let second = tunnels.register(device(), Arc::new(new.clone()), peer(), Hold::Device);
    assert!(second > first);
    assert_eq!(*old.cuts.lock().unwrap(), [Cut::Displaced]);

    assert!(!tunnels.open_forward(device(), first, forward(10_000)));
    assert!(tunnels.open_forward(device(), second, forward(10_000)));
    tunnels.close_forwards(device(), first, None);
    assert!(!tunnels.unregister(device(), first));
    let status = tunnels.status(device()).unwrap();
    assert!(status.open && status.active);
    assert_eq!(status.generation, second);
    assert!(new.cuts.lock().unwrap().is_empty());
    assert!(tunnels.unregister(device(), second));
    assert_eq!(tunnels.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_just_connected_is_given_a_moment_for_its_forward() {
    let tunnels = Tunnels::default();
    let refused = tunnels.open_stream(device(), &target()).await;
    assert_eq!(refused.unwrap_err(), OpenError::NotConnected);

    let recorder = Arc::new(Recorder::default());
    let generation = tunnels.register(device(), Arc::new(recorder), peer(), Hold::Device);
    let wanted = target();
    let (opened, ()) = tokio::join!(tunnels.open_stream(device(), &wanted), async {
        tokio::task::yield_now().await;
        tunnels.open_forward(device(), generation, forward(10_000));
    });
    assert!(opened.is_ok());

    tunnels.close_forwards(device(), generation, None);
    let refused = tunnels.open_stream(device(), &target()).await;
    assert_eq!(refused.unwrap_err(), OpenError::NoForward);
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_confirmed_when_the_tunnel_is_gone() {
    let tunnels = Tunnels::default();
    assert!(tunnels.cut(device(), Cut::Blocked).await);
    let recorder = Arc::new(Recorder::default());
    let generation = tunnels.register(device(), Arc::new(recorder.clone()), peer(), Hold::Device);
    tunnels.open_forward(device(), generation, forward(10_000));
    assert!(!tunnels.cut(device(), Cut::Blocked).await);
    let (confirmed, ()) = tokio::join!(tunnels.cut(device(), Cut::Closed), async {
        tokio::task::yield_now().await;
        tunnels.close_forwards(device(), generation, None);
    });
    assert!(confirmed);
    assert!(!tunnels.wait_open(device(), Duration::from_secs(1)).await);
    let opening = tunnels.wait_open(device(), Duration::from_secs(1));
    let (open, ()) = tokio::join!(timeout(Duration::from_secs(2), opening), async {
        tokio::task::yield_now().await;
        tunnels.open_forward(device(), generation, forward(10_000));
    });
    assert_eq!(open, Ok(true));
}

#[tokio::test]
async fn tunnels_of_single_sessions_stand_side_by_side_until_one_takes_the_other_s_forward() {
    let tunnels = Tunnels::default();
    let recorders: Vec<_> = (0..3).map(|_| Arc::new(Recorder::default())).collect();
    let [ssh, web, again] = recorders.as_slice() else {
        unreachable!("three were made");
    };
    let join = |recorder: &Arc<Recorder>| {
        tunnels.register(device(), Arc::new(recorder.clone()), peer(), Hold::Sessions)
    };
    let (first, second) = (join(ssh), join(web));
    assert!(tunnels.open_forward(device(), first, forward(10_000)));
    assert!(tunnels.open_forward(device(), second, forward(10_001)));
    let mut open = tunnels.open_forwards();
    open.sort_by_key(|(_, forward)| forward.0);
    let ids = [10_000, 10_001].map(|id| (device(), ForwardId(id)));
    assert_eq!(open, ids);

    let third = join(again);
    assert!(tunnels.open_forward(device(), third, forward(10_000)));
    assert_eq!(*ssh.cuts.lock().unwrap(), [Cut::Displaced]);
    assert!(web.cuts.lock().unwrap().is_empty());
    assert!(!tunnels.open_forward(device(), first, forward(10_000)));
    assert!(!tunnels.unregister(device(), first));
    assert!(!tunnels.unregister(device(), second));
    assert!(tunnels.unregister(device(), third));
    assert_eq!(tunnels.count(), 0);
}

#[tokio::test]
async fn of_too_many_tunnels_the_oldest_without_a_forward_goes() {
    let tunnels = Tunnels::default();
    let recorders: Vec<_> = (0..=MAX_TUNNELS)
        .map(|_| Arc::new(Recorder::default()))
        .collect();
    for (index, recorder) in recorders.iter().enumerate() {
        let carrier = Arc::new(recorder.clone());
        let generation = tunnels.register(device(), carrier, peer(), Hold::Sessions);
        if index == 0 {
            assert!(tunnels.open_forward(device(), generation, forward(10_000)));
        }
    }
    let cut: Vec<_> = recorders
        .iter()
        .map(|recorder| !recorder.cuts.lock().unwrap().is_empty())
        .collect();
    let expected: Vec<_> = (0..=MAX_TUNNELS).map(|index| index == 1).collect();
    assert_eq!(cut, expected, "the second, since the first has a forward");
    assert_eq!(tunnels.open_forwards().len(), 1);
}

#[tokio::test]
async fn a_removed_forward_ends_the_tunnel_of_its_session_and_no_other() {
    let tunnels = Tunnels::default();
    let (agent, client) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let whole = tunnels.register(device(), Arc::new(agent.clone()), peer(), Hold::Device);
    tunnels.open_forward(device(), whole, forward(10_000));
    tunnels.open_forward(device(), whole, forward(10_001));
    let single = tunnels.register(device(), Arc::new(client.clone()), peer(), Hold::Sessions);
    tunnels.open_forward(device(), single, forward(10_002));
    let ended = |id| tunnels.end_removed(device(), ForwardId(id), Cut::Killed);
    assert!(ended(10_001).await);
    assert!(agent.cuts.lock().unwrap().is_empty());
    let (_, ()) = tokio::join!(ended(10_002), async {
        tokio::task::yield_now().await;
        tunnels.unregister(device(), single);
    });
    assert_eq!(*client.cuts.lock().unwrap(), [Cut::Killed]);
    assert!(agent.cuts.lock().unwrap().is_empty());
}
