//! Addresses that no image comes from, whoever names them.
//!
//! A job chooses its image's name, and so whom the agent connects to: see [`addresses`].

use addresses::is_forbidden;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use url::{Host, Url};

/// A host that must not be connected to, and its address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} has the address {address}, which is link-local or a metadata service's")]
struct Forbidden {
    host: String,
    address: IpAddr,
}

/// A name that is nobody's: name servers answered, and no file of this machine has it either.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no host has the name {host}")]
struct Unknown {
    host: String,
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
            // The standard library does not tell a name that is none from servers that do not answer.
            let found = tokio::task::spawn_blocking(move || addresses_of(name.as_str())).await??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Blocking.
fn addresses_of(host: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    let once_each = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    match getaddrinfo(Some(host), None, Some(once_each)) {
        // The port is the caller's business.
        Ok(found) => found.map(|found| Ok(found?.sockaddr)).collect(),
        Err(error) => Err(match error.kind() {
            LookupErrorKind::NoName => Unknown { host: host.to_owned() }.into(),
            _ => io::Error::from(error).into(),
        }),
    }
}

/// Why `error`, if it is for a forbidden address that nobody was connected to.
pub(super) fn forbidden_by(error: &(dyn Error + 'static)) -> Option<IpAddr> {
    cause_of(error).map(|Forbidden { address, .. }| *address)
}

/// The name that is nobody's, if that is why `error` came.
pub(super) fn unknown_by<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e str> {
    cause_of(error).map(|Unknown { host }| host.as_str())
}

/// What of this type is among the causes of `error`.
fn cause_of<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    std::iter::successors(Some(error), |error| (**error).source()).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_addresses_are_seen_in_every_disguise_that_a_url_has() {
        for host in [
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fe80::1]",
        ] {
            let url = format!("https://{host}/v2/").parse().expect(host);
            assert!(forbidden_in(&url).is_some(), "{host}");
        }
        for host in ["127.0.0.1", "10.1.2.3", "[fd00::5]", "[::1]", "r.test"] {
            let url = format!("https://{host}/v2/").parse().expect(host);
            assert_eq!(forbidden_in(&url), None, "{host}");
        }
    }
}
