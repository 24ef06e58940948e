//! Addresses that no image comes from, whoever names them.
//!
//! A job chooses its image's name, and so whom the agent connects to. What answers there without
//! asking who knocks, with a cloud's credentials above all, must not be reached that way. Private
//! addresses may be: that is where operators have their registries.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use url::{Host, Url};

/// Metadata services outside of the link-local ranges: Alibaba's, Azure's, Oracle's; Amazon's and
/// Google's by IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];
/// By addresses of this network some routers lead to those of IPv4 that they end with.
const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// A host that must not be connected to, and its address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} has the address {address}, which is link-local or a metadata service's")]
struct Forbidden {
    host: String,
    address: IpAddr,
}

/// The address that `url` names, if it is one that must not be connected to.
pub(super) fn forbidden_in(url: &Url) -> Option<IpAddr> {
    let address = match url.host()? {
        Host::Domain(_) => return None,
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
    };
    is_forbidden(address).then_some(address)
}

fn is_forbidden(address: IpAddr) -> bool {
    let address = behind(address);
    METADATA.contains(&address)
        || address.is_unspecified()
        || address.is_multicast()
        || match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
}

/// The address of IPv4 that one of IPv6 stands for.
fn behind(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == TRANSLATED => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

/// Resolves names, and none of which any address is forbidden.
#[derive(Clone)]
pub(super) struct Guard(Arc<dyn Resolve>);

impl Default for Guard {
    /// As this system resolves them.
    fn default() -> Self {
        Self(Arc::new(OfSystem))
    }
}

#[cfg(test)]
impl Guard {
    /// As if every name had these addresses.
    pub(super) fn leading_to(addresses: [IpAddr; 2]) -> Self {
        struct Everywhere([IpAddr; 2]);
        impl Resolve for Everywhere {
            fn resolve(&self, _: Name) -> Resolving {
                let found = self.0.map(|address| SocketAddr::new(address, 0));
                Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
            }
        }
        Self(Arc::new(Everywhere(addresses)))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let found = self.0.resolve(name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = found.await?.collect();
            match addresses.iter().map(SocketAddr::ip).find(|address| is_forbidden(*address)) {
                Some(address) => Err(Forbidden { host, address }.into()),
                None => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

struct OfSystem;

impl Resolve for OfSystem {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the caller's business.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Why `error`, if it is for a forbidden address that nobody was connected to.
pub(super) fn forbidden_by(error: &(dyn Error + 'static)) -> Option<IpAddr> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(Forbidden { address, .. }) = error.downcast_ref() {
            return Some(*address);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_forbidden_in_every_disguise() {
        for host in [
            "169.254.169.254",
            "169.254.0.1",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "[::]",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let url = format!("https://{host}/v2/").parse().expect(host);
            assert!(forbidden_in(&url).is_some(), "{host}");
        }
        for host in
            ["127.0.0.1", "10.1.2.3", "192.168.0.5", "100.64.0.1", "[fd00::5]", "[::1]", "1.1.1.1", "r.test"]
        {
            let url = format!("https://{host}/v2/").parse().expect(host);
            assert_eq!(forbidden_in(&url), None, "{host}");
        }
    }
}
