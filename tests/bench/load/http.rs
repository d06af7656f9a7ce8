use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::peers::Door;
use crate::web::BIG_BYTES;

/// Visitors that ask at once.
const VISITORS: usize = 8;
/// Longest wait for a server.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read or written at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Bytes in a megabyte as networks count them.
const MEGABYTE: f64 = 1e6;

/// One visitor's connection.
struct Visitor {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    host: String,
}

impl Visitor {
    fn connect(door: &Door) -> Result<Self> {
        let writer = TcpStream::connect(("127.0.0.1", door.port))?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::with_capacity(BLOCK_BYTES, writer.try_clone()?),
            writer,
            host: door.host.clone(),
        })
    }

    /// Asks for `path` and gives the length of the body, which is still to be read.
    fn ask(&mut self, path: &str) -> Result<usize> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.writer.write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<usize> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.reader.read_line(&mut head)?;
            ensure!(read > 0, "the connection was closed");
        }
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        length.context("no length in the answer")
    }

    fn body(&mut self, mut left: usize) -> Result<()> {
        while left > 0 {
            let held = self.reader.fill_buf()?.len();
            ensure!(held > 0, "the body broke off");
            let taken = held.min(left);
            self.reader.consume(taken);
            left -= taken;
        }
        Ok(())
    }
}

/// Small requests a second, one after the other on each of eight connections.
pub(crate) fn requests(door: &Door, window: Duration) -> Result<f64> {
    let (answered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ask = || -> Result<()> {
            let mut visitor = Visitor::connect(door)?;
            while !over.load(Ordering::Relaxed) {
                let length = visitor.ask("/small")?;
                visitor.body(length)?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let visitors: Vec<_> = (0..VISITORS).map(|_| scope.spawn(ask)).collect();
        // Connections are made before answers count.
        std::thread::sleep(window / 4);
        let (before, start) = (answered.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(window);
        let (after, took) = (answered.load(Ordering::Relaxed), start.elapsed());
        over.store(true, Ordering::Relaxed);
        for visitor in visitors {
            visitor
                .join()
                .map_err(|_| anyhow::anyhow!("a visitor panicked"))??;
        }
        Ok((after - before) as f64 / took.as_secs_f64())
    })
}

/// Megabytes a second of one body of 64 MB to a visitor.
pub(crate) fn download(door: &Door) -> Result<f64> {
    let mut visitor = Visitor::connect(door)?;
    let start = Instant::now();
    let length = visitor.ask("/big")?;
    ensure!(length == BIG_BYTES, "another length: {length}");
    visitor.body(length)?;
    Ok(BIG_BYTES as f64 / start.elapsed().as_secs_f64() / MEGABYTE)
}

/// Megabytes a second of one body of 64 MB from a visitor.
pub(crate) fn upload(door: &Door) -> Result<f64> {
    let mut visitor = Visitor::connect(door)?;
    let start = Instant::now();
    write!(
        visitor.writer,
        "PUT /up HTTP/1.1\r\nHost: {}\r\nContent-Length: {BIG_BYTES}\r\n\r\n",
        visitor.host
    )?;
    let mut source = std::io::repeat(0x5a).take(BIG_BYTES as u64);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = source.read(&mut block)?;
        if read == 0 {
            break;
        }
        visitor
            .writer
            .write_all(block.get(..read).unwrap_or_default())?;
    }
    let length = visitor.answer()?;
    visitor.body(length)?;
    Ok(BIG_BYTES as f64 / start.elapsed().as_secs_f64() / MEGABYTE)
}
