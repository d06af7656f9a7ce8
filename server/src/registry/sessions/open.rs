//! Which session a client gets (openport contract section 5): the one it had, or a new one on a port it never had.

use std::time::Instant;

use moorline_protocol::Secret;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, QueryFilter as _, QueryOrder as _};

use super::MAX_SESSIONS;
use super::placing::{self, Preference};
use crate::random;
use crate::registry::Registry;
use crate::registry::device_forwards::locked;
use crate::registry::entity::{device, forward};
use crate::registry::error::{Attempt as _, RegistryError, SessionError};
use crate::registry::model::{
    Device, DeviceId, Forward, ForwardId, ForwardKind, Node, NodeStatus, Timestamp,
};

/// How often it is tried when another process took the port meanwhile.
const TRIES: usize = 4;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct SessionWish {
    /// Its device.
    pub device: DeviceId,
    /// Port on the device; 0 when it did not tell.
    pub device_port: u16,
    /// Public port of its earlier session.
    pub port: Option<u16>,
    /// Token of its earlier session.
    pub token: Option<Secret<String>>,
    /// Public DNS name or name of the wanted node.
    pub server: Option<String>,
    /// What is to travel on it.
    pub kind: ForwardKind,
    /// Closed to visitors that did not click the link; `None` is as the device's setting says.
    pub link_protection: Option<bool>,
    /// Who restarts it.
    pub restart: Restart,
    /// Sessions with a tunnel; when one has to give way, they do last.
    pub in_use: Vec<ForwardId>,
}

/// Who restarts a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// A person. That takes the mark off a killed session.
    ByPerson,
    /// The client, by itself.
    ByItself,
}

/// The session a client got.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its forward.
    pub forward: Forward,
    /// Its token, for the client alone.
    pub token: Secret<String>,
    /// Its node.
    pub node: Node,
    /// The session of this device that had to give way to it.
    pub gave_way: Option<ForwardId>,
}

impl Registry {
    /// The earlier session that `wish` speaks of, as far as token and port tell (rule 1).
    #[must_use]
    pub fn earlier_session<'a>(
        &self,
        forwards: &'a [Forward],
        wish: &SessionWish,
    ) -> Option<&'a Forward> {
        let token = wish.token.as_ref()?;
        forwards
            .iter()
            .filter(|forward| wish.port.is_none_or(|port| port == forward.public_port))
            .find(|forward| self.is_session_token(forward, token.expose()))
    }

    /// Gives the client its earlier session, else a new one (rules 1 to 4).
    ///
    /// # Errors
    /// [`SessionError`]; then nothing was changed.
    pub async fn open_session(&self, wish: &SessionWish) -> Result<Session, SessionError> {
        let mut tries = 1;
        loop {
            match self.try_open(wish).await {
                Err(SessionError::Registry(error)) if error.is_about_rows() && tries < TRIES => {
                    tracing::debug!(tries, %error, "try to open session again");
                    self.store.with_ports(|ports| ports.forget());
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn try_open(&self, wish: &SessionWish) -> Result<Session, SessionError> {
        let transaction = self.store.begin().await?;
        let device = locked(&transaction, wish.device.into())
            .await?
            .ok_or(SessionError::UnknownDevice)?;
        let rows = forward::Entity::find()
            .filter(forward::Column::DeviceNumber.eq(device.number))
            .order_by_asc(forward::Column::Id)
            .all(&transaction)
            .await
            .attempt("read forwards")?;
        let forwards = rows
            .iter()
            .map(|row| Forward::try_from(row.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let nodes = placing::nodes(&transaction).await?;
        let home = |forward: &Forward| nodes.iter().find(|node| node.name == forward.node);
        let up = |node: &&Node| node.status != NodeStatus::Down;
        let earlier = self.earlier_session(&forwards, wish);
        match earlier.and_then(|earlier| Some((earlier, home(earlier).filter(up)?))) {
            Some((earlier, node)) => {
                let (id, node) = (earlier.id, node.clone());
                let row = rows.into_iter().find(|row| row.id == id.0);
                let row = row.ok_or(SessionError::UnknownDevice)?;
                let forward = resume(&transaction, row, wish).await?;
                transaction.commit().await.attempt("resume session")?;
                let token = wish
                    .token
                    .clone()
                    .unwrap_or_else(|| Secret::new(String::new()));
                Ok(Session {
                    forward,
                    token,
                    node,
                    gave_way: None,
                })
            }
            None => {
                let order = |in_use| {
                    let preference = Preference {
                        server: wish.server.as_deref(),
                        region: Some(device.region.as_str()),
                    };
                    placing::order(nodes, &in_use, preference)
                };
                let nodes = order(placing::ports_in_use(&transaction).await?);
                self.start_session(transaction, &device, rows, nodes, wish)
                    .await
            }
        }
    }

    async fn start_session(
        &self,
        transaction: DatabaseTransaction,
        device: &device::Model,
        rows: Vec<forward::Model>,
        nodes: Vec<Node>,
        wish: &SessionWish,
    ) -> Result<Session, SessionError> {
        let not: Vec<u16> = rows
            .iter()
            .filter_map(|row| u16::try_from(row.public_port).ok())
            .chain(wish.port)
            .collect();
        let (node, port) = self.free_port(&transaction, nodes, &not).await?;
        let token = Secret::new(random::link_token());
        let written = async {
            let gave_way = make_room(&transaction, rows, wish).await?;
            let row = self.new_row(device.number, &node, port, wish, &token);
            let row = row.insert(&transaction).await.attempt("insert session")?;
            transaction.commit().await.attempt("insert session")?;
            Ok::<_, RegistryError>((Forward::try_from(row)?, gave_way))
        };
        let (forward, gave_way) = match written.await {
            Ok(written) => written,
            Err(error) => {
                self.store
                    .with_ports(|ports| ports.release([(node.name.as_str(), port)]));
                return Err(error.into());
            }
        };
        if let Some(old) = &gave_way {
            self.store.with_ports(|ports| {
                let port = u16::try_from(old.public_port).unwrap_or_default();
                ports.release([(old.node.as_str(), port)]);
            });
        }
        Ok(Session {
            forward,
            token,
            node,
            gave_way: gave_way.map(|old| ForwardId(old.id)),
        })
    }

    /// A free port on the first node that has one, none of `not`.
    async fn free_port(
        &self,
        transaction: &DatabaseTransaction,
        nodes: Vec<Node>,
        not: &[u16],
    ) -> Result<(Node, u16), SessionError> {
        for node in nodes {
            let mut left = Vec::new();
            let mut taken = None;
            // Each port that is not to be had can come up once.
            for _ in 0..=not.len() {
                let now = Instant::now();
                match self.store.take_port(transaction, &node, now).await? {
                    Some(port) if not.contains(&port) => left.push(port),
                    other => {
                        taken = other;
                        break;
                    }
                }
            }
            self.store.with_ports(|ports| {
                ports.release(left.iter().map(|port| (node.name.as_str(), *port)));
            });
            if let Some(port) = taken {
                return Ok((node, port));
            }
        }
        Err(SessionError::NoServer)
    }

    fn new_row(
        &self,
        device: i64,
        node: &Node,
        port: u16,
        wish: &SessionWish,
        token: &Secret<String>,
    ) -> forward::ActiveModel {
        let now = Timestamp::now();
        forward::ActiveModel {
            id: ActiveValue::NotSet,
            device_number: ActiveValue::Set(device),
            node: ActiveValue::Set(node.name.clone()),
            device_port: ActiveValue::Set(wish.device_port.into()),
            public_port: ActiveValue::Set(port.into()),
            is_first: ActiveValue::Set(false),
            session_token: ActiveValue::Set(Some(self.session_token_hash(token.expose()))),
            link_token: ActiveValue::Set(Some(random::link_token())),
            http_label: ActiveValue::Set(is_http(wish).then(random::http_label)),
            created_at: ActiveValue::Set(now.0),
            is_http: ActiveValue::Set(is_http(wish)),
            link_protection: ActiveValue::Set(wish.link_protection),
            killed: ActiveValue::Set(false),
            last_used_at: ActiveValue::Set(Some(now.0)),
        }
    }

    /// Notes what the client of a device said of itself; what is `None` stays.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn note_client(
        &self,
        device: &Device,
        version: Option<&str>,
        platform: Option<&str>,
    ) -> Result<(), RegistryError> {
        use sea_orm::sea_query::Expr;
        let columns = [
            (device::Column::ClientVersion, version),
            (device::Column::Platform, platform),
        ];
        let mut update = device::Entity::update_many();
        let mut said = false;
        for (column, value) in columns {
            if let Some(value) = value {
                update = update.col_expr(column, Expr::value(value));
                said = true;
            }
        }
        if said {
            update
                .filter(device::Column::Id.eq(device.id.0))
                .exec(&self.store.write)
                .await
                .attempt("note client of device")?;
        }
        Ok(())
    }
}

fn is_http(wish: &SessionWish) -> bool {
    wish.kind == ForwardKind::Http
}

async fn resume(
    transaction: &DatabaseTransaction,
    row: forward::Model,
    wish: &SessionWish,
) -> Result<Forward, SessionError> {
    if row.killed && wish.restart == Restart::ByItself {
        return Err(SessionError::Killed);
    }
    // A client that does not tell its port now meant the one it told before.
    let device_port = match wish.device_port {
        0 => row.device_port,
        port => port.into(),
    };
    let http_label = match &row.http_label {
        None if is_http(wish) => Some(random::http_label()),
        kept => kept.clone(),
    };
    let mut row: forward::ActiveModel = row.into();
    row.device_port = ActiveValue::Set(device_port);
    row.is_http = ActiveValue::Set(is_http(wish));
    row.http_label = ActiveValue::Set(http_label);
    row.link_protection = ActiveValue::Set(wish.link_protection);
    row.killed = ActiveValue::Set(false);
    row.last_used_at = ActiveValue::Set(Some(Timestamp::now().0));
    let row = row.update(transaction).await.attempt("resume session")?;
    Ok(Forward::try_from(row)?)
}

/// Removes the session that was unused longest when the device has as many as it may.
async fn make_room(
    transaction: &DatabaseTransaction,
    rows: Vec<forward::Model>,
    wish: &SessionWish,
) -> Result<Option<forward::Model>, RegistryError> {
    if rows.len() < MAX_SESSIONS {
        return Ok(None);
    }
    let oldest = rows
        .into_iter()
        .filter(|row| !row.is_first)
        .min_by_key(|row| {
            let in_use = wish.in_use.contains(&ForwardId(row.id));
            (in_use, row.last_used_at.unwrap_or(row.created_at), row.id)
        });
    if let Some(oldest) = &oldest {
        forward::Entity::delete_by_id(oldest.id)
            .exec(transaction)
            .await
            .attempt("release session")?;
    }
    Ok(oldest)
}
