//! What a job would meet on its way to a server: tried out of a network such as jobs have, since what reaches it from the
//! host may not do so from there.

use super::policy::{self, Verdict};
use super::question;
use super::{DNS, DNS_V6, Means, Network};
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_millis(600);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 2;

/// What was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its addresses, as jobs are told them, and what became of a connection to each; or why there are none.
    pub met: Result<Vec<(IpAddr, Met)>, String>,
}

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// Somebody accepted it.
    Accepted,
    /// Jobs may not reach that address; whether an operator can allow it.
    Closed {
        /// Whether [`super::NetworkOptions::allowed`] can open it.
        may_be_opened: bool,
    },
    /// Why it failed otherwise.
    Failed(String),
}

/// Tries to reach `port` of `host`, a name or an address, with files in `scratch`. Blocking, for some seconds at most.
pub(in crate::oci) fn visit(
    (host, port): (&str, u16),
    means: &Means,
    ordinary: bool,
    scratch: &Path,
) -> io::Result<Visit> {
    let mut network = Network::make(means, ordinary, None)?;
    network.begin(means, scratch)?;
    network.wait_until_up().map_err(io::Error::other)?;
    let resolver = network.resolver().unwrap_or_default();
    let own = network.closed.own.clone();
    network.namespace.inside(|| {
        let addresses = match host.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => resolve(host, &resolver, network.closed.ways.ipv4),
        };
        let met = |address: IpAddr| (address, meet(SocketAddr::new(address, port), &own, &means.allowed));
        Ok(Visit { met: addresses.map(|found| found.into_iter().take(ADDRESSES).map(met).collect()) })
    })
}

fn meet(address: SocketAddr, own: &[IpNet], allowed: &[IpNet]) -> Met {
    if judge(address.ip(), own, allowed) == Verdict::Refuse {
        return Met::Closed { may_be_opened: !policy::is_never_allowed(address.ip().into()) };
    }
    match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
        Ok(_) => Met::Accepted,
        Err(error) => Met::Failed(error.to_string()),
    }
}

/// What becomes of a packet to `address`.
fn judge(address: IpAddr, own: &[IpNet], allowed: &[IpNet]) -> Verdict {
    let rules = policy::rules(own, allowed);
    rules.iter().find(|rule| rule.to.contains(&address)).map_or(Verdict::Pass, |rule| rule.verdict)
}

/// As a job's programs do, by what is in its `/etc/resolv.conf`.
fn resolve(name: &str, resolver: &str, by_ipv4: bool) -> Result<Vec<IpAddr>, String> {
    let server = if by_ipv4 { IpAddr::from(DNS) } else { DNS_V6.into() };
    for full in candidates(name, resolver) {
        match question::ask(server, &full) {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            // Another name would wait as long.
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("no server knows an address of it".to_owned())
}

/// A name with a dot is meant as it stands first, one without last.
fn candidates(name: &str, resolver: &str) -> Vec<String> {
    let mut lists = resolver
        .lines()
        .filter_map(|line| line.strip_prefix("search ").or_else(|| line.strip_prefix("domain ")));
    let searched = lists.next_back().into_iter().flat_map(str::split_whitespace);
    let mut all: Vec<String> = searched.map(|domain| format!("{name}.{domain}")).collect();
    let place = if name.contains('.') { 0 } else { all.len() };
    all.insert(place, name.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_for_where_a_job_looks() {
        let resolver = "nameserver 198.18.61.3\nsearch corp.example svc\noptions edns0\n";
        assert_eq!(
            candidates("sg.example", resolver),
            ["sg.example", "sg.example.corp.example", "sg.example.svc"]
        );
        assert_eq!(candidates("sg", resolver), ["sg.corp.example", "sg.svc", "sg"]);
        assert_eq!(candidates("sg", ""), ["sg"]);
    }

    #[test]
    fn what_is_closed_is_told_from_what_fails() {
        let at = |text: &str| text.parse().unwrap();
        let own: [IpNet; 1] = ["10.9.8.7/32".parse().unwrap()];
        let allowed: [IpNet; 1] = ["10.9.0.0/16".parse().unwrap()];
        let closed = |may_be_opened| Met::Closed { may_be_opened };
        assert_eq!(meet(at("10.9.8.6:1"), &own, &[]), closed(true));
        assert_eq!(meet(at("10.9.8.7:1"), &own, &allowed), closed(true), "the host's own, by itself only");
        assert_eq!(meet(at("127.0.0.1:1"), &own, &allowed), closed(false));
        assert_eq!(judge("10.9.8.6".parse().unwrap(), &own, &allowed), Verdict::Pass);
        assert_eq!(judge("1.1.1.1".parse().unwrap(), &own, &[]), Verdict::Pass);
    }
}
