//! The web server on the device: small pages, large bodies, one thread a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;

/// Length of a large body, in bytes.
pub(crate) const BIG_BYTES: usize = 64_000_000;
/// Bytes written or read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// It runs until the program ends.
#[derive(Debug)]
pub(crate) struct Web {
    port: u16,
}

impl Web {
    /// On a free port.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream).unwrap_or_default());
            }
        });
        Ok(Self { port })
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

/// `GET /big` gives a large body, a request with a body its length, anything else a small page.
fn serve(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(BLOCK_BYTES, stream.try_clone()?);
    let mut writer = stream;
    let block = vec![0x5a; BLOCK_BYTES];
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut left: usize = length.unwrap_or(0);
        let mut sink = vec![0; BLOCK_BYTES];
        while left > 0 {
            let wanted = left.min(sink.len());
            let read = reader.read(sink.get_mut(..wanted).unwrap_or_default())?;
            if read == 0 {
                return Ok(());
            }
            left -= read;
        }
        if head.starts_with("GET /big ") {
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Length: {BIG_BYTES}\r\n\r\n"
            )?;
            let mut left = BIG_BYTES;
            while left > 0 {
                let piece = block.get(..left.min(block.len())).unwrap_or_default();
                writer.write_all(piece)?;
                left -= piece.len();
            }
        } else {
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nhello, world\n")?;
        }
    }
}
