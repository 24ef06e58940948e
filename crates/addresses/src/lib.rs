//! Addresses that nobody may have us connect to, whoever names them.
//!
//! A job names its image and a user a repository, and so whom we connect to. What answers there without
//! asking who knocks, with a cloud's credentials above all, must not be reached that way. Private
//! addresses and this machine's own may be: that is where operators have their registries and their
//! repositories.
//!
//! Invariant: no I/O. Whoever connects resolves names, and asks about each address it is about to use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside of the link-local ranges: Alibaba's, Azure's, Oracle's; Amazon's and
/// Google's by IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];
/// By addresses of these networks some routers, and some hosts, lead to those of IPv4 that they end with.
const TRANSLATED: [[u16; 6]; 2] = [[0x64, 0xff9b, 0, 0, 0, 0], [0; 6]];
/// By addresses of this network some routers lead to the one of IPv4 that follows the network's number.
const SIX_TO_FOUR: u16 = 0x2002;
/// By addresses of this network some routers lead to those of IPv4 as well, but where it stands in one is the
/// router's own affair.
const TRANSLATED_ANYHOW: [u16; 3] = [0x64, 0xff9b, 1];

/// Whether an address is link-local, a metadata service's, or none of any one host; or may stand for such a one.
pub fn is_forbidden(address: IpAddr) -> bool {
    let address = behind(address);
    METADATA.contains(&address)
        || address.is_unspecified()
        || address.is_multicast()
        || match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => {
                address.is_unicast_link_local() || address.segments()[..3] == TRANSLATED_ANYHOW
            }
        }
}

/// Whether the host of a URL, as it stands there, is this machine by its loopback.
pub fn is_loopback_host(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The address of IPv4 that one of IPv6 stands for.
fn behind(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    let (segments, octets) = (v6.segments(), v6.octets());
    if segments[0] == SIX_TO_FOUR {
        let [_, _, a, b, c, d, ..] = octets;
        return Ipv4Addr::new(a, b, c, d).into();
    }
    if TRANSLATED.iter().any(|network| segments.starts_with(network)) {
        let [.., a, b, c, d] = octets;
        return Ipv4Addr::new(a, b, c, d).into();
    }
    v6.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_name_and_its_addresses() {
        assert!(["localhost", "127.0.0.1", "127.9.9.9", "[::1]"].into_iter().all(is_loopback_host));
        let others = ["localhost.example", "10.0.0.1", "[::2]", "[::1", "", "example.com"];
        assert!(!others.into_iter().any(is_loopback_host));
    }

    #[test]
    fn link_local_and_metadata_addresses_are_forbidden_in_every_disguise() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::100.100.100.200",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2002:a9fe:a9fe::",
            "2002:a9fe:a9fe::a9fe:1",
            "2002:e000:1::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(is_forbidden(address.parse().expect(address)), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.5",
            "100.64.0.1",
            "fd00::5",
            "::1",
            "1.1.1.1",
            "64:ff9b::a00:1",
            "64:ff9b:2::a9fe:a9fe",
            "::10.1.2.3",
            "2002:a00:1::a9fe:a9fe",
            "2001:db8::a9fe:a9fe",
        ] {
            assert!(!is_forbidden(address.parse().expect(address)), "{address}");
        }
    }
}
