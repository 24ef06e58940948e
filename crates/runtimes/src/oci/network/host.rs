//! What the host's own network is like: its addresses, and whether it leads anywhere.

use super::netlink::{Message, Netlink, ROUTES, attributes};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

const LIST_ROUTES: u16 = 26;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// Kinds of routes.
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const ANYCAST: u8 = 4;
/// Bytes of a route before its attributes, one of which is what it leads to.
const ROUTE_HEADER: usize = 12;
const TO: u16 = 1;

/// The network that this thread is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Host {
    /// What the kernel takes for its own, in order.
    pub(super) own: Vec<IpNet>,
    pub(super) ways: Ways,
}

/// Which families of addresses lead anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ways {
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

impl Ways {
    /// Whether there is one.
    pub(super) fn any(self) -> bool {
        self.ipv4 || self.ipv6
    }
}

impl Host {
    /// Looks at it now.
    pub(super) fn look() -> io::Result<Self> {
        let mut netlink = Netlink::open(ROUTES, 0)?;
        let mut host = Self::default();
        for family in [IPV4, IPV6] {
            let mut asked = [0; ROUTE_HEADER];
            asked[0] = family;
            for (_, route) in netlink.list(Message::new(LIST_ROUTES, 0, &asked))? {
                host.add(&route);
            }
        }
        host.own.sort_unstable();
        host.own.dedup();
        Ok(host)
    }

    fn add(&mut self, route: &[u8]) {
        let (Some(header), Some(rest)) = (route.get(..ROUTE_HEADER), route.get(ROUTE_HEADER..)) else {
            return;
        };
        let (family, length, kind) = (header[0], header[1], header[7]);
        match (kind, length, family) {
            (UNICAST, 0, IPV4) => self.ways.ipv4 = true,
            (UNICAST, 0, IPV6) => self.ways.ipv6 = true,
            (LOCAL | ANYCAST, ..) => {
                let to = attributes(rest).find(|(kind, _)| *kind == TO);
                self.own.extend(to.and_then(|(_, address)| network(address, length)));
            }
            _ => {}
        }
    }
}

fn network(address: &[u8], length: u8) -> Option<IpNet> {
    match address.len() {
        4 => {
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?);
            Ipv4Net::new(address, length).ok().map(IpNet::V4)
        }
        16 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?);
            Ipv6Net::new(address, length).ok().map(IpNet::V6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_loopback_is_its_own() {
        let host = Host::look().unwrap();
        assert!(
            host.own.iter().any(|own| own.contains(&std::net::IpAddr::V4(Ipv4Addr::LOCALHOST))),
            "{host:?}"
        );
    }
}
