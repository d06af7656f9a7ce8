//! Which public ports of each node are free: kept in memory, since looking for a gap in the table takes too long.
//!
//! The table stays the judge: its unique index refuses a port that another process gave away meanwhile, after which
//! everything here is forgotten and read anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::model::Node;

/// A full node is read anew from the table at most this often: another process may have released ports.
const REFRESH: Duration = Duration::from_secs(1);
const PORTS: usize = 1 << 16;

/// What a node's free ports are known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// This one, now taken.
    Port(u16),
    /// There is none.
    None,
    /// Not known: call [`Ports::load`] and take again.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Ports {
    nodes: HashMap<String, NodePorts>,
}

#[derive(Debug)]
struct NodePorts {
    range: (u16, u16),
    used: Vec<bool>,
    free: usize,
    /// Where to look next. Going round keeps a released port unused for as long as possible, so that its old visitors
    /// do not meet another device.
    next: u16,
    loaded_at: Instant,
}

impl Ports {
    /// Takes a free port of `node`.
    pub(super) fn take(&mut self, node: &Node, now: Instant) -> Take {
        match self.nodes.get_mut(&node.name) {
            Some(ports) if ports.range == node.ports => match ports.take() {
                Some(port) => Take::Port(port),
                None if now.duration_since(ports.loaded_at) < REFRESH => Take::None,
                None => Take::Unknown,
            },
            _ => Take::Unknown,
        }
    }

    /// Notes which ports of `node` are in use.
    pub(super) fn load(
        &mut self,
        node: &Node,
        in_use: impl IntoIterator<Item = u16>,
        now: Instant,
    ) {
        let mut ports = NodePorts {
            range: node.ports,
            used: vec![false; PORTS],
            free: 0,
            next: node.ports.0,
            loaded_at: now,
        };
        for port in in_use {
            if let Some(used) = ports.used.get_mut(usize::from(port)) {
                *used = true;
            }
        }
        ports.free = (node.ports.0..=node.ports.1)
            .filter(|port| !ports.is_used(*port))
            .count();
        // Going on where a former process left off, as far as the table shows it.
        ports.next = (node.ports.0..=node.ports.1)
            .rev()
            .find(|port| ports.is_used(*port))
            .map_or(node.ports.0, |last| ports.following(last));
        self.nodes.insert(node.name.clone(), ports);
    }

    /// Notes that ports are free again.
    pub(super) fn release<'a>(&mut self, ports: impl IntoIterator<Item = (&'a str, u16)>) {
        for (node, port) in ports {
            if let Some(node) = self.nodes.get_mut(node) {
                node.release(port);
            }
        }
    }

    /// Forgets everything, after the table disagreed.
    pub(super) fn forget(&mut self) {
        self.nodes.clear();
    }
}

impl NodePorts {
    fn take(&mut self) -> Option<u16> {
        if self.free == 0 {
            return None;
        }
        let start = self.next;
        let mut port = start;
        loop {
            if !self.is_used(port) {
                *self.used.get_mut(usize::from(port))? = true;
                self.free -= 1;
                self.next = self.following(port);
                return Some(port);
            }
            port = self.following(port);
            if port == start {
                return None;
            }
        }
    }

    fn release(&mut self, port: u16) {
        if !(self.range.0..=self.range.1).contains(&port) {
            return;
        }
        if let Some(used) = self.used.get_mut(usize::from(port))
            && *used
        {
            *used = false;
            self.free += 1;
        }
    }

    fn is_used(&self, port: u16) -> bool {
        self.used.get(usize::from(port)).copied().unwrap_or(true)
    }

    fn following(&self, port: u16) -> u16 {
        if port >= self.range.1 {
            self.range.0
        } else {
            port + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model::NodeStatus;

    fn node(ports: (u16, u16)) -> Node {
        Node {
            name: "eu1".into(),
            public_host: String::new(),
            ssh_port: 22,
            host_key: String::new(),
            status: NodeStatus::Active,
            ports,
            names_domain: None,
        }
    }

    #[test]
    fn every_port_is_given_once_and_again_after_its_release() {
        let (mut ports, node, now) = (Ports::default(), node((65_530, 65_535)), Instant::now());
        assert_eq!(ports.take(&node, now), Take::Unknown);
        ports.load(&node, [65_531], now);
        let mut taken: Vec<_> = (0..5).map(|_| ports.take(&node, now)).collect();
        taken.sort_by_key(|take| match take {
            Take::Port(port) => *port,
            _ => 0,
        });
        let expected = [65_530, 65_532, 65_533, 65_534, 65_535].map(Take::Port);
        assert_eq!(taken, expected);
        assert_eq!(ports.take(&node, now), Take::None);
        assert_eq!(ports.take(&node, now + REFRESH), Take::Unknown);
        ports.release([
            ("eu1", 65_533),
            ("eu1", 65_533),
            ("eu1", 1),
            ("us1", 65_534),
        ]);
        assert_eq!(ports.take(&node, now), Take::Port(65_533));
        assert_eq!(ports.take(&node, now), Take::None);
    }

    #[test]
    fn a_released_port_rests_as_long_as_others_are_free() {
        let (mut ports, node, now) = (Ports::default(), node((1, 3)), Instant::now());
        ports.load(&node, [], now);
        assert_eq!(ports.take(&node, now), Take::Port(1));
        ports.release([("eu1", 1)]);
        assert_eq!(ports.take(&node, now), Take::Port(2));
    }

    #[test]
    fn another_range_is_read_anew() {
        let (mut ports, now) = (Ports::default(), Instant::now());
        ports.load(&node((1, 3)), [], now);
        assert_eq!(ports.take(&node((1, 4)), now), Take::Unknown);
    }
}
