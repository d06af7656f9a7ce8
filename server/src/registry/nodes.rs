//! Nodes, which are the regions that devices connect to.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ColumnTrait as _, DatabaseTransaction, EntityTrait as _};
use sea_orm::{PaginatorTrait as _, QueryFilter as _, QueryOrder as _};

use super::entity::node;
use super::error::{Attempt as _, ForwardError, RegistryError};
use super::model::{Node, NodeStatus};
use super::{Registry, is_storable};

/// In `nodes.engine`: there is one, and it did not answer.
const ENGINE_UNREACHABLE: &str = "unreachable";

impl Registry {
    /// Adds a node, or replaces what is known of the one with its name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn put_node(&self, new: Node) -> Result<(), RegistryError> {
        let row = node::ActiveModel {
            name: ActiveValue::Set(new.name),
            public_host: ActiveValue::Set(new.public_host),
            ssh_port: ActiveValue::Set(new.ssh_port.into()),
            host_key: ActiveValue::Set(new.host_key),
            status: ActiveValue::Set(new.status.as_str().to_owned()),
            port_first: ActiveValue::Set(new.ports.0.into()),
            port_last: ActiveValue::Set(new.ports.1.into()),
            engine: ActiveValue::NotSet,
            names_domain: ActiveValue::Set(new.names_domain),
        };
        let replace = OnConflict::column(node::Column::Name)
            .update_columns([
                node::Column::PublicHost,
                node::Column::SshPort,
                node::Column::HostKey,
                node::Column::Status,
                node::Column::PortFirst,
                node::Column::PortLast,
                node::Column::NamesDomain,
            ])
            .to_owned();
        node::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&self.store.write)
            .await
            .attempt("put node")?;
        Ok(())
    }

    /// The node of this name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn node(&self, name: &str) -> Result<Option<Node>, RegistryError> {
        if !is_storable(name) {
            return Ok(None);
        }
        node::Entity::find_by_id(name)
            .one(&self.store.read)
            .await
            .attempt("read node")?
            .map(Node::try_from)
            .transpose()
    }

    /// Whether some node has a container engine that did not answer when it was last asked.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn any_engine_unreachable(&self) -> Result<bool, RegistryError> {
        let count = node::Entity::find()
            .filter(node::Column::Engine.eq(ENGINE_UNREACHABLE))
            .count(&self.store.read)
            .await
            .attempt("ask for container engines")?;
        Ok(count > 0)
    }

    /// All nodes, by name.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, RegistryError> {
        node::Entity::find()
            .order_by_asc(node::Column::Name)
            .all(&self.store.read)
            .await
            .attempt("list nodes")?
            .into_iter()
            .map(Node::try_from)
            .collect()
    }
}

impl TryFrom<node::Model> for Node {
    type Error = RegistryError;

    fn try_from(row: node::Model) -> Result<Self, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        let port = |number: i32| u16::try_from(number).map_err(|_| damaged("nodes.ports"));
        Ok(Self {
            ssh_port: port(row.ssh_port)?,
            ports: (port(row.port_first)?, port(row.port_last)?),
            status: NodeStatus::parse(&row.status).ok_or_else(|| damaged("nodes.status"))?,
            name: row.name,
            public_host: row.public_host,
            names_domain: row.names_domain,
            host_key: row.host_key,
        })
    }
}

/// The node of that name, which takes new forwards.
pub(super) async fn active_node(
    transaction: &DatabaseTransaction,
    name: &str,
) -> Result<Node, ForwardError> {
    let row = node::Entity::find_by_id(name)
        .one(transaction)
        .await
        .attempt("read node")?
        .ok_or(ForwardError::UnknownRegion)?;
    let node = Node::try_from(row)?;
    if node.status == NodeStatus::Active {
        Ok(node)
    } else {
        Err(ForwardError::NodeUnavailable)
    }
}
