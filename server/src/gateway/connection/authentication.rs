//! Who logs in: looks up what [`login`] decides on, counts failures and records refusals.

use std::borrow::Cow;
use std::sync::PoisonError;

use moorline_protocol::Secret;
use russh::server::Auth;
use russh::{MethodKind, MethodSet};
use tokio::time::Instant;
use tracing::{info, warn};

use super::super::login::{self, Login, Refusal};
use super::super::{MAX_RECORDED_REFUSALS, host_login};
use super::{Accepted, Connection, LoginHold, OperatorEntry};
use crate::registry::error::RegistryError;
use crate::registry::model::{AccountId, NewEvent, PublicKey, Timestamp, User};
use crate::tunnels::Hold;

impl Connection {
    /// Who would be logged in with that key?
    pub(super) async fn judge_key(
        &self,
        user: &str,
        key: &PublicKey,
    ) -> Result<Result<Accepted, Refusal>, RegistryError> {
        let registry = &self.shared.registry;
        match Login::parse(user) {
            Login::Device(id) => {
                let device = registry.device(id).await?;
                let suspended = match &device {
                    Some(device) => self.suspended(device.account).await?,
                    None => false,
                };
                let judged = login::judge_device(device.as_ref(), key, suspended);
                Ok(judged.and_then(|()| {
                    device
                        .map(|device| Accepted::Device(Box::new(device), Hold::Device))
                        .ok_or(Refusal::UnknownDevice)
                }))
            }
            Login::Client => {
                let device = registry.device_by_key(key).await?;
                let suspended = match &device {
                    Some(device) => self.suspended(device.account).await?,
                    None => false,
                };
                let anonymous = self.shared.config.allow_anonymous_keys;
                let judged = login::judge_client(device.as_ref(), anonymous, suspended);
                Ok(judged.and_then(|()| {
                    device
                        .map(|device| Accepted::Device(Box::new(device), Hold::Sessions))
                        .ok_or(Refusal::UnknownKey)
                }))
            }
            Login::Operator { username, name } => {
                let mut refusal = Refusal::WrongKey;
                for candidate in registry.users_by_key(key).await? {
                    let named = |wanted: &String| {
                        *wanted == candidate.username || *wanted == candidate.short_id
                    };
                    if !username.as_ref().is_none_or(named) {
                        continue;
                    }
                    let suspended = self.suspended(candidate.account).await?;
                    match login::judge_user(&candidate, suspended, Timestamp::now()) {
                        Ok(()) => {
                            let hold = LoginHold::on_key_of(&candidate, key.fingerprint.clone());
                            return Ok(Ok(operator(candidate, hold, name)));
                        }
                        Err(reason) => refusal = reason,
                    }
                }
                Ok(Err(refusal))
            }
        }
    }

    async fn suspended(&self, account: AccountId) -> Result<bool, RegistryError> {
        Ok(self
            .shared
            .registry
            .account(account)
            .await?
            .is_none_or(|account| account.suspended))
    }

    /// Who would be logged in with that password? `name` is a device, or the user's own name.
    pub(super) async fn judge_password(
        &self,
        username: &str,
        name: &str,
        password: &str,
    ) -> Result<Accepted, Refusal> {
        let registry = &self.shared.registry;
        let unavailable = |error: RegistryError| {
            warn!(%error, "look up user");
            Refusal::WrongCredentials
        };
        let user = registry
            .user_by_login(username)
            .await
            .map_err(unavailable)?;
        let counted_as = user
            .as_ref()
            .map_or_else(|| username.to_owned(), |user| user.id.to_string());
        let attempt = self
            .shared
            .logins
            .begin(self.peer.ip(), &counted_as)
            .await
            .map_err(|_| Refusal::TooManyFailures)?;
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let password = Secret::new(password.to_owned());
        let right = self
            .shared
            .passwords
            .verify(password, stored)
            .await
            .unwrap_or(false);
        let Some(user) = user.filter(|_| right) else {
            attempt.failed().await;
            return Err(Refusal::WrongCredentials);
        };
        attempt.succeeded();
        let suspended = self.suspended(user.account).await.map_err(unavailable)?;
        login::judge_user(&user, suspended, Timestamp::now())?;
        let hold = LoginHold::on_user(&user);
        Ok(operator(user, hold, name.to_owned()))
    }

    /// Keeps who logs in, or says why not; `methods` may be tried after a refusal.
    pub(super) async fn conclude(&mut self, user: &str, judged: Result<Accepted, Refusal>) -> Auth {
        match judged {
            Ok(accepted) => {
                self.accepted = Some(accepted);
                Auth::Accept
            }
            Err(refusal) => {
                self.refused(user, refusal).await;
                reject(user)
            }
        }
    }

    async fn refused(&self, user: &str, refusal: Refusal) {
        let reason = refusal.reason();
        // An operator's agent offers keys that nobody knows; that is no news.
        let device = match Login::parse(user) {
            Login::Device(id) => Some(id),
            Login::Client => None,
            Login::Operator { .. } if refusal == Refusal::WrongKey => return,
            Login::Operator { .. } => None,
        };
        info!(peer = %self.peer, user, reason, "SSH login refused");
        if !self.may_record_refusal() {
            return;
        }
        let event = NewEvent {
            account: None,
            device,
            user: None,
            host: None,
            task: None,
            level: "warn",
            kind: "auth.failed",
            message: format!("SSH login refused: {reason}"),
            metadata: serde_json::json!({ "peer": self.peer.ip().to_string(), "reason": reason }),
        };
        if let Err(error) = self.shared.registry.record_event(event).await {
            warn!(%error, "record refused login");
        }
    }

    /// A flood of refusals from one address fills the log, not the database.
    fn may_record_refusal(&self) -> bool {
        let address = self.peer.ip().to_canonical();
        let mut recorded = self
            .shared
            .recorded_refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        recorded.admit(address, MAX_RECORDED_REFUSALS, Instant::now())
    }
}

fn operator(user: User, hold: LoginHold, name: String) -> Accepted {
    Accepted::Operator(Box::new(OperatorEntry { user, hold, name }))
}

/// A device has its key and nothing else; operators may go on with a password.
pub(super) fn reject(user: &str) -> Auth {
    if host_login::is_short_id(user) {
        return host_login::reject();
    }
    let methods: &[MethodKind] = match Login::parse(user) {
        Login::Device(_) | Login::Client => &[MethodKind::PublicKey],
        Login::Operator { .. } => &[
            MethodKind::PublicKey,
            MethodKind::KeyboardInteractive,
            MethodKind::Password,
        ],
    };
    Auth::Reject {
        proceed_with_methods: Some(MethodSet::from(methods)),
        partial_success: false,
    }
}

pub(super) fn parse_key(key: &russh::keys::ssh_key::PublicKey) -> Option<PublicKey> {
    PublicKey::parse(&key.to_openssh().ok()?).ok()
}

/// What `keyboard-interactive` asks: the name only where the SSH user name did not tell it.
pub(super) fn prompts(username_known: bool) -> Auth {
    let name = (Cow::Borrowed("Moorline user: "), true);
    let password = (Cow::Borrowed("Password: "), false);
    let prompts = if username_known {
        vec![password]
    } else {
        vec![name, password]
    };
    Auth::Partial {
        name: "".into(),
        instructions: "".into(),
        prompts: prompts.into(),
    }
}
