//! Whether jobs can have a network here, and by which program: everything that a job needs is done once, since
//! what is there may still not be allowed.

use super::device::TUN;
use super::program::{Carrier, Kind};
use super::{Network, NetworkChoice, NetworkOptions};
use crate::RuntimeError;
use crate::oci::program::Family;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is looked whether the program is there.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// What an operator can do besides.
const ELSE: &str = "set EXECUTOR_OCI_NETWORK=none if jobs need none";

/// How jobs get a network.
#[derive(Debug, Clone)]
pub(in crate::oci) struct Means {
    pub(super) carrier: Carrier,
    pub(super) allowed: Vec<IpNet>,
}

/// Why jobs have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::oci) enum Lack {
    /// The operator wants it so.
    Unwanted,
    /// They can't have.
    Impossible { seen: String, remedy: String },
}

impl Means {
    /// Looks for the program, and tries it with files in `scratch`.
    pub(in crate::oci) fn probe(
        (options, family): (&NetworkOptions, Family),
        search_path: &OsStr,
        ordinary: bool,
        scratch: &Path,
    ) -> Result<Self, Lack> {
        let kinds: &[Kind] = match options.by {
            NetworkChoice::None => return Err(Lack::Unwanted),
            NetworkChoice::Auto => &[Kind::Slirp4netns, Kind::Pasta],
            NetworkChoice::Pasta => &[Kind::Pasta],
            NetworkChoice::Slirp4netns => &[Kind::Slirp4netns],
        };
        if !family.joins_networks() {
            return Err(Lack::Impossible {
                seen: format!("{} keeps steps to a network stack of its own", family.name()),
                remedy: format!("use crun or runc, or {ELSE}"),
            });
        }
        let mut lack = None;
        for kind in kinds {
            let tried = match Carrier::find(*kind, search_path) {
                Ok(Some(carrier)) => {
                    let means = Self::with(carrier, options);
                    means.try_out(ordinary, scratch).map(|()| means)
                }
                Ok(None) => Err(missing(*kind)),
                Err(error) => Err(impossible(*kind, &error.to_string())),
            };
            match tried {
                Ok(means) => return Ok(means),
                Err(why) => lack = lack.or(Some(why)),
            }
        }
        Err(lack.unwrap_or(Lack::Unwanted))
    }

    /// As another process of this agent has found out.
    pub(in crate::oci) fn known(
        tried: Result<Carrier, Lack>,
        options: &NetworkOptions,
    ) -> Result<Self, Lack> {
        tried.map(|carrier| Self::with(carrier, options))
    }

    /// What was found out, for such a process.
    pub(in crate::oci) fn tried(&self) -> Carrier {
        self.carrier.clone()
    }

    /// What is told of it.
    pub(in crate::oci) fn seen(&self) -> String {
        let Carrier { version, path, .. } = &self.carrier;
        let leads = super::Host::look().is_ok_and(|host| host.ways.any());
        let now = if leads { "" } else { ", as soon as this host has a default route" };
        format!(
            "jobs reach the internet{now}, and nothing private of this host or its neighbours, by {} ({version})",
            path.display()
        )
    }

    fn with(carrier: Carrier, options: &NetworkOptions) -> Self {
        Self { carrier, allowed: options.allowed.iter().map(|allowed| allowed.0).collect() }
    }

    fn try_out(&self, ordinary: bool, scratch: &Path) -> Result<(), Lack> {
        let failed = |why: String| impossible(self.carrier.kind, &why);
        let mut network = Network::make(self, ordinary, None).map_err(|error| {
            failed(format!("no network namespace with a device and a packet filter could be made: {error}"))
        })?;
        network.begin(self, scratch).map_err(|error| failed(error.to_string()))?;
        network.wait_until_up().map_err(failed)
    }
}

impl Network {
    /// Waits until it leads where it should; blocking.
    pub(super) fn wait_until_up(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            match self.at_once() {
                None if begun.elapsed() < super::UP_LIMIT => std::thread::sleep(LOOK_AGAIN),
                None => return Err(format!("it was not there within {} s", super::UP_LIMIT.as_secs())),
                Some(done) => return done.map_err(|error| error.to_string()),
            }
        }
    }

    /// Whether it leads where it should, if that is known by now.
    fn at_once(&self) -> Option<Result<(), RuntimeError>> {
        use super::State;
        let Some(attendant) = &self.attendant else { return Some(Ok(())) };
        match &*attendant.state.borrow() {
            State::Coming => None,
            State::Up => Some(Ok(())),
            State::Ended(why) => Some(Err(super::ended(why))),
        }
    }
}

fn missing(kind: Kind) -> Lack {
    Lack::Impossible {
        seen: format!("there is no {} on PATH", kind.name()),
        remedy: format!("install the package {}, or {ELSE}", kind.package()),
    }
}

fn impossible(kind: Kind, why: &str) -> Lack {
    let helps = if Path::new(TUN).exists() {
        format!(
            "see that {TUN} may be opened by everybody (mode 0666) and that the kernel has nf_tables with nft_reject"
        )
    } else {
        format!("load the kernel module tun, which makes {TUN}")
    };
    Lack::Impossible {
        seen: format!("{} does not work here: {why}", kind.name()),
        remedy: format!("{helps}, or {ELSE}"),
    }
}

impl Lack {
    /// What is told of it, and what helps.
    pub(in crate::oci) fn told(&self) -> (String, String) {
        match self {
            Self::Unwanted => ("jobs have no network but a loopback, as is wanted".to_owned(), String::new()),
            Self::Impossible { seen, remedy } => {
                (format!("jobs have no network but a loopback: {seen}"), remedy.clone())
            }
        }
    }
}
