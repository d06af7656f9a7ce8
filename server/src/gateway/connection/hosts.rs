//! Logins under a name that may be the short id of a host: three tries, doors that close, all refusals alike.

use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::server::{Auth, Handle};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::host_login::{self, HostLogin, TRIES};
use super::super::login::Refusal;
use super::{Accepted, Connection};
use crate::gateway::socket::Life;
use crate::live_sessions::LiveSession;
use crate::registry::model::PublicKey;

/// How long a goodbye may take to leave before the connection is ended anyway.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(200);

/// Whether the owner of a key has shown that it is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not yet: it is asked whether the key would do.
    Offered,
    /// By a signature.
    Signed,
}

impl Connection {
    /// Ends the connection if there were too many failures: on it, from its address or on that host.
    pub(super) fn shut_out(&self, name: &str) -> bool {
        let doors = &self.shared.doors;
        let shut = self.tries >= TRIES || doors.closed(self.peer.ip(), name, Instant::now());
        if shut {
            info!(peer = %self.peer, user = name, "SSH connection closed after failed logins");
            self.life.kill();
        }
        shut
    }

    /// A password for that name.
    pub(super) async fn host_password(&mut self, name: &str, password: &str) -> Auth {
        if self.shut_out(name) {
            return host_login::reject_for_good();
        }
        let Ok(login) = self.look_up_host(name).await else {
            return host_login::reject();
        };
        let judged = match &login {
            Some(login) => {
                let judged = self.shared.judge_host_password(login, password).await;
                judged.map(|()| Accepted::Host(Box::new(login.clone())))
            }
            None => self.judge_password(name, name, password).await,
        };
        self.conclude_host(name, login.as_ref(), judged).await
    }

    /// A key for that name.
    pub(super) async fn host_key(&mut self, name: &str, key: &PublicKey, proof: Proof) -> Auth {
        if self.shut_out(name) {
            return host_login::reject_for_good();
        }
        let Ok(login) = self.look_up_host(name).await else {
            return host_login::reject();
        };
        let judged = match &login {
            Some(login) => {
                let judged = self.shared.judge_host_key(login, key).await;
                let key = Some(key.fingerprint.clone());
                let login = login.clone();
                judged.map(|()| Accepted::Host(Box::new(HostLogin { key, ..login })))
            }
            None => match self.judge_key(name, key).await {
                Ok(judged) => judged,
                Err(error) => {
                    warn!(%error, "look up key");
                    Err(Refusal::WrongKey)
                }
            },
        };
        match (proof, judged) {
            (Proof::Offered, Ok(_)) => Auth::Accept,
            // Clients offer all the keys they have.
            (Proof::Offered, Err(_)) => host_login::reject(),
            (Proof::Signed, judged) => self.conclude_host(name, login.as_ref(), judged).await,
        }
    }

    async fn look_up_host(&self, name: &str) -> Result<Option<HostLogin>, ()> {
        self.shared
            .host_login(name)
            .await
            .map_err(|error| warn!(%error, "look up host"))
    }

    async fn conclude_host(
        &mut self,
        name: &str,
        login: Option<&HostLogin>,
        judged: Result<Accepted, Refusal>,
    ) -> Auth {
        match judged {
            // Others may have failed too often while this one was looked at.
            Ok(_) if self.shut_out(name) => host_login::reject_for_good(),
            Ok(accepted) => {
                self.accepted = Some(accepted);
                Auth::Accept
            }
            Err(refusal) => {
                self.tries += 1;
                let doors = &self.shared.doors;
                if !doors.failed(self.peer.ip(), name, Instant::now()) {
                    self.shut_out(name);
                    return host_login::reject_for_good();
                }
                self.shared
                    .host_refused(self.peer, name, login, refusal)
                    .await;
                if self.tries >= TRIES {
                    host_login::reject_for_good()
                } else {
                    host_login::reject()
                }
            }
        }
    }
}

/// Ends the connection of a login that may not go on; ends itself when the connection is gone.
pub(super) async fn cut_when_ended(
    live: Arc<LiveSession>,
    handle: Handle,
    life: Arc<Life>,
    gone: CancellationToken,
) {
    let reason = tokio::select! {
        reason = live.ended() => reason,
        () = gone.cancelled() => return,
    };
    info!(reason, "login ended");
    let goodbye = handle.disconnect(Disconnect::ByApplication, reason.to_owned(), String::new());
    if timeout(GOODBYE_TIMEOUT, goodbye).await.is_ok()
        && timeout(GOODBYE_TIMEOUT, gone.cancelled()).await.is_ok()
    {
        return;
    }
    life.kill();
}
