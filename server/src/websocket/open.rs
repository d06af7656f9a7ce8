//! [`Open`]: the visitors' connections of one tunnel, by the names they have in its messages. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::frame::ConnectionName;

/// Connections that one WebSocket carries at once, each with its backlog; what comes beyond is refused.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// First address of `240.0.0.0/4`, which no visitor has.
const STAND_INS: u32 = 0xf000_0000;
/// How many of them there are, without the broadcast address at the end and the first one.
const STAND_IN_COUNT: u32 = 0x0fff_fffe;

/// Connections by name.
#[derive(Debug)]
pub(super) struct Open<T> {
    connections: HashMap<ConnectionName, T>,
    last_stand_in: u32,
}

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self {
            connections: HashMap::new(),
            last_stand_in: 0,
        }
    }
}

impl<T> Open<T> {
    /// Adds a connection and names it: by the visitor's own address and port where that is possible, else by an
    /// address from `240.0.0.0/4`, as for IPv6 and for a visitor with several connections from one port (an HTTP/2
    /// connection is that). Gives the connection back when there are too many.
    pub(super) fn add(&mut self, visitor: SocketAddr, connection: T) -> Result<ConnectionName, T> {
        if self.connections.len() >= MAX_CONNECTIONS {
            return Err(connection);
        }
        let port = visitor.port().max(1);
        let own = match visitor.ip().to_canonical() {
            IpAddr::V4(address) if u32::from(address) < STAND_INS => {
                Some(ConnectionName { address, port })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        };
        let name = match own.filter(|name| !self.connections.contains_key(name)) {
            Some(name) => name,
            None => self.stand_in(port),
        };
        self.connections.insert(name, connection);
        Ok(name)
    }

    /// There are more of them than connections, so one is free.
    fn stand_in(&mut self, port: u16) -> ConnectionName {
        loop {
            self.last_stand_in = self.last_stand_in % STAND_IN_COUNT + 1;
            let address = Ipv4Addr::from(STAND_INS + self.last_stand_in);
            let name = ConnectionName { address, port };
            if !self.connections.contains_key(&name) {
                return name;
            }
        }
    }

    pub(super) fn get(&self, name: &ConnectionName) -> Option<&T> {
        self.connections.get(name)
    }

    pub(super) fn remove(&mut self, name: &ConnectionName) -> Option<T> {
        self.connections.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(open: &mut Open<()>, visitor: &str) -> String {
        let name = open.add(visitor.parse().unwrap(), ()).unwrap();
        format!("{}:{}", name.address, name.port)
    }

    #[test]
    fn a_visitor_is_called_by_its_address_unless_that_is_taken_or_too_long() {
        let mut open = Open::default();
        assert_eq!(named(&mut open, "192.0.2.7:40000"), "192.0.2.7:40000");
        assert_eq!(named(&mut open, "192.0.2.7:40000"), "240.0.0.1:40000");
        assert_eq!(named(&mut open, "[2001:db8::1]:40000"), "240.0.0.2:40000");
        assert_eq!(named(&mut open, "[::ffff:192.0.2.8]:1"), "192.0.2.8:1");
        assert_eq!(named(&mut open, "250.1.1.1:9"), "240.0.0.3:9");
        open.last_stand_in = STAND_IN_COUNT - 1;
        assert_eq!(named(&mut open, "[::1]:9"), "255.255.255.254:9");
        assert_eq!(named(&mut open, "[::1]:9"), "240.0.0.1:9");
        let first = "192.0.2.7:40000".parse().unwrap();
        let SocketAddr::V4(v4) = first else {
            unreachable!()
        };
        let name = ConnectionName {
            address: *v4.ip(),
            port: v4.port(),
        };
        open.remove(&name).unwrap();
        assert_eq!(named(&mut open, "192.0.2.7:40000"), "192.0.2.7:40000");
    }

    #[test]
    fn there_is_a_limit() {
        let mut open = Open::default();
        let visitor = "[::1]:9".parse().unwrap();
        let added = (0..MAX_CONNECTIONS + 1).map_while(|_| open.add(visitor, ()).ok());
        assert_eq!(added.count(), MAX_CONNECTIONS);
    }
}
