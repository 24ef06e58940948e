//! Whether jobs reach the control plane, as those must that upload what they found: indexers', of the queue `codeintel`.
//! That the executor reaches it says nothing of them.

use super::finding::{Finding, Severity, finding, info, ok};
use super::known::Known;
use runtimes::docker::DockerOptions;
use runtimes::oci::{Met, Visit};
use url::{Host, Url};

const REACH: &str = "job.reach";
const NAMES: &str = "job.names";
/// The queue whose jobs do so.
const UPLOADING: &str = "codeintel";
const ALLOW: &str = "EXECUTOR_OCI_NETWORK_ALLOW";

/// Whom jobs may have to reach.
pub(super) struct Goal {
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    is_name: bool,
    /// How bad it is if they don't.
    severity: Severity,
}

impl Goal {
    pub(super) fn of(known: &Known) -> Option<Self> {
        let uploads = known.agent.queues.iter().any(|queue| queue == UPLOADING);
        Self::at(known.agent.url.as_ref()?, uploads)
    }

    fn at(url: &Url, uploads: bool) -> Option<Self> {
        let (host, is_name) = match url.host()? {
            Host::Ipv4(address) => (address.to_string(), false),
            Host::Ipv6(address) => (address.to_string(), false),
            Host::Domain(name) => (name.to_owned(), true),
        };
        let severity = if uploads { Severity::Warning } else { Severity::Info };
        Some(Self { host, port: url.port_or_known_default()?, is_name, severity })
    }

    /// That they don't. It is only worth knowing where no job uploads.
    fn missed(&self, id: &'static str, seen: &str, remedy: &str) -> Finding {
        match self.severity {
            Severity::Warning => {
                let seen = format!("{seen}, so jobs of the queue {UPLOADING} can't upload what they find");
                finding(id, Severity::Warning, seen, remedy)
            }
            _ => info(id, format!("{seen}; no job of these queues needs to")),
        }
    }

    /// Judges what was met out of a network as jobs have it; `None` where they have none.
    pub(super) fn judge(&self, visit: Option<Result<Visit, String>>) -> Vec<Finding> {
        let Self { host, port, .. } = self;
        let visit = match visit {
            None => {
                let seen = format!("jobs have no network, and don't reach {host}");
                return vec![self.missed(REACH, &seen, "see oci.network")];
            }
            Some(Err(why)) => {
                return vec![info(REACH, format!("whether jobs reach {host} could not be tried: {why}"))];
            }
            Some(Ok(visit)) => visit,
        };
        let met = match visit.met {
            Ok(met) => met,
            Err(why) => {
                let seen = format!("in a job the name {host} has no address ({why})");
                let remedy = "have the name servers in this host's /etc/resolv.conf know it: jobs ask those, and have \
                              nothing of this host's /etc/hosts";
                return vec![self.missed(NAMES, &seen, remedy)];
            }
        };
        let named = self.is_name.then(|| ok(NAMES, format!("in a job the name {host} has an address")));
        named.into_iter().chain([self.reached(&format!("{host}, port {port}"), &met)]).collect()
    }

    fn reached(&self, called: &str, met: &[(std::net::IpAddr, Met)]) -> Finding {
        if met.iter().any(|(_, met)| *met == Met::Accepted) {
            return ok(REACH, format!("a job reaches the control plane ({called})"));
        }
        let closed = |wanted: bool| {
            let closed = Met::Closed { may_be_opened: wanted };
            let all = met.iter().filter(|(_, met)| *met == closed).map(|(address, _)| address.to_string());
            all.collect::<Vec<_>>()
        };
        let (may_be_opened, never) = (closed(true).join(","), closed(false).join(","));
        if !may_be_opened.is_empty() {
            let seen = format!("jobs do not reach the control plane ({called}): its address is private");
            let remedy = format!("add {may_be_opened} to {ALLOW} ({ALLOW}={may_be_opened} if it is not set)");
            return self.missed(REACH, &seen, &remedy);
        }
        if !never.is_empty() {
            let seen = format!("jobs do not reach the control plane ({called}): {never} is closed to them");
            let remedy =
                format!("let EXECUTOR_FRONTEND_URL name another address of it, and {ALLOW} that one");
            return self.missed(REACH, &seen, &remedy);
        }
        let why = met.iter().map(|(address, met)| match met {
            Met::Failed(why) => format!("{address}: {why}"),
            _ => address.to_string(),
        });
        let seen = format!(
            "a job does not reach the control plane ({called}; {})",
            why.collect::<Vec<_>>().join("; ")
        );
        self.missed(REACH, &seen, "see frontend.reach; if this host reaches it, look at what is between")
    }

    /// Judges what is known of containers of an engine. None is started for it.
    pub(super) fn judge_engine(&self, options: &DockerOptions, hosts: &str) -> Vec<Finding> {
        let Self { host, .. } = self;
        let network = options.network.as_deref();
        if network == Some("none") {
            let seen = format!("jobs have no network, and don't reach {host}");
            return vec![self.missed(
                REACH,
                &seen,
                "set EXECUTOR_DOCKER_NETWORK to a network that leads there",
            )];
        }
        let address = host.parse::<std::net::IpAddr>();
        let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        if is_loopback && network != Some("host") {
            let remedy = "let EXECUTOR_FRONTEND_URL name an address of that host, or host.docker.internal with \
                          EXECUTOR_DOCKER_ADD_HOST_GATEWAY=true";
            return vec![self.missed(
                REACH,
                &format!("in a container {host} is the container itself"),
                remedy,
            )];
        }
        if self.is_name && !is_loopback && is_in_hosts(hosts, host) && !options.add_host_gateway {
            let seen = format!("this host knows {host} by its /etc/hosts, which containers do not have");
            return vec![self.missed(NAMES, &seen, "have the name servers that the engine asks know it")];
        }
        let by = network.unwrap_or("its default");
        vec![info(REACH, format!("whether jobs reach {host} by the engine's network ({by}) is not tried"))]
    }
}

fn is_in_hosts(hosts: &str, name: &str) -> bool {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.into_iter().any(|line| line.split_whitespace().skip(1).any(|known| known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(url: &str, uploads: bool) -> Goal {
        Goal::at(&url.parse().unwrap(), uploads).unwrap()
    }

    fn met(all: &[(&str, Met)]) -> Visit {
        let met = all.iter().map(|(address, met)| (address.parse().unwrap(), met.clone())).collect();
        Visit { met: Ok(met) }
    }

    #[test]
    fn a_private_address_is_told_with_what_to_set() {
        let closed = [("10.9.8.7", Met::Closed { may_be_opened: true })];
        let told = goal("http://10.9.8.7:3080", true).judge(Some(Ok(met(&closed))));
        assert_eq!((told.len(), told[0].id, told[0].severity), (1, REACH, Severity::Warning));
        assert!(told[0].remedy.contains("EXECUTOR_OCI_NETWORK_ALLOW=10.9.8.7 if"), "{told:?}");
        let told = goal("http://10.9.8.7:3080", false).judge(Some(Ok(met(&closed))));
        assert_eq!((told[0].severity, told[0].remedy.as_str()), (Severity::Info, ""));
    }

    #[test]
    fn each_way_to_miss_it_is_told_from_the_others() {
        let judged = |visit| {
            let told = goal("https://sg.example.com", true).judge(visit);
            told.iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>()
        };
        let failed = Met::Failed("refused".to_owned());
        let missed = |id| vec![(id, Severity::Warning)];
        let resolved = (NAMES, Severity::Ok);
        assert_eq!(judged(None), missed(REACH));
        assert_eq!(judged(Some(Err("no device".to_owned()))), [(REACH, Severity::Info)]);
        assert_eq!(judged(Some(Ok(Visit { met: Err("no answer".to_owned()) }))), missed(NAMES));
        let reached = met(&[("10.0.0.1", failed.clone()), ("1.1.1.1", Met::Accepted)]);
        assert_eq!(judged(Some(Ok(reached))), [resolved, (REACH, Severity::Ok)]);
        assert_eq!(judged(Some(Ok(met(&[("1.1.1.1", failed)])))), [resolved, (REACH, Severity::Warning)]);
        let never = met(&[("127.0.0.1", Met::Closed { may_be_opened: false })]);
        assert_eq!(judged(Some(Ok(never))), [resolved, (REACH, Severity::Warning)]);
    }

    #[test]
    fn what_containers_of_an_engine_lack_is_told() {
        let helper = runtimes::oci::Helper::new("/nowhere", Vec::new());
        let mut options = DockerOptions::new("/", "/scratch", helper);
        let hosts = "127.0.0.1 localhost\n10.0.0.9 sg.example.com sg # by hand: other\n";
        let judged = |options: &DockerOptions, url: &str| {
            let told = goal(url, true).judge_engine(options, hosts).remove(0);
            (told.id, told.severity)
        };
        assert_eq!(judged(&options, "http://127.0.0.1:7080"), (REACH, Severity::Warning));
        assert_eq!(judged(&options, "http://localhost:7080"), (REACH, Severity::Warning));
        assert_eq!(judged(&options, "http://sg.example.com"), (NAMES, Severity::Warning));
        assert_eq!(judged(&options, "http://other"), (REACH, Severity::Info));
        options.network = Some("host".to_owned());
        assert_eq!(judged(&options, "http://localhost:7080"), (REACH, Severity::Info));
        options.network = Some("none".to_owned());
        assert_eq!(judged(&options, "http://other"), (REACH, Severity::Warning));
    }
}
