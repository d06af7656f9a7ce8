//! What passes between an operator's channel and the device: a session with all its requests, or plain bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::client;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;
use tracing::debug;

use super::backlog::Backlog;
use super::ending::Ending;
use super::tap::Tap;
use crate::tunnels::Stream;

/// How long the device may take to end a session that the operator closed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Exit status of a session that did not reach the device, as ssh itself would say it.
const UNREACHED: u32 = 255;
/// Environment variables of one session that are passed on, as many as OpenSSH takes; which of them count is for the
/// device's sshd to say.
const MAX_VARIABLES: usize = 128;
/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// The operator's end of a session.
pub(super) struct Relay<'a> {
    pub(super) id: ChannelId,
    pub(super) handle: &'a Handle,
    pub(super) write: &'a ChannelWriteHalf<Msg>,
    pub(super) tap: &'a Tap,
}

/// Tells the operator on stderr why there is no session.
pub(super) async fn refuse(write: &ChannelWriteHalf<Msg>, text: &str) {
    let text = format!("{text}\r\n");
    // The operator may be gone already.
    write
        .extended_data_bytes(STDERR, text)
        .await
        .unwrap_or_default();
    write.exit_status(UNREACHED).await.unwrap_or_default();
    write.eof().await.unwrap_or_default();
}

impl Relay<'_> {
    /// Passes everything on until the session is over on either side.
    pub(super) async fn run(&self, upstream: Channel<client::Msg>, backlog: Backlog) {
        let (up_read, up_write) = upstream.split();
        let to_device = self.to_device(backlog, &up_write);
        let to_operator = self.to_operator(up_read);
        tokio::pin!(to_device, to_operator);
        tokio::select! {
            () = &mut to_operator => {}
            () = &mut to_device => {
                if timeout(END_TIMEOUT, to_operator).await.is_err() {
                    debug!("device did not end the session");
                }
            }
        }
    }

    async fn to_operator(&self, mut up_read: ChannelReadHalf) {
        let write = self.write;
        let mut ending = Ending::default();
        loop {
            let message = tokio::select! {
                message = up_read.wait() => message,
                () = ending.held_long_enough() => Some(ChannelMsg::Eof),
            };
            let Some(message) = message else { break };
            if let ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } = &message
                && !self.tap.output(data).await
            {
                refuse(write, "The session cannot be recorded any more.").await;
                return;
            }
            let sent = match message {
                ChannelMsg::Data { data } => write.data_bytes(data).await,
                ChannelMsg::ExtendedData { data, ext } => {
                    write.extended_data_bytes(ext, data).await
                }
                ChannelMsg::Eof if ending.may_pass() => write.eof().await,
                ChannelMsg::Eof => {
                    ending.hold();
                    Ok(())
                }
                ChannelMsg::ExitStatus { exit_status } => {
                    ending.has_status = true;
                    write.exit_status(exit_status).await
                }
                ChannelMsg::ExitSignal {
                    signal_name,
                    core_dumped,
                    error_message,
                    lang_tag,
                } => {
                    ending.has_status = true;
                    self.handle
                        .exit_signal_request(
                            self.id,
                            signal_name,
                            core_dumped,
                            error_message,
                            lang_tag,
                        )
                        .await
                        .map_err(|()| russh::Error::SendError)
                }
                ChannelMsg::Failure => {
                    refuse(write, "The device refused the request.").await;
                    return;
                }
                ChannelMsg::Close => break,
                _ => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
        if ending.is_held() {
            write.eof().await.unwrap_or_default();
        }
    }

    /// Operator to device, until the operator closes the channel.
    async fn to_device(&self, mut backlog: Backlog, up: &ChannelWriteHalf<client::Msg>) {
        let mut variables = 0;
        while let Some(message) = backlog.next().await {
            if matches!(message, ChannelMsg::SetEnv { .. }) {
                variables += 1;
                if variables > MAX_VARIABLES {
                    continue;
                }
            }
            if !self.tap.operator_sent(&message).await {
                break;
            }
            match pass_on(message, up).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return,
                None => break,
            }
        }
        up.close().await.unwrap_or_default();
    }
}

/// Passes one message on; `None` is the end.
async fn pass_on(
    message: ChannelMsg,
    up: &ChannelWriteHalf<client::Msg>,
) -> Option<Result<(), russh::Error>> {
    Some(match message {
        ChannelMsg::Data { data } => up.data_bytes(data).await,
        ChannelMsg::Eof => up.eof().await,
        ChannelMsg::RequestPty {
            term,
            col_width,
            row_height,
            pix_width,
            pix_height,
            terminal_modes,
            ..
        } => {
            up.request_pty(
                false,
                &term,
                col_width,
                row_height,
                pix_width,
                pix_height,
                &terminal_modes,
            )
            .await
        }
        ChannelMsg::RequestShell { .. } => up.request_shell(true).await,
        ChannelMsg::Exec { command, .. } => up.exec(true, command).await,
        ChannelMsg::RequestSubsystem { name, .. } => up.request_subsystem(true, name).await,
        ChannelMsg::SetEnv {
            variable_name,
            variable_value,
            ..
        } => up.set_env(false, variable_name, variable_value).await,
        ChannelMsg::WindowChange {
            col_width,
            row_height,
            pix_width,
            pix_height,
        } => {
            up.window_change(col_width, row_height, pix_width, pix_height)
                .await
        }
        ChannelMsg::Signal { signal } => up.signal(signal).await,
        ChannelMsg::Close => return None,
        _ => Ok(()),
    })
}

/// Counts what passes.
pub(super) trait Meter {
    /// Bytes that came from the SSH channel.
    fn received(&self, bytes: usize);
    /// Bytes that went to it.
    fn sent(&self, bytes: usize);
}

impl Meter for AtomicU64 {
    fn received(&self, bytes: usize) {
        self.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.received(bytes);
    }
}

/// Bytes both ways between a channel and a stream, until both sides have ended or one is gone. Whoever carries closes
/// the channel then: `ssh -W` waits for that with both its sides ended.
pub(super) async fn carry(
    stream: Stream,
    mut backlog: Backlog,
    write: &ChannelWriteHalf<Msg>,
    meter: &impl Meter,
) {
    let Stream {
        mut reader,
        mut writer,
        ..
    } = stream;
    // Gives the backlog back when nothing but the close can come on it any more.
    let up = async {
        while let Some(message) = backlog.next().await {
            match message {
                ChannelMsg::Data { data } => {
                    meter.received(data.len());
                    writer.send(data).await.ok()?;
                }
                ChannelMsg::Eof => {
                    writer.finish();
                    return Some(backlog);
                }
                ChannelMsg::Close => return None,
                _ => {}
            }
        }
        None
    };
    let down = async {
        while let Some(chunk) = reader.next().await {
            meter.sent(chunk.len());
            if write.data_bytes(chunk).await.is_err() {
                return false;
            }
        }
        write.eof().await.is_ok()
    };
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut up => if let Some(mut backlog) = ended {
            tokio::select! {
                _ = down => {}
                () = async { while backlog.next().await.is_some() {} } => {}
            }
        },
        ended = &mut down => if ended {
            up.await;
        },
    }
}

/// Bytes both ways between two channels, until both ends have ended or one is gone.
pub(super) async fn join(
    upstream: Channel<client::Msg>,
    mut backlog: Backlog,
    write: &ChannelWriteHalf<Msg>,
    tap: &Tap,
) {
    let (mut up_read, up_write) = upstream.split();
    let up = async {
        while let Some(message) = backlog.next().await {
            let sent = match message {
                ChannelMsg::Data { data } => {
                    tap.received(data.len());
                    up_write.data_bytes(data).await
                }
                ChannelMsg::Eof => up_write.eof().await,
                ChannelMsg::Close => return,
                _ => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let down = async {
        while let Some(message) = up_read.wait().await {
            let sent = match message {
                ChannelMsg::Data { data } => {
                    tap.sent(data.len());
                    write.data_bytes(data).await
                }
                ChannelMsg::Eof => write.eof().await,
                ChannelMsg::Close => return,
                _ => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
    up_write.close().await.unwrap_or_default();
}
