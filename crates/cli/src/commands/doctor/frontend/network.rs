//! Names, addresses and ports.

use super::super::finding::{Finding, fatal, info, ok, warning};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::{Host, Url};

const DNS_LIMIT: Duration = Duration::from_millis(1500);
const CONNECT_LIMIT: Duration = Duration::from_millis(1200);
/// How long the ports may take that are tried when the right one is dead.
const PORTS_LIMIT: Duration = Duration::from_millis(800);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;
/// Where control planes usually listen: within clusters, behind Docker Compose, behind a proxy, ours.
const USUAL_PORTS: [u16; 5] = [30080, 3080, 80, 443, 7080];

/// Who is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A name, or an address without brackets.
    host: String,
    port: u16,
    is_name: bool,
    is_proxy: bool,
}

impl Target {
    pub(super) fn of(url: &Url, is_proxy: bool) -> Self {
        let (host, is_name) = match url.host() {
            Some(Host::Ipv4(address)) => (address.to_string(), false),
            Some(Host::Ipv6(address)) => (address.to_string(), false),
            Some(Host::Domain(name)) => (name.to_owned(), true),
            None => (String::new(), true),
        };
        Self { host, port: url.port_or_known_default().unwrap_or(80), is_name, is_proxy }
    }

    fn called(&self) -> String {
        let what = if self.is_proxy { "the proxy " } else { "" };
        format!("{what}{}", self.host)
    }
}

/// How one address was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    Accepted,
    Silent,
    Refused(String),
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Network {
    target: Target,
    /// Its addresses, or why there are none.
    addresses: Result<Vec<IpAddr>, String>,
    met: Vec<(IpAddr, Met)>,
    /// Other ports that accept.
    others: Vec<u16>,
}

pub(super) async fn look(target: Target) -> Network {
    let addresses = match timeout(DNS_LIMIT, lookup_host((target.host.as_str(), target.port))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect::<BTreeSet<_>>()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", DNS_LIMIT.as_secs_f64())),
    };
    let addresses: Result<Vec<IpAddr>, String> =
        addresses.map(|found| found.into_iter().take(ADDRESSES).collect());
    let tried = addresses.iter().flatten().map(|ip| SocketAddr::new(*ip, target.port)).collect();
    let met = try_all(tried, CONNECT_LIMIT).await;
    let first = met.first().filter(|_| met.iter().all(|(_, met)| *met != Met::Accepted));
    let others = USUAL_PORTS.iter().filter(|port| **port != target.port);
    let others = first.map(|(at, _)| others.map(|port| SocketAddr::new(at.ip(), *port)).collect());
    let others = try_all(others.unwrap_or_default(), PORTS_LIMIT).await;
    let others = others.into_iter().filter(|(_, met)| *met == Met::Accepted).map(|(at, _)| at.port());
    Network {
        addresses,
        met: met.into_iter().map(|(at, met)| (at.ip(), met)).collect(),
        others: others.collect(),
        target,
    }
}

/// Tries all at once. The connections are closed again.
async fn try_all(addresses: Vec<SocketAddr>, limit: Duration) -> Vec<(SocketAddr, Met)> {
    let mut tries = JoinSet::new();
    for address in addresses {
        tries.spawn(async move { (address, connect(address, limit).await) });
    }
    let mut all = tries.join_all().await;
    all.sort_by_key(|(address, _)| *address);
    all
}

async fn connect(address: SocketAddr, limit: Duration) -> Met {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Met::Accepted,
        Ok(Err(error)) => Met::Refused(error.to_string()),
        Err(_) => Met::Silent,
    }
}

/// Whether the address at the other end is a proxy's that answers.
pub(super) async fn is_there(url: &Url) -> bool {
    let target = Target::of(url, true);
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    timeout(DNS_LIMIT + CONNECT_LIMIT, connecting).await.is_ok_and(|connected| connected.is_ok())
}

impl Network {
    /// Whether anybody accepts connections.
    pub(super) fn is_reached(&self) -> bool {
        self.met.iter().any(|(_, met)| *met == Met::Accepted)
    }

    /// Whether what is sent there passes through networks of others.
    pub(super) fn leaves_the_private_network(&self) -> bool {
        self.target.is_proxy || self.addresses.iter().flatten().any(|address| is_public(*address))
    }

    /// Judges names and addresses. Whether the call itself was answered tells how much they matter.
    pub(super) fn judge(&self, answered: bool) -> Vec<Finding> {
        let Target { port, .. } = self.target;
        let called = self.target.called();
        let addresses = match &self.addresses {
            Ok(addresses) if !addresses.is_empty() => addresses,
            other => {
                let why = other.as_ref().err().map_or("it has no address", String::as_str);
                return vec![unresolved(&format!("{called} can't be resolved: {why}"), answered)];
            }
        };
        let list = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut findings = Vec::new();
        if self.target.is_name {
            findings.push(ok("frontend.dns", format!("{called} is {}", list(addresses))));
        }
        let accept = |wanted: bool| -> Vec<IpAddr> {
            let all = self.met.iter().filter(|(_, met)| (*met == Met::Accepted) == wanted);
            all.map(|(address, _)| *address).collect()
        };
        let (accepting, dead) = (accept(true), accept(false));
        findings.push(if accepting.is_empty() {
            self.unreachable(&called)
        } else if dead.is_empty() {
            ok("frontend.reach", format!("port {port} of {} accepts connections", list(&accepting)))
        } else {
            let seen = format!(
                "port {port} of {} accepts connections, that of {} does not",
                list(&accepting),
                list(&dead)
            );
            let family = dead.iter().all(IpAddr::is_ipv6) && accepting.iter().any(IpAddr::is_ipv4);
            if family {
                info("frontend.reach", format!("{seen}: IPv6 does not get there from here"))
            } else {
                let remedy = "mend those addresses, or take them out of DNS: some calls lose time on them";
                warning("frontend.reach", seen, remedy)
            }
        });
        findings
    }

    fn unreachable(&self, called: &str) -> Finding {
        let port = self.target.port;
        let mut reasons: Vec<String> = self
            .met
            .iter()
            .map(|(address, met)| match met {
                Met::Refused(why) => format!("{address}: {why}"),
                _ => format!("{address}: no answer within {} s", CONNECT_LIMIT.as_secs_f64()),
            })
            .collect();
        reasons.dedup();
        let seen = format!("port {port} of {called} can't be reached ({})", reasons.join("; "));
        let remedy = match self.others.as_slice() {
            [] => "correct host and port of EXECUTOR_FRONTEND_URL, or let firewalls and network policies pass it".to_owned(),
            ports => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!(
                    "somebody listens at port {} of the same host: perhaps EXECUTOR_FRONTEND_URL lacks it",
                    ports.join(" and at ")
                )
            }
        };
        fatal("frontend.reach", seen, remedy)
    }
}

fn unresolved(seen: &str, answered: bool) -> Finding {
    if answered {
        return warning(
            "frontend.dns",
            seen,
            "make the name servers in /etc/resolv.conf answer sooner: calls wait for them",
        );
    }
    fatal(
        "frontend.dns",
        seen,
        "correct the host in EXECUTOR_FRONTEND_URL, or make /etc/resolv.conf name a server that knows it",
    )
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    fn network(met: &[(&str, Met)], others: &[u16]) -> Network {
        let met: Vec<_> = met.iter().map(|(address, met)| (address.parse().unwrap(), met.clone())).collect();
        Network {
            target: Target::of(&"http://sourcegraph-frontend".parse().unwrap(), false),
            addresses: Ok(met.iter().map(|(address, _)| *address).collect()),
            met,
            others: others.to_vec(),
        }
    }

    fn reach(network: &Network) -> Finding {
        network.judge(false).into_iter().find(|finding| finding.id == "frontend.reach").unwrap()
    }

    #[test]
    fn a_port_that_is_silent_leads_to_those_that_answer() {
        let finding = reach(&network(&[("10.0.0.1", Met::Silent)], &[30080]));
        assert_eq!(finding.severity, Severity::Fatal);
        assert!(
            finding.seen.contains("port 80") && finding.seen.contains("no answer within 1.2 s"),
            "{finding:?}"
        );
        assert!(finding.remedy.contains("30080"), "{finding:?}");
        let finding = reach(&network(&[("10.0.0.1", Met::Refused("refused".to_owned()))], &[]));
        assert!(finding.seen.contains("10.0.0.1: refused"), "{finding:?}");
    }

    #[test]
    fn some_addresses_may_be_dead() {
        let (v4, v6) = ("10.0.0.1", "fd00::1");
        let severity = |met: &[(&str, Met)]| reach(&network(met, &[])).severity;
        assert_eq!(severity(&[(v4, Met::Accepted), (v6, Met::Accepted)]), Severity::Ok);
        assert_eq!(severity(&[(v4, Met::Accepted), (v6, Met::Silent)]), Severity::Info);
        assert_eq!(severity(&[(v4, Met::Silent), (v6, Met::Accepted)]), Severity::Warning);
    }

    #[test]
    fn a_name_without_addresses_matters_unless_the_call_was_answered() {
        let mut network = network(&[], &[]);
        network.addresses = Err("no such name".to_owned());
        assert_eq!(network.judge(false)[0].severity, Severity::Fatal);
        assert_eq!(network.judge(true)[0].severity, Severity::Warning);
    }

    #[test]
    fn private_addresses_are_known() {
        for (address, public) in [
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("192.168.0.1", false),
            ("8.8.8.8", true),
            ("fd00::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn a_proxy_is_called_one() {
        let target = Target::of(&"http://[::1]:3128".parse().unwrap(), true);
        assert_eq!((target.called().as_str(), target.port, target.is_name), ("the proxy ::1", 3128, false));
    }
}
