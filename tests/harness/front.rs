use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest silence on a connection that is only answered.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest head of a request to a proxy, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What a connection to a [`Front`] meets.
#[derive(Clone, Debug)]
pub enum Way {
    /// The real thing.
    To(SocketAddr),
    /// These words, whatever was asked.
    Answer(&'static str),
    /// An HTTP proxy that leads every host to this address; with credentials, `user:password` in base64, it asks for
    /// them.
    Proxy {
        /// Where it leads.
        to: SocketAddr,
        /// Whom it lets through.
        credentials: Option<&'static str>,
    },
}

/// A port on loopback that can change what stands behind it.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    way: Option<Way>,
    open: Vec<TcpStream>,
    asked: Vec<String>,
}

impl Front {
    /// A free port that leads this way.
    #[must_use]
    pub fn new(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            way: Some(way),
            open: Vec::new(),
            asked: Vec::new(),
        }));
        let mine = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, &mine));
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Leads another way from now on; connections that are open are cut.
    pub fn lead(&self, way: Way) {
        self.change(Some(way));
    }

    fn change(&self, way: Option<Way>) {
        let mut shared = self.shared.lock().unwrap();
        shared.way = way;
        shared.asked.clear();
        for socket in shared.open.drain(..) {
            // It may have ended by itself.
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    /// First line of what each connection asked since the last change of way; what is led through is not listened to.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.shared.lock().unwrap().asked.clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.change(None);
        // Wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Mutex<Shared>>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        let way = {
            let mut held = shared.lock().unwrap();
            let Some(way) = held.way.clone() else { return };
            held.open.push(socket.try_clone().unwrap());
            way
        };
        let shared = Arc::clone(shared);
        // Ends with its connection, which ends with the front.
        std::thread::spawn(move || serve(socket, way, &shared));
    }
}

/// A peer that goes in between ends the connection and nothing else.
fn serve(mut socket: TcpStream, way: Way, shared: &Mutex<Shared>) -> Option<()> {
    match way {
        Way::To(to) => join(&socket, &connect(to, shared)?),
        Way::Answer(words) => {
            socket.set_read_timeout(Some(SILENCE)).ok()?;
            let mut asked = [0; 4096];
            let count = socket.read(&mut asked).ok()?;
            note(&asked[..count], shared);
            socket.write_all(words.as_bytes()).ok()?;
            socket.shutdown(Shutdown::Write).ok()?;
            // Closed with something unread, the answer would be lost on the way.
            while socket.read(&mut asked).ok()? > 0 {}
        }
        Way::Proxy { to, credentials } => {
            let head = read_head(&mut socket)?;
            note(&head, shared);
            let text = String::from_utf8_lossy(&head).into_owned();
            if credentials.is_some_and(|wanted| !text.contains(&format!("Basic {wanted}\r\n"))) {
                let refusal =
                    "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
                return socket.write_all(refusal.as_bytes()).ok();
            }
            let mut server = connect(to, shared)?;
            if text.starts_with("CONNECT ") {
                socket.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").ok()?;
            } else {
                // A server understands what a proxy is asked (RFC 9112 section 3.2.2).
                server.write_all(&head).ok()?;
            }
            join(&socket, &server);
        }
    }
    Some(())
}

fn connect(to: SocketAddr, shared: &Mutex<Shared>) -> Option<TcpStream> {
    let socket = TcpStream::connect(to).ok()?;
    shared.lock().unwrap().open.push(socket.try_clone().ok()?);
    Some(socket)
}

fn note(asked: &[u8], shared: &Mutex<Shared>) {
    let text = String::from_utf8_lossy(asked);
    let first = text.lines().next().unwrap_or_default().to_owned();
    shared.lock().unwrap().asked.push(first);
}

fn read_head(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        let mut byte = [0];
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(head)
}

/// Copies both ways until both have ended.
fn join(one: &TcpStream, other: &TcpStream) {
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pass(one, other));
        pass(other, one);
    });
}
