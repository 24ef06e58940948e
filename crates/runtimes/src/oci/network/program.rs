//! The programs that carry packets between a job's network namespace and the host's sockets.

use super::host::Ways;
use super::{DEVICE, DNS, DNS_V6, GATEWAY, GATEWAY_V6, JOB, JOB_V6, MTU, PREFIX};
use crate::oci::program::{find_program, first_words};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::oci) enum Kind {
    Pasta,
    Slirp4netns,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// Debian's package with it.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Pasta => "passt",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}

/// One that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::oci) struct Carrier {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    /// What it says of its release.
    pub(super) version: String,
}

impl Carrier {
    pub(super) fn find(kind: Kind, search_path: &OsStr) -> io::Result<Option<Self>> {
        let Some(path) = find_program(kind.name(), search_path) else { return Ok(None) };
        let said = first_words(&path)?;
        let version = said.lines().next().unwrap_or_default().trim().to_owned();
        Ok(Some(Self { kind, path, version }))
    }

    /// Its arguments for the namespace that is its standard input.
    ///
    /// Nothing of the host is forwarded to the job or mapped for it, neither ports nor the gateway's address.
    pub(super) fn arguments(&self, ways: Ways) -> Vec<String> {
        let namespace = "/proc/self/fd/0".to_owned();
        match self.kind {
            Kind::Pasta => pasta(namespace, ways),
            Kind::Slirp4netns => slirp4netns(namespace, ways),
        }
    }
}

fn pasta(namespace: String, ways: Ways) -> Vec<String> {
    let mut arguments =
        words("--foreground --quiet --no-netns-quit --no-map-gw --no-dhcp --no-dhcpv6 --no-ra");
    arguments.extend(words("--tcp-ports none --udp-ports none --tcp-ns none --udp-ns none"));
    arguments.extend(words(&format!("--ns-ifname {DEVICE} --mtu {MTU}")));
    if ways.ipv4 {
        arguments.extend(words(&format!(
            "--address {JOB} --netmask {PREFIX} --gateway {GATEWAY} --dns-forward {DNS}"
        )));
    } else {
        arguments.push("--ipv6-only".to_owned());
    }
    if ways.ipv6 {
        arguments.extend(words(&format!("--address {JOB_V6} --gateway {GATEWAY_V6} --dns-forward {DNS_V6}")));
    } else {
        arguments.push("--ipv4-only".to_owned());
    }
    arguments.extend(["--netns".to_owned(), namespace]);
    arguments
}

fn slirp4netns(namespace: String, ways: Ways) -> Vec<String> {
    let mut arguments = words("--netns-type=path --disable-host-loopback --enable-sandbox --enable-seccomp");
    // It takes its own addresses to be the second and third of a network.
    arguments.extend([format!("--cidr={}/{PREFIX}", super::NETWORK), format!("--mtu={MTU}")]);
    arguments.extend(ways.ipv6.then(|| "--enable-ipv6".to_owned()));
    arguments.extend([namespace, DEVICE.to_owned()]);
    arguments
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_host_is_mapped_or_forwarded() {
        let carrier = |kind| Carrier { kind, path: "/x".into(), version: String::new() };
        let ways = Ways { ipv4: true, ipv6: false };
        let pasta = carrier(Kind::Pasta).arguments(ways).join(" ");
        for needed in
            ["--no-map-gw", "--tcp-ports none", "--udp-ns none", "--netns /proc/self/fd/0", "--ipv4-only"]
        {
            assert!(pasta.contains(needed), "{pasta}");
        }
        let slirp = carrier(Kind::Slirp4netns).arguments(ways).join(" ");
        for needed in
            ["--disable-host-loopback", "--enable-sandbox", "--enable-seccomp", "/proc/self/fd/0 eth0"]
        {
            assert!(slirp.contains(needed), "{slirp}");
        }
        assert!(!slirp.contains("ipv6") && !pasta.contains("fd00"));
    }
}
