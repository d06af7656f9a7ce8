//! On which node a new session or a new device is placed (openport contract section 5, rule 3).

use std::cmp::Reverse;
use std::collections::HashMap;

use sea_orm::{DatabaseTransaction, EntityTrait as _, QuerySelect as _};

use crate::registry::entity::{forward, node};
use crate::registry::error::{Attempt as _, RegistryError};
use crate::registry::model::{Node, NodeStatus};

/// What a caller prefers.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::registry) struct Preference<'a> {
    /// Public DNS name or name of a node.
    pub(in crate::registry) server: Option<&'a str>,
    /// The region that counts when no server was named.
    pub(in crate::registry) region: Option<&'a str>,
}

/// All nodes.
pub(in crate::registry) async fn nodes(
    transaction: &DatabaseTransaction,
) -> Result<Vec<Node>, RegistryError> {
    node::Entity::find()
        .all(transaction)
        .await
        .attempt("read nodes")?
        .into_iter()
        .map(Node::try_from)
        .collect()
}

/// Ports in use by node.
pub(in crate::registry) async fn ports_in_use(
    transaction: &DatabaseTransaction,
) -> Result<HashMap<String, i64>, RegistryError> {
    let rows: Vec<(String, i64)> = forward::Entity::find()
        .select_only()
        .column(forward::Column::Node)
        .column_as(sea_orm::ColumnTrait::count(&forward::Column::Id), "used")
        .group_by(forward::Column::Node)
        .into_tuple()
        .all(transaction)
        .await
        .attempt("count ports in use")?;
    Ok(rows.into_iter().collect())
}

/// The active nodes, the one to try first in front: the server that was asked for, the region, then those with most
/// free ports.
pub(in crate::registry) fn order(
    nodes: Vec<Node>,
    in_use: &HashMap<String, i64>,
    wanted: Preference<'_>,
) -> Vec<Node> {
    let mut active: Vec<Node> = nodes
        .into_iter()
        .filter(|node| node.status == NodeStatus::Active)
        .collect();
    active.sort_by_cached_key(|node| {
        let asked = wanted.server.is_some_and(|server| {
            server.eq_ignore_ascii_case(&node.public_host)
                || server.eq_ignore_ascii_case(&node.name)
        });
        let home = wanted.region == Some(node.name.as_str());
        let (first, last) = node.ports;
        let all = i64::from(last) - i64::from(first) + 1;
        let free = all - in_use.get(&node.name).copied().unwrap_or(0);
        (Reverse((asked, home, free)), node.name.clone())
    });
    active
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, status: NodeStatus) -> Node {
        Node {
            name: name.into(),
            public_host: format!("{name}.example.net"),
            ssh_port: 22,
            host_key: String::new(),
            status,
            ports: (1, 100),
            names_domain: None,
        }
    }

    fn first(wanted: Preference<'_>) -> String {
        let nodes = vec![
            node("eu1", NodeStatus::Active),
            node("us1", NodeStatus::Active),
            node("ap1", NodeStatus::Draining),
        ];
        let in_use = HashMap::from([("eu1".to_owned(), 10)]);
        order(nodes, &in_use, wanted).swap_remove(0).name
    }

    #[test]
    fn the_server_then_the_region_then_the_emptiest_node() {
        let wanted = |server, region| first(Preference { server, region });
        assert_eq!(wanted(Some("EU1.example.net"), Some("us1")), "eu1");
        assert_eq!(wanted(Some("eu1"), None), "eu1");
        assert_eq!(wanted(Some("mars"), Some("eu1")), "eu1");
        assert_eq!(wanted(Some("ap1"), None), "us1", "only active ones");
        assert_eq!(wanted(None, Some("ap1")), "us1");
        assert_eq!(wanted(None, None), "us1");
    }
}
