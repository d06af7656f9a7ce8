//! [`Open`]: the visitors' connections of one tunnel, by the names they have in its messages. Pure.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::frame::ConnectionName;

/// Connections that one WebSocket carries at once, each with its backlog; what comes beyond is refused.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// How long the name of a connection that we closed is not given to another one: the device may have sent data or a
/// close for it just before it heard of ours.
const REST: Duration = Duration::from_secs(60);
/// Names that rest at once; beyond it the oldest is free early.
const MAX_RESTING: usize = 1024;
/// First address of `240.0.0.0/4`, which no visitor has.
const STAND_INS: u32 = 0xf000_0000;
/// How many of them there are, without the broadcast address at the end and the first one.
const STAND_IN_COUNT: u32 = 0x0fff_fffe;

/// Connections by name.
#[derive(Debug)]
pub(super) struct Open<T> {
    connections: HashMap<ConnectionName, T>,
    resting: VecDeque<(Instant, ConnectionName)>,
    last_stand_in: u32,
}

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self {
            connections: HashMap::new(),
            resting: VecDeque::new(),
            last_stand_in: 0,
        }
    }
}

impl<T> Open<T> {
    /// Adds a connection and names it: by the visitor's own address and port where that is possible, else by an
    /// address from `240.0.0.0/4`, as for IPv6 and for a visitor with several connections from one port (an HTTP/2
    /// connection is that). Gives the connection back when there are too many.
    pub(super) fn add(
        &mut self,
        visitor: SocketAddr,
        connection: T,
        now: Instant,
    ) -> Result<ConnectionName, T> {
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            self.resting.pop_front();
        }
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
        let name = match own.filter(|name| self.is_free(name)) {
            Some(name) => name,
            None => self.stand_in(port),
        };
        self.connections.insert(name, connection);
        Ok(name)
    }

    fn is_free(&self, name: &ConnectionName) -> bool {
        !self.connections.contains_key(name) && !self.resting.iter().any(|(_, one)| one == name)
    }

    /// There are more of them than connections, so one is free.
    fn stand_in(&mut self, port: u16) -> ConnectionName {
        loop {
            self.last_stand_in = self.last_stand_in % STAND_IN_COUNT + 1;
            let address = Ipv4Addr::from(STAND_INS + self.last_stand_in);
            let name = ConnectionName { address, port };
            if self.is_free(&name) {
                return name;
            }
        }
    }

    pub(super) fn get(&self, name: &ConnectionName) -> Option<&T> {
        self.connections.get(name)
    }

    /// Removes a connection that is closed from our side, and lets its name rest.
    pub(super) fn retire(&mut self, name: &ConnectionName, now: Instant) -> Option<T> {
        let removed = self.connections.remove(name)?;
        if self.resting.len() >= MAX_RESTING {
            self.resting.pop_front();
        }
        self.resting.push_back((now + REST, *name));
        Some(removed)
    }

    /// Removes a connection that the device closed; nothing more comes of it.
    pub(super) fn remove(&mut self, name: &ConnectionName) -> Option<T> {
        self.connections.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(open: &mut Open<()>, visitor: &str, now: Instant) -> String {
        let name = open.add(visitor.parse().unwrap(), (), now).unwrap();
        format!("{}:{}", name.address, name.port)
    }

    #[test]
    fn a_visitor_is_called_by_its_address_unless_that_is_taken_or_too_long() {
        let mut open = Open::default();
        let now = Instant::now();
        let mut named = |visitor| named(&mut open, visitor, now);
        assert_eq!(named("192.0.2.7:40000"), "192.0.2.7:40000");
        assert_eq!(named("192.0.2.7:40000"), "240.0.0.1:40000");
        assert_eq!(named("[2001:db8::1]:40000"), "240.0.0.2:40000");
        assert_eq!(named("[::ffff:192.0.2.8]:1"), "192.0.2.8:1");
        assert_eq!(named("250.1.1.1:9"), "240.0.0.3:9");
        open.last_stand_in = STAND_IN_COUNT - 1;
        assert_eq!(self::named(&mut open, "[::1]:9", now), "255.255.255.254:9");
        assert_eq!(self::named(&mut open, "[::1]:9", now), "240.0.0.1:9");
    }

    #[test]
    fn a_name_rests_after_we_closed_it_and_is_free_at_once_after_the_device_did() {
        let mut open = Open::default();
        let now = Instant::now();
        let visitor = "192.0.2.7:40000";
        let name = open.add(visitor.parse().unwrap(), (), now).unwrap();
        assert_eq!(open.remove(&name), Some(()));
        assert_eq!(named(&mut open, visitor, now), visitor);
        assert_eq!(open.retire(&name, now), Some(()));
        assert_eq!(named(&mut open, visitor, now), "240.0.0.1:40000");
        assert_eq!(named(&mut open, visitor, now + REST), visitor);
        assert!(open.resting.is_empty());
    }

    #[test]
    fn there_is_a_limit() {
        let mut open = Open::default();
        let (visitor, now) = ("[::1]:9".parse().unwrap(), Instant::now());
        let added = (0..MAX_CONNECTIONS + 1).map_while(|_| open.add(visitor, (), now).ok());
        assert_eq!(added.count(), MAX_CONNECTIONS);
    }
}
