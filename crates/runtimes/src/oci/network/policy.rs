//! Which addresses a job may reach: the internet's, and what an operator allows besides.
//!
//! Pure: what the host's own addresses are is told, and what comes of it is a list that the [`super::filter`]
//! hands to the kernel as it stands.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};

/// Networks of IPv4 that are not on the internet, or not one host each. What an operator may allow.
const PRIVATE: [&str; 11] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    // Between carriers and their customers; some overlay networks as well.
    "100.64.0.0/10",
    // Protocols' own, documentation, and measurements.
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    // The relays of 6to4.
    "192.88.99.0/24",
    "240.0.0.0/4",
];
/// What nobody may allow: hosts themselves, whoever is on the same wire, metadata services, and what is no one
/// host.
const NEVER: [&str; 9] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    // Metadata services of Alibaba, Azure and Oracle.
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "192.0.0.170/31",
];
/// The same of IPv6. Those of IPv4 in its disguises are added.
const NEVER_V6: [&str; 9] = [
    // This host, and addresses of IPv4 written as ones of IPv6.
    "::/96",
    "::ffff:0.0.0.0/96",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    // Metadata services of Amazon and Google.
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    // Where translators find an address of IPv4 in these is their own affair.
    "64:ff9b:1::/48",
    // Tunnels that lead to an address of IPv4 which is not told plainly.
    "2001::/32",
];
/// What is left of IPv6 beside the networks of the internet, `2000::/3`. What an operator may allow.
const PRIVATE_V6: [&str; 6] = ["2001:db8::/32", "3fff::/20", "2002::/16", "::/3", "4000::/2", "8000::/1"];
/// By addresses that begin so, translators lead to those of IPv4 that they end with.
const TRANSLATED: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Refuse,
}

/// Packets to one network. The first rule that is about a packet decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) to: IpNet,
    pub(super) verdict: Verdict,
}

/// All rules for a host with its `own` addresses; jobs may reach what is `allowed`. What no rule is about passes.
///
/// An address of the host's own is only reached where it is allowed by itself: who allows a network thinks of
/// what else is there.
pub(super) fn rules(own: &[IpNet], allowed: &[IpNet]) -> Vec<Rule> {
    let mut refused = parsed(&NEVER);
    refused = [disguises(&refused), refused].concat();
    refused.extend(parsed(&NEVER_V6));
    let mut rules = all(refused, Verdict::Refuse);
    let is_host = |net: &&IpNet| net.prefix_len() == net.max_prefix_len();
    rules.extend(all(allowed.iter().filter(is_host).copied(), Verdict::Pass));
    rules.extend(all(own.iter().copied().chain(disguises(own)), Verdict::Refuse));
    rules.extend(all(allowed.iter().copied(), Verdict::Pass));
    let mut private = parsed(&PRIVATE);
    let translated = disguises(&private).into_iter().filter(is_translated);
    private = translated.chain(private.iter().copied()).collect();
    rules.extend(all(private, Verdict::Refuse));
    let translated = Ipv6Net::new_assert(TRANSLATED, 96);
    rules.extend(all([translated.into()], Verdict::Pass));
    rules.extend(all(parsed(&PRIVATE_V6), Verdict::Refuse));
    rules
}

/// Whether nobody may allow any of `network`.
pub(super) fn is_never_allowed(network: IpNet) -> bool {
    let mut never = parsed(&NEVER);
    never = [disguises(&never), never].concat();
    never.extend(parsed(&NEVER_V6));
    never.iter().any(|closed| closed.contains(&network))
}

fn all(networks: impl IntoIterator<Item = IpNet>, verdict: Verdict) -> Vec<Rule> {
    networks.into_iter().map(|to| Rule { to: to.trunc(), verdict }).collect()
}

/// What does not parse may not be left out: it would be open.
fn parsed(networks: &[&str]) -> Vec<IpNet> {
    let network = |text: &&str| text.parse().unwrap_or_else(|_| unreachable!("{text:?} is no network"));
    networks.iter().map(network).collect()
}

fn is_translated(network: &IpNet) -> bool {
    Ipv6Net::new_assert(TRANSLATED, 96).contains(&match network.addr() {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    })
}

/// The networks of IPv6 by whose addresses those of IPv4 might be reached: translated, and by 6to4.
fn disguises(networks: &[IpNet]) -> Vec<IpNet> {
    let of_ipv4 = networks.iter().filter_map(|network| match network {
        IpNet::V4(network) => Some(*network),
        IpNet::V6(_) => None,
    });
    of_ipv4.flat_map(disguised).collect()
}

fn disguised(network: Ipv4Net) -> [IpNet; 2] {
    let (bits, length) = (u128::from(u32::from(network.network())), network.prefix_len());
    let six_to_four = Ipv6Addr::from((0x2002 << 112) | (bits << 80));
    let translated = Ipv6Addr::from(u128::from(TRANSLATED) | bits);
    [
        Ipv6Net::new_assert(translated, 96 + length).into(),
        Ipv6Net::new_assert(six_to_four, 16 + length).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(rules: &[Rule], address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let about = rules.iter().find(|rule| rule.to.contains(&address));
        about.is_none_or(|rule| rule.verdict == Verdict::Pass)
    }

    fn nets(networks: &[&str]) -> Vec<IpNet> {
        networks.iter().map(|network| network.parse().unwrap()).collect()
    }

    const INTERNET: [&str; 9] = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "172.32.0.1",
        "100.63.255.255",
        "223.255.255.254",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "64:ff9b::101:101",
    ];
    const CLOSED: [&str; 37] = [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.7",
        "192.168.1.1",
        "198.19.0.1",
        "203.0.113.9",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::192.168.7.7",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::",
        "2002:102:304::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ];

    #[test]
    #[should_panic(expected = "is no network")]
    fn a_network_that_is_misspelt_is_not_left_open() {
        parsed(&["10.0.0.0/8", "172.16.0.0/33"]);
    }

    #[test]
    fn the_internet_is_reached_and_nothing_else() {
        let rules = rules(&[], &[]);
        for address in INTERNET {
            assert!(reaches(&rules, address), "{address}");
        }
        for address in CLOSED {
            assert!(!reaches(&rules, address), "{address}");
        }
    }

    #[test]
    fn whom_nobody_may_have_us_connect_to_no_job_connects_to() {
        let everything = rules(&[], &nets(&["0.0.0.0/0", "::/0"]));
        for address in [
            "169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "127.0.0.1",
        ] {
            let forbidden = addresses::is_forbidden(address.parse().unwrap());
            assert!(forbidden || address == "127.0.0.1", "{address}");
            assert!(!reaches(&everything, address), "{address}");
        }
        assert!(reaches(&everything, "10.0.0.1") && reaches(&everything, "fd00::1"));
    }

    #[test]
    fn what_is_allowed_is_reached_and_the_host_only_by_itself() {
        let own = nets(&["10.1.2.3/32", "198.51.100.7/32", "8.8.4.4/32", "2606:4700::5/128"]);
        let closed = rules(&own, &[]);
        for address in ["8.8.4.4", "2606:4700::5", "64:ff9b::808:404", "2002:808:404::"] {
            assert!(!reaches(&closed, address), "{address}");
        }
        assert!(reaches(&closed, "8.8.8.8") && reaches(&closed, "2606:4700::6"));
        let network = rules(&own, &nets(&["10.1.0.0/16"]));
        assert!(
            reaches(&network, "10.1.2.4") && !reaches(&network, "10.1.2.3") && !reaches(&network, "10.2.0.1")
        );
        let host = rules(&own, &nets(&["10.1.2.3/32", "8.8.4.4/32"]));
        assert!(reaches(&host, "10.1.2.3") && reaches(&host, "8.8.4.4") && !reaches(&host, "10.1.2.4"));
    }

    #[test]
    fn some_networks_nobody_may_allow() {
        for never in ["169.254.169.254/32", "127.0.0.0/8", "fe80::/64", "224.1.0.0/16", "64:ff9b::a9fe:0/112"]
        {
            assert!(is_never_allowed(never.parse().unwrap()), "{never}");
        }
        for may_be in ["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "192.0.2.0/24"] {
            assert!(!is_never_allowed(may_be.parse().unwrap()), "{may_be}");
        }
    }
}
