use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Beside;
use crate::service::{BULK, MESSAGE};

/// Length of one throughput measurement.
const COPY_TIME: Duration = Duration::from_millis(1500);
/// Before it: until the streams run at full speed.
const WARM_UP: Duration = Duration::from_millis(300);
/// Length of one latency or connection measurement.
const ASK_TIME: Duration = Duration::from_millis(1500);
/// Connections made at the same time.
const AT_ONCE: usize = 8;

pub(crate) fn visit(port: u16) -> std::io::Result<TcpStream> {
    let visitor = TcpStream::connect(("127.0.0.1", port))?;
    visitor.set_nodelay(true)?;
    visitor.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(visitor)
}

/// One request and its response.
pub(crate) fn ask(visitor: &mut TcpStream) -> std::io::Result<()> {
    let mut message = [b'e'; MESSAGE];
    visitor.write_all(&message)?;
    visitor.read_exact(&mut message)
}

/// Megabytes a second from the device to `streams` visitors together.
pub(crate) fn throughput(port: u16, streams: usize) -> f64 {
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..streams {
            scope.spawn(|| copy(port, &bytes, &stop));
        }
        std::thread::sleep(WARM_UP);
        let (before, started) = (bytes.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(COPY_TIME);
        let copied = bytes.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        copied as f64 / 1e6 / started.elapsed().as_secs_f64()
    })
}

fn copy(port: u16, bytes: &AtomicU64, stop: &AtomicBool) {
    let mut visitor = visit(port).unwrap();
    visitor.write_all(&[BULK; MESSAGE]).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    while !stop.load(Ordering::Relaxed) {
        let count = visitor.read(&mut buffer).unwrap();
        bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
    visitor.shutdown(Shutdown::Both).ok();
}

fn samples(port: u16, beside: Beside) -> Vec<Duration> {
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        if beside == Beside::Copy {
            scope.spawn(|| copy(port, &bytes, &stop));
            std::thread::sleep(WARM_UP);
        }
        let mut visitor = visit(port).unwrap();
        ask(&mut visitor).unwrap();
        let mut taken = Vec::new();
        let end = Instant::now() + ASK_TIME;
        while Instant::now() < end {
            let asked = Instant::now();
            ask(&mut visitor).unwrap();
            taken.push(asked.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        taken.sort();
        taken
    })
}

/// Median microseconds from a request to its response.
pub(crate) fn latency(port: u16, beside: Beside) -> f64 {
    let samples = samples(port, beside);
    samples[samples.len() / 2].as_secs_f64() * 1e6
}

/// 99th percentile beside a bulk copy, in microseconds.
pub(crate) fn worst_latency(port: u16) -> f64 {
    let samples = samples(port, Beside::Copy);
    samples[samples.len() * 99 / 100].as_secs_f64() * 1e6
}

/// New connections a second, each with one request and its response.
pub(crate) fn connections(port: u16) -> f64 {
    let made = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while started.elapsed() < ASK_TIME {
                    let asked = visit(port).and_then(|mut visitor| ask(&mut visitor));
                    if asked.is_ok() {
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    made.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}
