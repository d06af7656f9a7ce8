//! A fleet that comes back when its server was killed, and a tunnel that takes over another one.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::TestServer;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::idle::{Login, connect, random};

/// Longest wait until all agents are there.
const LONGEST: Duration = Duration::from_secs(90);
/// How long the server stays away.
const AWAY: Duration = Duration::from_secs(2);
/// Longest login; an agent would give up about then.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
/// How agents wait between attempts, as theirs do: the first few losses quickly, then longer, at random.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const QUICK_WAIT: Duration = Duration::from_millis(1500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const QUICK_LOSSES: usize = 4;

/// Where agents come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// All of them from behind one NAT.
    OneAddress,
    /// Each from an address of its own.
    Everywhere,
}

/// How a fleet came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Return {
    /// Half of the agents were back, in milliseconds after the start of the server.
    pub(crate) half_ms: f64,
    /// All of them were.
    pub(crate) all_ms: f64,
    /// Logins that were begun and came to nothing meanwhile.
    pub(crate) failed: usize,
}

#[derive(Debug, Default)]
struct Shared {
    up: AtomicUsize,
    failed: AtomicUsize,
    ups: Mutex<Vec<Instant>>,
}

/// Lets the agents of `logins` come up, kills the server with -9, starts it two seconds later, and waits until all of
/// them are back.
pub(crate) fn comes_back(
    server: &mut TestServer,
    logins: Vec<Login>,
    source: Source,
) -> Result<Return> {
    let count = logins.len();
    let port = server.ssh_port();
    let shared = Arc::new(Shared::default());
    let runtime = Runtime::new()?;
    let mut agents = JoinSet::new();
    for (number, login) in (1_u32..).zip(logins) {
        let login = match source {
            Source::OneAddress => login,
            // Of 127.1.0.0/16.
            Source::Everywhere => login.from(Ipv4Addr::from_bits(0x7f01_0000 + number)),
        };
        agents.spawn_on(live(port, login, shared.clone()), runtime.handle());
    }
    wait_all(&shared, count)?;
    server.kill();
    std::thread::sleep(AWAY);
    // What was lost while they came up or were cut is not what is measured.
    ensure!(
        shared.up.load(Ordering::SeqCst) == 0,
        "an agent did not notice the kill"
    );
    shared.failed.store(0, Ordering::SeqCst);
    lock(&shared.ups).clear();
    let start = Instant::now();
    server.launch();
    wait_all(&shared, count)?;
    let failed = shared.failed.load(Ordering::SeqCst);
    let mut ups = lock(&shared.ups).clone();
    ups.sort();
    let millis = |at: Option<&Instant>| {
        at.map_or(f64::NAN, |at| {
            at.saturating_duration_since(start).as_secs_f64() * 1e3
        })
    };
    Ok(Return {
        half_ms: millis(ups.get(count / 2)),
        all_ms: millis(ups.last()),
        failed,
    })
}

fn wait_all(shared: &Shared, count: usize) -> Result<()> {
    let start = Instant::now();
    while shared.up.load(Ordering::SeqCst) < count {
        let up = shared.up.load(Ordering::SeqCst);
        ensure!(
            start.elapsed() < LONGEST,
            "{up} of {count} agents after {LONGEST:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// One agent: it comes up, stays until its tunnel is lost, and comes again.
async fn live(port: u16, login: Login, shared: Arc<Shared>) {
    let mut losses = 0;
    let mut last = SHORTEST_WAIT;
    loop {
        match tokio::time::timeout(LOGIN_LIMIT, connect(port, login.clone())).await {
            Ok(Ok(tunnel)) => {
                lock(&shared.ups).push(Instant::now());
                shared.up.fetch_add(1, Ordering::SeqCst);
                tunnel.ended().await;
                shared.up.fetch_sub(1, Ordering::SeqCst);
                (losses, last) = (0, SHORTEST_WAIT);
            }
            Ok(Err(error)) if is_refused(&error) => {}
            Ok(Err(_)) | Err(_) => {
                shared.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
        losses += 1;
        let most = if losses <= QUICK_LOSSES {
            QUICK_WAIT
        } else {
            LONGEST_WAIT
        };
        last = spread(SHORTEST_WAIT, (last * 3).min(most));
        tokio::time::sleep(last).await;
    }
}

/// Nobody listens: the server is away.
fn is_refused(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn spread(from: Duration, to: Duration) -> Duration {
    from + to
        .saturating_sub(from)
        .mul_f64(random() as f64 / u64::MAX as f64)
}

/// Milliseconds from the first packet of a second login of a device to its forward, while the first tunnel is there
/// and nobody has ended it; sorted.
pub(crate) fn takeovers(server: &TestServer, logins: Vec<Login>) -> Result<Vec<f64>> {
    let port = server.ssh_port();
    let runtime = Runtime::new()?;
    runtime.block_on(async move {
        let mut took = Vec::new();
        for login in logins {
            let stale = connect(port, login.clone()).await?;
            let start = Instant::now();
            let newer = connect(port, login).await?;
            took.push(start.elapsed().as_secs_f64() * 1e3);
            drop((stale, newer));
        }
        took.sort_by(f64::total_cmp);
        Ok(took)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
