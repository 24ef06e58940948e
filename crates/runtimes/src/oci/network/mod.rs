//! A job's network: the internet, and nothing that is private, of the host or of its neighbours.
//!
//! Each sandbox has a network namespace of its own for all its steps. A program on the host, pasta or
//! slirp4netns, takes what leaves it by a device and makes the same connections by sockets of its own, so that
//! neither rights over the host's network nor rules of its packet filter are needed. What must not be reached is
//! refused inside of the namespace, over which the job has no rights, before any step runs there.

mod attendant;
mod device;
mod filter;
mod host;
mod namespace;
mod netlink;
mod policy;
mod program;
mod question;
mod resolver;
mod trial;
mod visit;

pub(super) use program::Carrier;
pub(super) use trial::{Lack, Means};
pub(super) use visit::visit;
pub use visit::{Met, Visit};

use super::users::Range;
use crate::RuntimeError;
use attendant::{Attendant, State};
use host::{Host, Ways};
use ipnet::IpNet;
use namespace::{Namespace, Owner, Sockets};
use netlink::Netlink;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The job's side: a network that no host can have, since it is set aside for measurements of devices.
const NETWORK: Ipv4Addr = Ipv4Addr::new(198, 18, 61, 0);
const PREFIX: u8 = 24;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 61, 2);
const DNS: Ipv4Addr = Ipv4Addr::new(198, 18, 61, 3);
const JOB: Ipv4Addr = Ipv4Addr::new(198, 18, 61, 100);
/// slirp4netns has no other. Programs prefer IPv4 where their own address is one like this.
const PREFIX_V6: u8 = 64;
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
const JOB_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
/// The job's device.
const DEVICE: &str = "eth0";
/// Bytes of a packet: as many as can be, since it goes nowhere as it is.
const MTU: u32 = 65_520;
/// How long the program may take to be there: milliseconds, but on a busy host.
const UP_LIMIT: Duration = Duration::from_secs(10);
/// Who jobs' networks belong to on the host, where jobs have no users of their own: nobody.
const NOBODY: u32 = 65_534;

/// What jobs get for a network.
#[derive(Debug, Clone, Default)]
pub struct NetworkOptions {
    /// By which program.
    pub by: NetworkChoice,
    /// What jobs may reach although it is private.
    pub allowed: Vec<AllowedNetwork>,
}

/// Which program carries jobs' packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkChoice {
    /// slirp4netns, else pasta, which takes more memory and longer to start; where neither can be, jobs have a loopback.
    Auto,
    /// This one, or no job runs.
    Pasta,
    /// This one, or no job runs.
    Slirp4netns,
    /// None: jobs have a loopback.
    #[default]
    None,
}

impl NetworkChoice {
    /// Whether jobs are refused where it can't be had, under strict operation or without it.
    pub(super) fn is_needed(self, strict: bool) -> bool {
        match self {
            Self::Auto => strict,
            Self::Pasta | Self::Slirp4netns => true,
            Self::None => false,
        }
    }
}

impl std::str::FromStr for NetworkChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "pasta" => Ok(Self::Pasta),
            "slirp4netns" => Ok(Self::Slirp4netns),
            "none" => Ok(Self::None),
            _ => Err("it must be auto, pasta, slirp4netns or none".to_owned()),
        }
    }
}

/// A network that jobs may reach although it is private: `10.1.0.0/16`, `fd12::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedNetwork(IpNet);

impl std::str::FromStr for AllowedNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
        let network = text.parse::<IpNet>().or_else(address);
        let network =
            network.map_err(|_| "it must be an address or a network, such as 10.1.0.0/16".to_owned())?;
        if network.trunc() != network {
            return Err(format!(
                "it names a host of the network {}: write that, or the host alone",
                network.trunc()
            ));
        }
        if policy::is_never_allowed(network) {
            return Err("loopback, link-local, multicast and metadata services' addresses can't be allowed"
                .to_owned());
        }
        Ok(Self(network))
    }
}

/// A sandbox's.
#[derive(Debug)]
pub(super) struct Network {
    namespace: Namespace,
    filter: Netlink,
    /// Until the program is started.
    routes: Option<Netlink>,
    /// Where the host led nowhere when it was made, the loopback is all there is.
    has_device: bool,
    /// What the rules in force were made of.
    closed: Host,
    attendant: Option<Attendant>,
}

impl Network {
    /// Makes one that is closed to what is private, and leads nowhere yet. Blocking, for some milliseconds.
    pub(super) fn make(means: &Means, ordinary: bool, range: Option<&Range>) -> io::Result<Self> {
        let root = || Owner::NewRoot(range.map_or(NOBODY, Range::root));
        let owner = if ordinary { Owner::Same } else { root() };
        let (namespace, Sockets { routes, filter }) = Namespace::make(owner)?;
        let closed = Host::default();
        let routes = Some(routes);
        let mut made = Self { namespace, filter, routes, has_device: false, closed, attendant: None };
        made.close_to(means, Host::look()?)?;
        if made.closed.ways.any() {
            made.add_device()?;
        }
        Ok(made)
    }

    /// For a job that begins: starts the program that carries its packets, for a sandbox with its files in
    /// `dir`. Without a way to anywhere there is nothing to carry.
    pub(super) fn begin(&mut self, means: &Means, dir: &Path) -> io::Result<()> {
        let Means { carrier, .. } = means;
        self.renew(means)?;
        let ways = self.closed.ways;
        if !ways.any() {
            tracing::warn!("this host has no default route, so a job has no network but a loopback");
            return Ok(());
        }
        self.add_device()?;
        if let Some(routes) = self.routes.take() {
            let namespace = self.namespace.try_clone()?;
            self.attendant = Some(Attendant::start(carrier, namespace, routes, ways, dir)?);
        }
        Ok(())
    }

    fn add_device(&mut self) -> io::Result<()> {
        if let Some(routes) = self.routes.as_mut().filter(|_| !self.has_device) {
            self.namespace.add_device(routes)?;
            self.has_device = true;
        }
        Ok(())
    }

    /// Closes it to addresses that the host has got since.
    pub(super) fn renew(&mut self, means: &Means) -> io::Result<()> {
        let host = Host::look()?;
        if host.own == self.closed.own {
            self.closed.ways = host.ways;
            return Ok(());
        }
        self.close_to(means, host)
    }

    fn close_to(&mut self, means: &Means, host: Host) -> io::Result<()> {
        filter::load(&mut self.filter, &policy::rules(&host.own, &means.allowed))?;
        self.closed = host;
        Ok(())
    }

    /// What steps find in `/etc/resolv.conf`, if there is anybody to ask.
    pub(super) fn resolver(&self) -> Option<String> {
        let hosts = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        self.attendant.as_ref().map(|_| resolver::text(&hosts, self.closed.ways))
    }

    /// The namespace, for our own processes while this one lives.
    pub(super) fn path(&self) -> PathBuf {
        self.namespace.path()
    }

    /// Waits until it leads where it should.
    pub(super) async fn up(&self) -> Result<(), RuntimeError> {
        let Some(attendant) = &self.attendant else { return Ok(()) };
        let mut state = attendant.state.clone();
        let come = tokio::time::timeout(UP_LIMIT, state.wait_for(|state| *state != State::Coming)).await;
        match come.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(State::Up)) => Ok(()),
            Ok(Ok(State::Ended(why))) => Err(ended(&why)),
            Ok(_) => Err(ended("its thread failed")),
            Err(_) => Err(RuntimeError::Host(format!(
                "a job's network was not there within {} s",
                UP_LIMIT.as_secs()
            ))),
        }
    }

    /// Waits until it leads nowhere any more, though nobody wanted that; the failure is the job's end.
    pub(super) async fn failure(&self) -> RuntimeError {
        let Some(attendant) = &self.attendant else { return std::future::pending().await };
        let mut state = attendant.state.clone();
        match state.wait_for(|state| matches!(state, State::Ended(_))).await.map(|state| state.clone()) {
            Ok(State::Ended(why)) => ended(&why),
            _ => ended("its thread failed"),
        }
    }

    /// Ends what carries its packets, and waits until that is gone.
    pub(super) async fn close(self) {
        if let Some(attendant) = self.attendant {
            attendant.close().await;
        }
    }
}

fn ended(why: &str) -> RuntimeError {
    RuntimeError::Host(format!("the program that carries a job's packets has ended: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_allowed_is_an_address_or_a_network() {
        let parsed = |text: &str| text.parse::<AllowedNetwork>().map(|allowed| allowed.0.to_string());
        assert_eq!(parsed("10.1.0.0/16").unwrap(), "10.1.0.0/16");
        assert_eq!(parsed("10.1.2.3").unwrap(), "10.1.2.3/32");
        assert_eq!(parsed("fd12::1").unwrap(), "fd12::1/128");
        for (text, rule) in [
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("mirror.example", "an address or a network"),
            ("", "an address or a network"),
            ("10.0.0.0/33", "an address or a network"),
            ("169.254.169.254", "metadata"),
            ("127.0.0.1/32", "loopback"),
            ("fe80::/64", "link-local"),
        ] {
            let refused = parsed(text).unwrap_err();
            assert!(refused.contains(rule), "{text}: {refused}");
        }
    }
}
