//! One forwarded stream: between a channel of the tunnel and a port of the device.
//!
//! Three parts run side by side and never wait for each other's peer: *drain* takes what the channel brings at once,
//! so that a slow program on the device holds up neither the other streams nor the keepalive; *deliver* writes it to
//! the program and grants credit for it; *collect* sends what the program writes, as far as the server's credit goes.
//! Each direction ends by itself (half-close).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use moorline_protocol::flow::Grants;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::session::{Gone, Inbound, Reader, Writer};

/// Time to connect to a port of the device.
const LOCAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Read from the program at once; one SSH packet.
const CHUNK_BYTES: usize = 32 * 1024;
/// Waiting bytes of a stream without credits (a server that is not Moorline) beyond which its channel is not read.
const PLAIN_BACKLOG_BYTES: usize = 256 * 1024;
/// How long such a backlog may stay full; it holds up the whole connection meanwhile.
const PLAIN_STALL: Duration = Duration::from_secs(10);
/// How long a program may take to read the rest after the server closed the stream.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// How much may be under way; agreed on in the hello.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    /// Bytes in each direction before the receiver must have granted more.
    Credits {
        /// That we take.
        ours: u32,
        /// That the server takes.
        theirs: u32,
    },
    /// The server knows no credits.
    Plain,
}

/// Connects to `port` of the device itself.
pub(super) async fn connect(port: u16) -> io::Result<TcpStream> {
    let addresses: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ];
    let connected = timeout(LOCAL_CONNECT_TIMEOUT, TcpStream::connect(&addresses[..])).await;
    let socket = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    socket.set_nodelay(true).unwrap_or_default();
    Ok(socket)
}

/// Carries the stream until both directions ended, or the tunnel did.
pub(super) async fn carry(mut reader: Reader, writer: Writer, program: TcpStream, flow: Flow) {
    let (from_program, to_program) = program.into_split();
    let stream = Stream::new(flow);
    let drain = stream.drain(&mut reader);
    let close = async || {
        if writer.close().await.is_err() {
            tracing::debug!("tunnel ended before the stream");
        }
    };
    let copy = async {
        tokio::try_join!(
            stream.deliver(to_program, &writer),
            stream.collect(from_program, &writer),
        )
    };
    tokio::select! {
        ended = drain => match ended {
            DrainEnd::TunnelGone => {}
            DrainEnd::MoreThanAgreed => {
                tracing::warn!("stream cut: more under way than agreed");
                close().await;
            }
        },
        result = copy => {
            if let Err(error) = result {
                tracing::debug!(%error, "stream ended early");
            }
            close().await;
        }
    }
}

/// Why a stream is over although nobody closed it.
enum DrainEnd {
    TunnelGone,
    MoreThanAgreed,
}

struct Stream {
    flow: Flow,
    state: Mutex<State>,
    /// There is something to deliver.
    filled: Notify,
    /// Something was delivered.
    drained: Notify,
    /// The server granted credit.
    granted: Notify,
    /// The server takes nothing any more.
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    backlog: BytesMut,
    inbound_ended: bool,
    send_credit: u32,
}

impl Stream {
    fn new(flow: Flow) -> Self {
        let send_credit = match flow {
            Flow::Credits { theirs, .. } => theirs,
            Flow::Plain => u32::MAX,
        };
        Self {
            flow,
            state: Mutex::new(State {
                send_credit,
                ..State::default()
            }),
            filled: Notify::new(),
            drained: Notify::new(),
            granted: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the channel brings; ends with the tunnel, or when the server breaks the rules.
    async fn drain(&self, reader: &mut Reader) -> DrainEnd {
        while let Some(inbound) = reader.next().await {
            match inbound {
                Inbound::Data(bytes) => {
                    let waiting = {
                        let mut state = self.state();
                        state.backlog.extend_from_slice(&bytes);
                        state.backlog.len()
                    };
                    self.filled.notify_one();
                    if !self.has_room(waiting).await {
                        return DrainEnd::MoreThanAgreed;
                    }
                }
                Inbound::Credit(bytes) => {
                    let mut state = self.state();
                    state.send_credit = state.send_credit.saturating_add(bytes);
                    drop(state);
                    self.granted.notify_one();
                }
                Inbound::Eof => self.end_inbound(),
                Inbound::Close => {
                    self.end_inbound();
                    self.closed.cancel();
                    // What was received is still delivered.
                    return std::future::pending().await;
                }
            }
        }
        DrainEnd::TunnelGone
    }

    fn end_inbound(&self) {
        self.state().inbound_ended = true;
        self.filled.notify_one();
    }

    /// Whether `waiting` bytes are in order. Without credits this waits until there is room again.
    async fn has_room(&self, waiting: usize) -> bool {
        match self.flow {
            Flow::Credits { ours, .. } => waiting <= ours as usize,
            Flow::Plain if waiting < PLAIN_BACKLOG_BYTES => true,
            Flow::Plain => {
                let room = async {
                    while self.state().backlog.len() >= PLAIN_BACKLOG_BYTES {
                        self.drained.notified().await;
                    }
                };
                timeout(PLAIN_STALL, room).await.is_ok()
            }
        }
    }

    /// Writes to the program what came in, and grants credit for what it took.
    async fn deliver(&self, mut program: OwnedWriteHalf, writer: &Writer) -> io::Result<()> {
        let mut grants = match self.flow {
            Flow::Credits { ours, .. } => Some(Grants::new(ours)),
            Flow::Plain => None,
        };
        while let Some(bytes) = self.next_delivery().await {
            tokio::select! {
                written = program.write_all(&bytes) => written?,
                () = self.flush_time_over() => return Err(io::ErrorKind::TimedOut.into()),
            }
            self.drained.notify_one();
            let grant = grants
                .as_mut()
                .and_then(|grants| grants.consumed(bytes.len()));
            if let Some(grant) = grant {
                sent(writer.credit(grant).await)?;
            }
        }
        match program.shutdown().await {
            // The program closed its end already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// The next bytes for the program; `None` after the last ones.
    async fn next_delivery(&self) -> Option<Bytes> {
        loop {
            {
                let mut state = self.state();
                if !state.backlog.is_empty() {
                    let length = state.backlog.len().min(CHUNK_BYTES);
                    let bytes = state.backlog.split_to(length).freeze();
                    if state.backlog.is_empty() {
                        // Nothing is kept for a stream that is idle.
                        state.backlog = BytesMut::new();
                    }
                    return Some(bytes);
                }
                if state.inbound_ended {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    async fn flush_time_over(&self) {
        self.closed.cancelled().await;
        sleep(FLUSH_TIMEOUT).await;
    }

    /// Sends what the program writes.
    async fn collect(&self, program: OwnedReadHalf, writer: &Writer) -> io::Result<()> {
        loop {
            let bytes = tokio::select! {
                () = self.closed.cancelled() => return Ok(()),
                bytes = self.next_collection(&program) => bytes?,
            };
            if bytes.is_empty() {
                return sent(writer.eof().await);
            }
            sent(writer.data(bytes).await)?;
        }
    }

    /// What the program wrote, as much as the server takes; empty at its end.
    async fn next_collection(&self, program: &OwnedReadHalf) -> io::Result<Bytes> {
        let credit = self.credit().await;
        loop {
            program.readable().await?;
            // Nothing is allocated while the program is silent.
            let most = CHUNK_BYTES.min(credit as usize);
            let mut buffer = BytesMut::with_capacity(most);
            match program.try_read_buf(&mut (&mut buffer).limit(most)) {
                Ok(read) => {
                    self.spend(read);
                    return Ok(buffer.freeze());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the server takes something.
    async fn credit(&self) -> u32 {
        loop {
            let credit = self.state().send_credit;
            if credit > 0 {
                return credit;
            }
            self.granted.notified().await;
        }
    }

    fn spend(&self, bytes: usize) {
        if let Flow::Credits { .. } = self.flow {
            let mut state = self.state();
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            state.send_credit = state.send_credit.saturating_sub(bytes);
        }
    }
}

fn sent(result: Result<(), Gone>) -> io::Result<()> {
    result.map_err(|Gone| io::ErrorKind::BrokenPipe.into())
}
