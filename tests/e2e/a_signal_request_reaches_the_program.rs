use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{ChannelMsg, Sig};

use crate::station::Station;

/// Longest that the whole session may take.
const LIMIT: Duration = Duration::from_secs(300);

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

/// Stock `ssh` never sends the request of RFC 4254 section 6.9, other clients do.
#[test]
fn a_signal_request_reaches_the_program() {
    let station = Station::with_device("signalled");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (said, code) = runtime
        .block_on(async { tokio::time::timeout(LIMIT, session(&station)).await })
        .unwrap();
    // OpenSSH's server signals nobody in a session of root, which has no second process; there it says that it was asked.
    let asked = station
        .device
        .sshd()
        .process()
        .log()
        .contains("session_signal_req");
    assert!(
        asked || (said.contains("told to end") && code == Some(11)),
        "{code:?} {said}"
    );
}

async fn session(station: &Station) -> (String, Option<u32>) {
    let address = (station.server.host(), station.server.ssh_port());
    let mut connection = client::connect(Arc::default(), address, Trusting)
        .await
        .unwrap();
    let key = load_secret_key(station.key.private_file(), None).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let login = connection
        .authenticate_publickey("signalled", key)
        .await
        .unwrap();
    assert!(login.success());
    let mut channel = connection.channel_open_session().await.unwrap();
    let line = "trap 'echo told to end; exit 11' TERM; echo ready; \
                i=0; while [ $i -lt 30 ]; do sleep 0.1; i=$((i+1)); done";
    channel.exec(true, line).await.unwrap();
    let (mut said, mut code, mut told) = (String::new(), None, false);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => said.push_str(&String::from_utf8_lossy(&data)),
            ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
            _ => {}
        }
        if !told && said.contains("ready") {
            told = true;
            channel.signal(Sig::TERM).await.unwrap();
        }
    }
    (said, code)
}
