use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Bytes of one request and of its reply.
pub(crate) const REQUEST_BYTES: usize = 64;
/// Bytes written or read at once in a bulk copy.
pub(crate) const BULK_BYTES: usize = 128 * 1024;
/// Longest wait for the connections of an earlier measurement to be gone.
const QUIET_LIMIT: Duration = Duration::from_secs(5);

/// What a visitor wants of the service, told by its first byte.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Wish {
    /// Send me bytes until I go.
    Download = b'D',
    /// Take my bytes until I go.
    Upload = b'U',
    /// Send every request of [`REQUEST_BYTES`] back.
    Echo = b'E',
}

/// The program on the device that visitors want to reach. Every peer leads to this one.
#[derive(Debug)]
pub(crate) struct Service {
    port: u16,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    open: AtomicUsize,
}

impl Service {
    /// Starts it on a free port of loopback; it ends with the process.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for the service")?;
        let port = listener.local_addr()?.port();
        let counters = Arc::new(Counters::default());
        let shared = counters.clone();
        std::thread::spawn(move || {
            for visitor in listener.incoming().flatten() {
                let counters = shared.clone();
                counters.open.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    // A visitor that goes away in the middle is how every bulk copy ends.
                    serve(visitor, &counters).unwrap_or_default();
                    counters.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { port, counters })
    }

    /// Its port on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Bytes of uploads that have arrived so far.
    pub(crate) fn received(&self) -> u64 {
        self.counters.received.load(Ordering::Relaxed)
    }

    /// Waits until the connections of the last measurement are gone, so that they do not weigh on the next.
    pub(crate) fn wait_quiet(&self) {
        let end = Instant::now() + QUIET_LIMIT;
        while self.counters.open.load(Ordering::Relaxed) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn serve(mut visitor: TcpStream, counters: &Counters) -> std::io::Result<()> {
    visitor.set_nodelay(true)?;
    let mut wish = [0];
    visitor.read_exact(&mut wish)?;
    match wish {
        [b'D'] => {
            let block = vec![0x5a; BULK_BYTES];
            loop {
                visitor.write_all(&block)?;
            }
        }
        [b'U'] => {
            let mut block = vec![0; BULK_BYTES];
            loop {
                match visitor.read(&mut block)? {
                    0 => return Ok(()),
                    bytes => counters.received.fetch_add(bytes as u64, Ordering::Relaxed),
                };
            }
        }
        [b'E'] => {
            let mut request = [0; REQUEST_BYTES];
            loop {
                visitor.read_exact(&mut request)?;
                visitor.write_all(&request)?;
            }
        }
        // The agent looks whether an sshd is here.
        _ => Ok(()),
    }
}
