//! Whom a connection comes from, as far as that tells one client from another.
//!
//! Clients of the public API may all share one token, so their addresses are what sets them apart.
//! Behind a proxy that the operator did not name that is one address for all of them: what is refused to one client for the sake of
//! the others is therefore never more than a part of everything.

use std::net::{IpAddr, Ipv6Addr};

/// The address at the other end of a connection, for people. Goes with each of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) IpAddr);

/// The host at the other end of a connection. Goes with each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

impl Peer {
    /// Whom an address belongs to: with version 6 a host has as many as it likes below one prefix.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_a_prefix_are_one_host() {
        let of = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
