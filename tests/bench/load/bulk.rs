use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::visit;
use crate::service::{BULK_BYTES, Service, Wish};

/// Time for windows to open before bytes count.
const WARM_UP: Duration = Duration::from_millis(250);
/// Bytes in a megabyte as networks count them.
const MEGABYTE: f64 = 1e6;

/// Copies that go on until the handle is dropped.
#[derive(Debug)]
pub(crate) struct Copies {
    visitors: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
    arrived: Arc<AtomicU64>,
}

impl Copies {
    /// Starts `streams` downloads through `port` and waits until bytes flow.
    pub(crate) fn download(port: u16, streams: usize) -> Result<Self> {
        let copies = Self::start(port, streams, Wish::Download)?;
        std::thread::sleep(WARM_UP);
        ensure!(copies.arrived() > 0, "no byte came within {WARM_UP:?}");
        Ok(copies)
    }

    fn start(port: u16, streams: usize, wish: Wish) -> Result<Self> {
        let mut copies = Self {
            visitors: Vec::new(),
            threads: Vec::new(),
            arrived: Arc::default(),
        };
        for _ in 0..streams {
            let visitor = visit(port, wish)?;
            copies.visitors.push(visitor.try_clone()?);
            let arrived = copies.arrived.clone();
            copies.threads.push(std::thread::spawn(move || match wish {
                Wish::Upload => push(visitor),
                Wish::Download | Wish::Echo => pull(visitor, &arrived),
            }));
        }
        Ok(copies)
    }

    fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for visitor in &self.visitors {
            // One that the other side has closed already is as good.
            visitor.shutdown(Shutdown::Both).unwrap_or_default();
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_default();
        }
    }
}

fn pull(mut visitor: TcpStream, arrived: &AtomicU64) {
    let mut block = vec![0; BULK_BYTES];
    while let Ok(bytes @ 1..) = visitor.read(&mut block) {
        arrived.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn push(mut visitor: TcpStream) {
    let block = vec![0x5a; BULK_BYTES];
    while visitor.write_all(&block).is_ok() {}
}

/// Megabytes a second from the service to `streams` visitors.
pub(crate) fn download(port: u16, streams: usize, window: Duration) -> Result<f64> {
    let copies = Copies::download(port, streams)?;
    rate(window, || copies.arrived())
}

/// Megabytes a second from one visitor to the service.
pub(crate) fn upload(service: &Service, port: u16, window: Duration) -> Result<f64> {
    let copies = Copies::start(port, 1, Wish::Upload)?;
    std::thread::sleep(WARM_UP);
    let measured = rate(window, || service.received()).context("upload");
    drop(copies);
    measured
}

fn rate(window: Duration, arrived: impl Fn() -> u64) -> Result<f64> {
    let (before, start) = (arrived(), Instant::now());
    std::thread::sleep(window);
    let (after, took) = (arrived(), start.elapsed());
    ensure!(after > before, "no byte came within {window:?}");
    Ok((after - before) as f64 / took.as_secs_f64() / MEGABYTE)
}
