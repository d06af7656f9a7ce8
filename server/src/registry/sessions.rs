//! Forwards as sessions of the Openport surface (openport contract sections 5 to 8).
//!
//! | module | holds |
//! |---|---|
//! | `open` | which session a client gets, and the public port of a new one |
//! | `placing` | the node of a new session |
//! | `lapse` | what nobody has used for long |
//!
//! *Invariant:* of a session token only its keyed hash is kept; the client brings the token itself.

mod lapse;
mod open;
pub(super) mod placing;

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use subtle::ConstantTimeEq as _;

use super::Registry;
use super::entity::{device, forward, node};
use super::error::{Attempt as _, RegistryError};
use super::model::{Device, DeviceId, Forward, ForwardId, Timestamp};
use crate::random;

pub use open::{Restart, Session, SessionWish};

/// Sessions a device has at most; the one unused longest gives way.
pub const MAX_SESSIONS: usize = 50;
/// Sessions named in one statement; databases limit them.
const IDS_AT_ONCE: usize = 500;

/// How a session ended while its tunnel was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its client is refused once when it restarts by itself.
    Killed,
    /// It is gone.
    Removed,
}

impl Registry {
    /// The session on that public port of `node`, with its device, if `token` is its token. Whether the device may
    /// be served now is not judged here.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_with_token(
        &self,
        node: &str,
        port: u16,
        token: &str,
    ) -> Result<Option<(Device, Forward)>, RegistryError> {
        let found = self.session_at(node, port).await?;
        Ok(found.filter(|(_, forward)| self.is_session_token(forward, token)))
    }

    /// As [`Self::session_with_token`] on whatever node.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_anywhere_with_token(
        &self,
        port: u16,
        token: &str,
    ) -> Result<Option<(Device, Forward)>, RegistryError> {
        let on_port = self.sessions_on(port).await?;
        Ok(on_port
            .into_iter()
            .find(|(_, forward)| self.is_session_token(forward, token)))
    }

    /// The session on that public port of `node`, with its device.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_at(
        &self,
        node: &str,
        port: u16,
    ) -> Result<Option<(Device, Forward)>, RegistryError> {
        let on_port = self.sessions_on(port).await?;
        Ok(on_port
            .into_iter()
            .find(|(_, forward)| forward.node == node))
    }

    /// The session on that public port that the link token opens, on whatever node, with its device.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn session_of_link(
        &self,
        port: u16,
        link_token: &str,
    ) -> Result<Option<(Device, Forward)>, RegistryError> {
        let fits = |forward: &Forward| {
            let kept = forward.link_token.as_ref();
            kept.is_some_and(|kept| {
                bool::from(kept.expose().as_bytes().ct_eq(link_token.as_bytes()))
            })
        };
        let on_port = self.sessions_on(port).await?;
        Ok(on_port.into_iter().find(|(_, forward)| fits(forward)))
    }

    /// The sessions on that public port, one a node, with their devices.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn sessions_on(&self, port: u16) -> Result<Vec<(Device, Forward)>, RegistryError> {
        // A port is found by its node; there are few.
        let nodes = Query::select()
            .column(node::Column::Name)
            .from(node::Entity)
            .to_owned();
        let rows = forward::Entity::find()
            .filter(forward::Column::PublicPort.eq(i32::from(port)))
            .filter(forward::Column::Node.in_subquery(nodes))
            .all(&self.store.read)
            .await
            .attempt("read sessions")?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            let of_device = Condition::all().add(device::Column::Number.eq(row.device_number));
            let Some(device) = self.one_device(of_device).await? else {
                continue;
            };
            let forward = device.forwards.iter().find(|one| one.id.0 == row.id);
            if let Some(forward) = forward.cloned() {
                sessions.push((device, forward));
            }
        }
        Ok(sessions)
    }

    /// The device that this redirect token belongs to.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn device_by_redirect(&self, token: &str) -> Result<Option<Device>, RegistryError> {
        self.one_device(Condition::all().add(device::Column::RedirectToken.eq(token)))
            .await
    }

    /// Whether `token` is the session token of `forward`; takes the same time whatever it is.
    #[must_use]
    pub fn is_session_token(&self, forward: &Forward, token: &str) -> bool {
        let given = self.session_token_hash(token);
        forward
            .session_token
            .as_ref()
            .is_some_and(|kept| bool::from(kept.expose().as_bytes().ct_eq(given.as_bytes())))
    }

    /// Whether `token` is that of any session of `device`, or of its forward tunnels.
    #[must_use]
    pub fn is_token_of_device(&self, device: &Device, token: &str) -> bool {
        let forward_token = self.forward_tunnel_token(device.id);
        let of_forward_tunnel = bool::from(forward_token.as_bytes().ct_eq(token.as_bytes()));
        let of_session = device
            .forwards
            .iter()
            .any(|forward| self.is_session_token(forward, token));
        of_forward_tunnel || of_session
    }

    /// What stands as session token in answers about forward tunnels (section 6), which are kept nowhere: one text a
    /// device, always the same.
    #[must_use]
    pub fn forward_tunnel_token(&self, device: DeviceId) -> String {
        let keys = &self.store.lasting;
        random::link_token_of(&keys.keyed_hash("forward tunnel token", device.0.as_bytes()))
    }

    /// Marks a session as killed, so that its client is refused when it restarts by itself. False when it is gone.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn kill_session(&self, id: ForwardId) -> Result<bool, RegistryError> {
        let done = forward::Entity::update_many()
            .col_expr(forward::Column::Killed, Expr::value(true))
            .filter(forward::Column::Id.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("kill session")?;
        Ok(done.rows_affected > 0)
    }

    /// Which of these sessions ended, and how.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn ended_sessions(
        &self,
        of: &[ForwardId],
    ) -> Result<HashMap<ForwardId, SessionEnd>, RegistryError> {
        let removed = of.iter().map(|id| (*id, SessionEnd::Removed));
        let mut ended: HashMap<ForwardId, SessionEnd> = removed.collect();
        for part in of.chunks(IDS_AT_ONCE) {
            let there: Vec<(i64, bool)> = forward::Entity::find()
                .select_only()
                .column(forward::Column::Id)
                .column(forward::Column::Killed)
                .filter(forward::Column::Id.is_in(part.iter().map(|id| id.0)))
                .into_tuple()
                .all(&self.store.read)
                .await
                .attempt("look which sessions ended")?;
            for (id, killed) in there {
                if killed {
                    ended.insert(ForwardId(id), SessionEnd::Killed);
                } else {
                    ended.remove(&ForwardId(id));
                }
            }
        }
        Ok(ended)
    }

    /// Notes that these sessions are in use: their ports stay reserved for another 30 days.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn touch_sessions(
        &self,
        used: &[ForwardId],
        at: Timestamp,
    ) -> Result<(), RegistryError> {
        for part in used.chunks(IDS_AT_ONCE) {
            forward::Entity::update_many()
                .col_expr(forward::Column::LastUsedAt, Expr::value(at.0))
                .filter(forward::Column::Id.is_in(part.iter().map(|id| id.0)))
                .exec(&self.store.write)
                .await
                .attempt("note sessions in use")?;
        }
        Ok(())
    }

    fn session_token_hash(&self, token: &str) -> String {
        let hash = self
            .store
            .lasting
            .keyed_hash("session token", token.as_bytes());
        HEXLOWER.encode(&hash)
    }
}
