//! [`TrustedProxies`]: who may say in `X-Forwarded-For` where a request came from.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::HeaderMap;
use serde::{Deserialize, Deserializer, de};

/// Hops of `X-Forwarded-For` that are looked at; further ones are none of a proxy of ours.
const MAX_HOPS: usize = 32;
const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address range such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` is in it; an IPv4 address may come mapped into IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
                (u32::from(own) ^ u32::from(other)) & mask.unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix));
                (u128::from(own) ^ u128::from(other)) & mask.unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let parsed = address.trim().parse().ok().and_then(|address: IpAddr| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let prefix = match prefix {
                Some(prefix) => prefix.trim().parse().ok()?,
                None => most,
            };
            (prefix <= most).then_some(Self { address, prefix })
        });
        parsed.ok_or_else(|| format!("`{text}` is not a network such as 10.0.0.0/8"))
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The proxies in front of the server. None unless configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(pub Vec<Network>);

impl TrustedProxies {
    /// The visitor's address: that of the `peer`, but of a trusted proxy the address it names as its own peer, and so
    /// on. What a visitor itself wrote into the header is left of the first address that no proxy of ours has, and
    /// does not count.
    #[must_use]
    pub fn visitor(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut visitor = peer.to_canonical();
        if !self.trusts(visitor) {
            return visitor;
        }
        let lines: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = address(hop.trim()) else {
                return visitor;
            };
            visitor = address.to_canonical();
            if !self.trusts(visitor) {
                return visitor;
            }
        }
        visitor
    }

    /// Whether that is one of them.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Some proxies add the port: `192.0.2.1:5000`, `[2001:db8::1]:5000`.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(hop)
        .parse()
        .ok()
        .or_else(|| Some(hop.parse::<std::net::SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn visitor(proxies: &[&str], peer: &str, lines: &[&'static str]) -> String {
        let networks = proxies.iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let peer = peer.parse().unwrap();
        TrustedProxies(networks).visitor(peer, &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let own = ["10.0.0.0/8", "2001:db8::/32"];
        let client = "203.0.113.9";
        assert_eq!(visitor(&[], "10.0.0.1", &[client]), "10.0.0.1");
        assert_eq!(visitor(&own, "192.0.2.1", &[client]), "192.0.2.1");
        assert_eq!(visitor(&own, "::ffff:10.0.0.1", &[client]), client);
        assert_eq!(visitor(&own, "2001:db8::7", &[client]), client);
        assert_eq!(visitor(&own, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(visitor(&own, "10.0.0.1", &["rubbish"]), "10.0.0.1");
    }

    #[test]
    fn what_the_visitor_wrote_itself_does_not_count() {
        let own = ["10.0.0.0/8"];
        let lines = ["1.1.1.1, 203.0.113.9, 10.9.9.9"];
        assert_eq!(visitor(&own, "10.0.0.1", &lines), "203.0.113.9");
        let two = ["1.1.1.1", "[2001:db8::9]:443, 10.9.9.9:80"];
        assert_eq!(visitor(&own, "10.0.0.1", &two), "2001:db8::9");
        assert_eq!(visitor(&["0.0.0.0/0"], "10.0.0.1", &lines), "1.1.1.1");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/x",
            "host",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
