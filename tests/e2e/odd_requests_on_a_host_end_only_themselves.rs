use std::sync::Arc;
use std::time::Duration;

use harness::eventually;
use reqwest::Method;
use russh::client::{self, Handle, Handler, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelMsg};
use serde_json::Value;
use tokio::time::timeout;

use crate::lodger::Lodger;

/// Longest that one step may take.
const LIMIT: Duration = Duration::from_secs(300);
/// A write that takes longer waits for room, on a busy machine too.
const STUCK: Duration = Duration::from_secs(15);
/// Channels that one connection may have.
const CHANNELS: usize = 64;
/// What one connection may leave waiting in the server: 64 MiB, and slack for everything else.
const MAX_GROWTH_KIB: u64 = 160 * 1024;

struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

async fn log_in(lodger: &Lodger) -> Handle<Trusting> {
    let server = &lodger.station.server;
    let address = (server.host(), server.ssh_port());
    let mut connection = client::connect(Arc::default(), address, Trusting)
        .await
        .unwrap();
    let login = connection
        .authenticate_password(&lodger.short_id, &lodger.entry_password)
        .await
        .unwrap();
    assert!(login.success());
    connection
}

/// What a channel says until it ends, and its exit status.
async fn hear(channel: &mut Channel<Msg>) -> (String, Option<u32>) {
    let (mut said, mut code) = (String::new(), None);
    let heard = timeout(LIMIT, async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                    said.push_str(&String::from_utf8_lossy(&data));
                }
                ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                _ => {}
            }
        }
    });
    heard
        .await
        .unwrap_or_else(|_| panic!("it does not end: {}", &said[..said.len().min(200)]));
    (said, code)
}

async fn works(connection: &Handle<Trusting>) {
    let mut channel = once_there_is_room(connection).await;
    channel.exec(true, "echo on; exit 3").await.unwrap();
    assert_eq!(hear(&mut channel).await, ("on\n".to_owned(), Some(3)));
}

/// Opens a channel; those that ended before leave their room a moment later.
async fn once_there_is_room(connection: &Handle<Trusting>) -> Channel<Msg> {
    let opening = timeout(LIMIT, async {
        loop {
            if let Ok(channel) = connection.channel_open_session().await {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    opening.await.unwrap()
}

fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(story);
}

#[test]
fn odd_requests_on_a_host_end_only_themselves() {
    let lodger = Lodger::with_device("oddly");
    run(async {
        let connection = log_in(&lodger).await;
        // Windows of no size and of the largest.
        for (columns, rows) in [(0, 0), (u32::MAX, u32::MAX)] {
            let mut channel = connection.channel_open_session().await.unwrap();
            channel
                .request_pty(true, "xterm", columns, rows, columns, rows, &[])
                .await
                .unwrap();
            channel.window_change(rows, columns, 0, 0).await.unwrap();
            channel.exec(true, "exit 4").await.unwrap();
            assert_eq!(hear(&mut channel).await.1, Some(4));
        }
        // More variables than sshd takes, large ones, and such as a loader would read.
        let mut channel = connection.channel_open_session().await.unwrap();
        channel
            .set_env(false, "LD_PRELOAD", "/nowhere.so")
            .await
            .unwrap();
        for number in 0..1000 {
            let name = format!("LC_{number}");
            channel
                .set_env(false, name, "v".repeat(16_384))
                .await
                .unwrap();
        }
        channel
            .exec(true, "echo preload=$LD_PRELOAD")
            .await
            .unwrap();
        assert_eq!(hear(&mut channel).await, ("preload=\n".to_owned(), Some(0)));
        // A command as long as a packet may be.
        let mut channel = connection.channel_open_session().await.unwrap();
        let line = format!("echo long; : {}", "x".repeat(100_000));
        channel.exec(true, line).await.unwrap();
        assert_eq!(hear(&mut channel).await, ("long\n".to_owned(), Some(0)));
        // Two commands on one channel, and data after its end.
        let mut channel = connection.channel_open_session().await.unwrap();
        channel.exec(true, "cat").await.unwrap();
        channel.exec(true, "echo second").await.unwrap();
        let (said, _) = hear(&mut channel).await;
        assert!(!said.contains("second\n"), "{said}");
        let mut channel = connection.channel_open_session().await.unwrap();
        channel.exec(true, "cat").await.unwrap();
        channel.data_bytes(&b"before\n"[..]).await.unwrap();
        channel.eof().await.unwrap();
        // The client may refuse to send it; whether it does is its own affair.
        channel
            .data_bytes(&b"after\n"[..])
            .await
            .unwrap_or_default();
        assert_eq!(hear(&mut channel).await, ("before\n".to_owned(), Some(0)));
        // What is not served.
        let refused = |opened: Result<Channel<Msg>, russh::Error>| {
            assert!(
                matches!(opened, Err(russh::Error::ChannelOpenFailure(_))),
                "{opened:?}"
            );
        };
        refused(
            connection
                .channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1)
                .await,
        );
        refused(
            connection
                .channel_open_direct_streamlocal("/run/x.sock")
                .await,
        );
        refused(connection.channel_open_x11("127.0.0.1", 1).await);
        assert!(connection.tcpip_forward("127.0.0.1", 0).await.is_err());
        assert!(connection.streamlocal_forward("/tmp/x.sock").await.is_err());
        works(&connection).await;
        // More channels than there is room for.
        let mut open = Vec::new();
        while open.len() < CHANNELS {
            open.push(once_there_is_room(&connection).await);
        }
        refused(connection.channel_open_session().await);
        for channel in &open {
            channel.close().await.unwrap();
        }
        works(&connection).await;
    });
}

#[test]
fn a_connection_has_any_number_of_sessions_one_after_the_other() {
    let lodger = Lodger::with_device("often");
    run(async {
        let connection = log_in(&lodger).await;
        for _ in 0..3 * CHANNELS {
            let mut channel = once_there_is_room(&connection).await;
            channel.exec(true, "exit 3").await.unwrap();
            assert_eq!(hear(&mut channel).await.1, Some(3));
        }
    });
}

#[test]
fn what_a_device_does_not_take_fills_no_memory() {
    let lodger = Lodger::with_device("flooded");
    let memory = || -> u64 {
        let id = lodger.station.server.process().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    run(async {
        let connection = log_in(&lodger).await;
        let mut channels = Vec::new();
        for _ in 0..24 {
            let channel = connection.channel_open_session().await.unwrap();
            channel.exec(true, "exec sleep 600").await.unwrap();
            channels.push(channel);
        }
        let before = memory();
        let piece = vec![0_u8; 32 * 1024];
        // 16 MiB for each of them, until the server takes no more.
        let mut sent = 0_usize;
        'all: for channel in &channels {
            for _ in 0..512 {
                let sending = channel.data_bytes(piece.clone());
                match timeout(STUCK, sending).await {
                    Ok(done) => done.unwrap(),
                    Err(_) => break 'all,
                }
                sent += piece.len();
            }
        }
        assert!(sent > 32 * 1024 * 1024, "only {sent} were taken");
        let grown = memory().saturating_sub(before);
        assert!(grown < MAX_GROWTH_KIB, "{sent} bytes in, {grown} KiB more");
        drop(connection);
    });
}

#[test]
fn sessions_leave_nothing_behind() {
    let lodger = Lodger::with_device("many");
    let logins = || {
        let answer = lodger.station.operator.send(Method::GET, "/metrics", None);
        let line = answer
            .text
            .lines()
            .find(|line| line.starts_with("moorline_logins "));
        line.map(|line| line.split(' ').nth(1).unwrap().to_owned())
    };
    run(async {
        for _ in 0..20 {
            let connection = log_in(&lodger).await;
            for _ in 0..9 {
                works(&connection).await;
            }
            // One that is left open, with its connection.
            let channel = connection.channel_open_session().await.unwrap();
            channel.exec(true, "exec sleep 600").await.unwrap();
        }
    });
    eventually("nobody is logged in", || logins().as_deref() == Some("0"));
    eventually("every session is noted as ended", || {
        let list = lodger.call(
            Method::GET,
            "/v1/admin/sessions-log?limit=1000",
            &Value::Null,
        );
        let sessions = list["sessions"].as_array().unwrap();
        sessions.len() >= 180 && sessions.iter().all(|session| session["ending"].is_string())
    });
    eventually("the device has no session left", || {
        let sshd = lodger.station.device.sshd().process().id();
        let children = format!("/proc/{sshd}/task/{sshd}/children");
        std::fs::read_to_string(children).unwrap().trim().is_empty()
    });
}
