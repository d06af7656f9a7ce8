//! Bytes both ways between an SSH channel and a stream to a device.

use std::sync::atomic::{AtomicU64, Ordering};

use russh::server::Msg;
use russh::{ChannelMsg, ChannelWriteHalf};

use super::backlog::Backlog;
use crate::tunnels::Stream;

/// Carries bytes until both ends have ended or one is gone; adds them to `counter`.
pub(super) async fn carry(
    stream: Stream,
    mut backlog: Backlog,
    write: &ChannelWriteHalf<Msg>,
    counter: &AtomicU64,
) {
    let Stream {
        mut reader,
        mut writer,
    } = stream;
    let up = async {
        while let Some(message) = backlog.next().await {
            match message {
                ChannelMsg::Data { data } => {
                    counter.fetch_add(data.len() as u64, Ordering::Relaxed);
                    let sent = writer.send(data).await;
                    if sent.is_err() {
                        return;
                    }
                }
                ChannelMsg::Eof => writer.finish(),
                ChannelMsg::Close => return,
                _ => {}
            }
        }
    };
    let down = async {
        while let Some(chunk) = reader.next().await {
            counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if write.data_bytes(chunk).await.is_err() {
                return;
            }
        }
        write.eof().await.unwrap_or_default();
        // The other side closes when it has read the end; so does a tunnel that went away.
        std::future::pending::<()>().await;
    };
    tokio::select! { () = up => {}, () = down => {} }
}
